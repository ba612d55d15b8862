"""Models to PyTorch and back: `to_torch(model)` and `from_torch(module)`.

Needs the package `torch` (`pip install 'nnrs[torch]'`), which is imported by the first call, not before.

Examples
--------
>>> import nnrs.torch
>>> from nnrs import nn
>>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), seed=0)
>>> module = nnrs.torch.to_torch(model)
>>> nnrs.torch.from_torch(module).out_features
3
"""

from __future__ import annotations

from nnrs.torch.convert import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
