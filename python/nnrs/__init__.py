"""nnrs: dense neural networks on the CPU, NumPy arrays in and out, on a core written in Rust.

Where things are:

- `nnrs.nn`: layers, containers, losses, `Module` to subclass
- `nnrs.optim`: optimisers
- `nnrs.Trainer`, `nnrs.callbacks`, `nnrs.metrics`: training and what is measured on the way
- `nnrs.functional`: the same mathematics as plain functions on arrays
- `nnrs.data`, `nnrs.datasets`: splits, batches, encodings; data to play with
- `nnrs.load`, `nnrs.Predictor`: saved models, and models frozen for serving
- `nnrs.plot`, `nnrs.onnx`, `nnrs.torch`: need the extras of the same names
- `nnrs.set_num_threads` and its neighbours: settings of the process

Importing the package loads the compiled core and nothing else; every name here comes with its first use.

Examples
--------
>>> import numpy as np
>>> from nnrs import nn
>>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), seed=0)
>>> model(np.zeros((2, 4), "float32")).shape
(2, 3)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnrs._core import FileFormatError, __version__

if TYPE_CHECKING:
    from nnrs import (
        callbacks,
        data,
        datasets,
        functional,
        metrics,
        nn,
        onnx,
        optim,
        plot,
        torch,
    )
    from nnrs.config import (
        get_float32_matmul_precision,
        get_num_threads,
        set_float32_matmul_precision,
        set_num_threads,
        show_config,
        threads,
    )
    from nnrs.file import load
    from nnrs.history import History
    from nnrs.predictor import Predictor
    from nnrs.random import manual_seed
    from nnrs.trainer import Trainer

__all__ = [
    "FileFormatError",
    "History",
    "Predictor",
    "Trainer",
    "__version__",
    "callbacks",
    "data",
    "datasets",
    "functional",
    "get_float32_matmul_precision",
    "get_num_threads",
    "load",
    "manual_seed",
    "metrics",
    "nn",
    "onnx",
    "optim",
    "plot",
    "set_float32_matmul_precision",
    "set_num_threads",
    "show_config",
    "threads",
    "torch",
]

# Which module of the package a name comes from; a module comes from itself.
_HOMES = {
    "History": "history",
    "Predictor": "predictor",
    "Trainer": "trainer",
    "get_float32_matmul_precision": "config",
    "get_num_threads": "config",
    "load": "file",
    "manual_seed": "random",
    "set_float32_matmul_precision": "config",
    "set_num_threads": "config",
    "show_config": "config",
    "threads": "config",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"nnrs.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name in __all__:
        return import_module(f"nnrs.{name}")
    raise AttributeError(f"module 'nnrs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
