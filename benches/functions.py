"""Rows of `nnrs.functional`: F.linear, every activation and every loss beside NumPy's and torch's own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from benches import numpy_functions
from nnrs import _core
from nnrs.cli.bench.contest import Entry, Row
from nnrs.cli.bench.net import Work
from nnrs.cli.bench.peers import OURS, PEERS, Peer
from nnrs.cli.bench.worker import Prepared

ELEMENTS = (1, 1_000, 1_000_000)
CLASSES = 10
# How many elements of a result are compared.
COMPARED = 1000

ELEMENTWISE = (
    *("relu", "step", "sigmoid", "tanh", "leaky_relu", "elu", "selu"),
    *("gelu", "gelu_tanh", "silu", "mish", "softplus"),
)
ROWWISE = ("softmax", "log_softmax")
# Loss, and what its predictions and targets are.
LOSSES = {
    "mse_loss": "values",
    "l1_loss": "values",
    "huber_loss": "values",
    "binary_cross_entropy": "probabilities",
    "binary_cross_entropy_with_logits": "logits",
    "nll_loss": "classes",
    "cross_entropy": "classes",
    "hinge_loss": "signs",
    "perceptron_loss": "signs",
}
# (batch, in_features, out_features)
SHAPES = (
    (1, 1, 1),
    (10, 100, 100),
    (1000, 1000, 1000),
    (32, 64, 32),
    (64, 784, 128),
    (128, 784, 512),
    (256, 1024, 1024),
    (1, 784, 512),
)


def _normal(layer: int, *shape: int) -> Any:
    return _core.random_normal(0, "data", 0, layer, shape, 0.0, 1.0, "float32")


def inputs(kind: str, size: Any) -> tuple[Any, ...]:
    """Return the arguments of a function: of `size` elements, or of the shape `size` of a linear map."""
    if kind == "linear":
        batch, width, outputs = size
        return _normal(0, batch, width), _normal(1, outputs, width), _normal(2, outputs)
    shape = (-(-size // CLASSES), min(size, CLASSES)) if kind.startswith("rows") else (size,)
    if kind.endswith("forward"):
        return (_normal(0, *shape),)
    if kind.endswith("backward"):
        return _normal(1, *shape), _normal(0, *shape)
    if kind == "classes":
        rows = -(-size // CLASSES)
        return _normal(0, rows, min(size, CLASSES)), np.arange(rows) % min(size, CLASSES)
    pred, other = _normal(0, size), _normal(1, size)
    positive = (other > 0).astype(np.float32)
    if kind == "values":
        return pred, other
    if kind == "probabilities":
        return 1 / (1 + np.exp(-pred)), positive
    return pred, positive if kind == "logits" else 2 * positive - 1


def call(module: str, name: str, kind: str, size: Any) -> Prepared:
    """Return a call of a function in `nnrs.functional` or in a module with the same names."""
    arguments = inputs(kind, size)
    function: Any
    if module == "nnrs.functional" and name.startswith("gelu_tanh"):
        function = getattr(importlib.import_module(module), name.replace("_tanh", ""))
        function = partial(function, approximate="tanh")
    else:
        function = getattr(importlib.import_module(module), name)
    if module.endswith("torch_functions"):
        import torch

        torch.set_grad_enabled(False)
        arguments = tuple(torch.from_numpy(argument) for argument in arguments)
    timed = partial(function, *arguments)
    result = np.atleast_1d(np.asarray(timed(), np.float64)).ravel()[:COMPARED]
    return Prepared(timed, {"result": (result, 1e-4)})


def _row(name: str, kind: str, size: Any, threads: int, peers: Sequence[Peer]) -> Row:
    entries = [Entry(OURS.name, OURS, "benches.functions:call", ("nnrs.functional", name, kind, size))]
    modules = {"torch": "benches.torch_functions"}
    if hasattr(numpy_functions, name):
        modules["numpy"] = "benches.numpy_functions"
    for key, module in sorted(modules.items()):
        if PEERS[key] in peers:
            arguments = (module, name, kind, size)
            entries.append(Entry(PEERS[key].name, PEERS[key], "benches.functions:call", arguments))
    group = "activation" if kind.endswith("ward") else "linear" if kind == "linear" else "loss"
    label = " × ".join(f"{n:,}" for n in size) if kind == "linear" else f"{size:,}"
    return Row(f"F: {group}", f"{name} {label}", threads, tuple(entries), (_work(name, kind, size),))


def _work(name: str, kind: str, size: Any) -> Work:
    if kind == "linear":
        batch, width, outputs = size
        moved = 4.0 * (batch * width + outputs * (width + 1) + batch * outputs)
        return Work(2.0 * batch * width * outputs, moved, moved)
    arrays = 3 if name.endswith("backward") else 2
    # A gradient of classes writes as much as it reads; a loss of them reads once.
    arrays -= kind == "classes"
    moved = 4.0 * arrays * size
    return Work(0, moved, moved)


def rows(threads: int, peers: Sequence[Peer]) -> Iterator[Row]:
    """Yield every row."""
    for shape in SHAPES:
        yield _row("linear", "linear", shape, threads, peers)
    kinds = {**dict.fromkeys(ELEMENTWISE, ""), **dict.fromkeys(ROWWISE, "rows ")}
    for name, kind in kinds.items():
        for size in ELEMENTS:
            yield _row(name, f"{kind}forward", size, threads, peers)
        for size in ELEMENTS if name != "step" else ():
            yield _row(f"{name}_backward", f"{kind}backward", size, threads, peers)
    for name, kind in LOSSES.items():
        for ending in ("", "_backward"):
            for size in ELEMENTS:
                yield _row(name + ending, kind, size, threads, peers)
