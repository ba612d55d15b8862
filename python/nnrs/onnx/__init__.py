"""Models to ONNX files and back: `export(model, path)` and `load(path)`.

Needs the package `onnx` (`pip install 'nnrs[onnx]'`), which is imported by the first call, not before.

Examples
--------
>>> import nnrs.onnx
>>> from nnrs import nn
>>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), seed=0)
>>> nnrs.onnx.export(model, "model.onnx")
>>> nnrs.onnx.load("model.onnx").out_features
3
"""

from __future__ import annotations

from nnrs.onnx.reader import load
from nnrs.onnx.writer import export

__all__ = ["export", "load"]
