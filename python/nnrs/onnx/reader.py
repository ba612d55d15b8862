"""ONNX graph to `nn.Sequential`: the chain of nodes from input to output, recognised a layer at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs import nn
from nnrs._core import FileFormatError
from nnrs.onnx.graph import Graph, Node, read_graph
from nnrs.onnx.metadata import read_metadata

__all__ = ["load"]

SUPPORTED = (
    "Gemm, MatMul with Add, Relu, LeakyRelu, Elu, Selu, Gelu, Swish, Mish, Softplus, Sigmoid, Tanh, Softmax, "
    "LogSoftmax, Flatten, Identity, Dropout; x * Sigmoid(x), x * Tanh(Softplus(x)), Gelu by Erf, "
    "Softplus(b * x) / b, Cast(x >= 0); and first in the graph Sub with Mul or Div (a scaler)"
)

# A few tensors may be shared by several layers; a small file must not grow into a large model that way.
_LARGEST_GROWTH = 16
_SELU_ALPHA = 1.6732632423543772
_SELU_GAMMA = 1.0507009873554805

# What a recogniser returns: the layer and the name of the tensor that it gives.
Found = tuple[nn.Module, str]


def load(path: str | os.PathLike[str]) -> nn.Sequential:
    """Read an ONNX file as a model: a chain of dense layers, activations and at most one scaler.

    Parameters
    ----------
    path : path-like
        One file with all weights inside, operator set 7 or newer.

    Returns
    -------
    nn.Sequential
        In evaluation mode, of the file's number type. Task, classes and feature names come back where
        `export` wrote them.

    Raises
    ------
    nnrs.FileFormatError
        If the file is damaged, is no ONNX model, or does not fit together.
    ValueError
        If it holds what nnrs has no layer for; the message names the node and what is supported.
    ImportError
        If the package `onnx` is missing.

    Notes
    -----
    Only the file itself is opened, and nothing in it is executed. A scaler's statistics are read as the
    shift and factor that the graph computes with.

    Examples
    --------
    >>> import nnrs.onnx
    >>> from nnrs import nn
    >>> nnrs.onnx.export(nn.MLP([4, 8, 3], seed=0), "model.onnx")
    >>> [type(layer).__name__ for layer in nnrs.onnx.load("model.onnx")]
    ['Linear', 'ReLU', 'Linear']
    """
    return _Reader(read_graph(path)).model()


class _Reader:
    """Follows the one tensor that depends on the input. `at` is its name, `taken` the nodes passed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[nn.Module] = []
        self.taken: set[int] = set()
        self.width: int | None = None
        self.bytes = 0

    def model(self) -> nn.Sequential:
        graph = self.graph
        self.width = graph.in_shape[1] if len(graph.in_shape) == 2 else None
        at = graph.input
        while at != graph.output:
            layer, at = self._next(at)
            self.layers.append(layer)
        for node in graph.nodes:
            if id(node) not in self.taken:
                raise ValueError(
                    f"{node.label} is outside the one chain from input to output that nnrs reads"
                )
        if len(graph.in_shape) != 2 and not any(isinstance(layer, nn.Flatten) for layer in self.layers):
            raise ValueError(
                f"{graph.path}: its input {graph.input!r} has {len(graph.in_shape)} axes, not flattened; "
                "expected (batch, features)"
            )
        model = nn.Sequential(*self.layers, dtype=graph.dtype.name)
        read_metadata(model, graph.metadata, graph.path)
        return model.eval()

    def _next(self, at: str) -> Found:
        users = self.graph.users(at)
        if not users:
            raise FileFormatError(
                f"{self.graph.path}: tensor {at!r} leads nowhere; expected it to reach the output"
            )
        if len(users) == 1 and users[0].op in _OPERATORS:
            node = users[0]
            found = _OPERATORS[node.op](self, node, at)
            if found is not None:
                return found
        for recognise in _PATTERNS:
            found = recognise(self, users, at)
            if found is not None:
                return found
        raise _unsupported(users[0])

    def take(self, *nodes: Node) -> str:
        """Count `nodes` as read; the name of what the last one gives."""
        self.taken.update(map(id, nodes))
        last = nodes[-1]
        if len(last.outputs) != 1:
            raise ValueError(f"{last.label} has {len(last.outputs)} outputs; expected one")
        return last.outputs[0]

    def weights(self, node: Node, name: str, ndim: int | None = None) -> NDArray[Any]:
        """Constant input `name` of `node`, of the model's dtype."""
        if not self.graph.is_constant(name):
            raise ValueError(
                f"{node.label}: its input {name!r} is computed; expected a constant tensor in the file"
            )
        value = self.graph.constant(name)
        if value.dtype != self.graph.dtype:
            raise FileFormatError(
                f"{node.label}: {name!r} has dtype {value.dtype}; expected {self.graph.dtype}"
            )
        if ndim is not None and value.ndim != ndim:
            raise ValueError(f"{node.label}: {name!r} has shape {value.shape}; expected {ndim} axes")
        if not np.isfinite(value).all():
            raise FileFormatError(f"{node.label}: {name!r} holds values that are not finite")
        self.bytes += value.nbytes
        if self.bytes > _LARGEST_GROWTH * self.graph.size:
            raise FileFormatError(
                f"{node.label}: the layers share tensors and would outgrow the file many times"
            )
        return value

    def row(self, node: Node, name: str, width: int) -> NDArray[Any]:
        """Constant input `name` of `node` as one value for each of `width` columns."""
        value = self.weights(node, name)
        if (
            value.ndim > 2
            or (value.ndim == 2 and value.shape[0] != 1)
            or value.shape[-1:] not in ((), (1,), (width,))
        ):
            raise FileFormatError(f"{node.label}: {name!r} has shape {value.shape}; expected ({width},)")
        return np.broadcast_to(value.reshape(-1), (width,)).copy()

    def linear(self, node: Node, weight: NDArray[Any], bias: NDArray[Any] | None) -> nn.Module:
        out_features, in_features = weight.shape
        if self.width is not None and self.width != in_features:
            raise FileFormatError(
                f"{node.label}: its weight takes {in_features} features; expected {self.width}, as come in"
            )
        layer = nn.Linear(
            in_features, out_features, bias is not None, init="zeros", dtype=self.graph.dtype.name
        )
        layer.weight.data = weight
        if bias is not None and layer.bias is not None:
            layer.bias.data = bias
        self.width = out_features
        return layer


def _unsupported(node: Node) -> ValueError:
    return ValueError(f"{node.label} is not supported where it stands; nnrs reads {SUPPORTED}")


def _gemm(reader: _Reader, node: Node, at: str) -> Found | None:
    if node.inputs[0] != at or at in node.inputs[1:]:
        raise ValueError(f"{node.label}: expected the data as its first input A alone")
    if node.integer("transA", 0):
        raise ValueError(f"{node.label}: transA is 1; expected 0, one row a sample")
    weight = reader.weights(node, node.inputs[1], ndim=2)
    if not node.integer("transB", 0):
        weight = weight.T
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = reader.row(node, node.inputs[2], weight.shape[0])
        bias = bias * bias.dtype.type(beta)
    return reader.linear(node, weight * weight.dtype.type(alpha), bias), reader.take(node)


def _matmul(reader: _Reader, node: Node, at: str) -> Found | None:
    if node.inputs[0] != at or node.inputs[1] == at:
        raise ValueError(f"{node.label}: expected the data as its first input alone")
    weight = reader.weights(node, node.inputs[1], ndim=2).T
    given = reader.take(node)
    add = reader.graph.only_user(given, "Add")
    bias = None
    if add is not None:
        constant = add.other(given)
        if constant is None or not reader.graph.is_constant(constant):
            raise _unsupported(add)
        bias = reader.row(add, constant, weight.shape[0])
        given = reader.take(add)
    return reader.linear(node, weight, bias), given


def _plain(build: Callable[[], nn.Module]) -> Callable[[_Reader, Node, str], Found | None]:
    def read(reader: _Reader, node: Node, _at: str) -> Found | None:
        return build(), reader.take(node)

    return read


def _leaky_relu(reader: _Reader, node: Node, _at: str) -> Found | None:
    return nn.LeakyReLU(node.number("alpha", 0.01)), reader.take(node)


def _elu(reader: _Reader, node: Node, _at: str) -> Found | None:
    return nn.ELU(node.number("alpha", 1.0)), reader.take(node)


def _selu(reader: _Reader, node: Node, _at: str) -> Found | None:
    for name, want in (("alpha", _SELU_ALPHA), ("gamma", _SELU_GAMMA)):
        has = node.number(name, want)
        if not math.isclose(has, want, rel_tol=1e-6):
            raise ValueError(f"{node.label}: {name} is {has}; expected {want}, that of SELU")
    return nn.SELU(), reader.take(node)


def _gelu(reader: _Reader, node: Node, _at: str) -> Found | None:
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise FileFormatError(f"{node.label}: approximate is {approximate!r}; expected 'none' or 'tanh'")
    return nn.GELU(approximate), reader.take(node)


def _swish(reader: _Reader, node: Node, _at: str) -> Found | None:
    alpha = node.number("alpha", 1.0)
    if alpha != 1.0:
        raise ValueError(f"{node.label}: alpha is {alpha}; expected 1")
    return nn.SiLU(), reader.take(node)


def _softmax(build: Callable[[], nn.Module]) -> Callable[[_Reader, Node, str], Found | None]:
    def read(reader: _Reader, node: Node, _at: str) -> Found | None:
        axis = node.integer("axis", 1 if reader.graph.opset < 13 else -1)
        if axis not in (-1, 1):
            raise ValueError(f"{node.label}: axis is {axis}; expected -1 or 1, along a row")
        return build(), reader.take(node)

    return read


def _flatten(reader: _Reader, node: Node, at: str) -> Found | None:
    axis = node.integer("axis", 1)
    if axis != 1:
        raise ValueError(f"{node.label}: axis is {axis}; expected 1")
    if at == reader.graph.input and None not in reader.graph.in_shape[1:]:
        reader.width = math.prod(d for d in reader.graph.in_shape[1:] if d is not None)
    return nn.Flatten(), reader.take(node)


def _dropout(reader: _Reader, node: Node, at: str) -> Found | None:
    if node.inputs[0] != at:
        raise _unsupported(node)
    if len(node.inputs) > 1 and node.inputs[1]:
        ratio = reader.graph.scalar(node.inputs[1])
        if ratio is None:
            raise ValueError(f"{node.label}: its ratio is computed; expected a constant")
    else:
        ratio = node.number("ratio", 0.5)
    if not 0.0 <= ratio < 1.0:
        raise FileFormatError(f"{node.label}: ratio is {ratio}; expected 0 <= ratio < 1")
    for mask in node.outputs[1:]:
        if mask == reader.graph.output or reader.graph.users(mask):
            raise ValueError(f"{node.label}: its mask is used; expected its first output alone")
    reader.taken.add(id(node))
    return nn.Dropout(float(str(np.float32(ratio)))), node.outputs[0]


def _scaler(reader: _Reader, node: Node, at: str) -> Found | None:
    if (
        any(not isinstance(layer, nn.Flatten | nn.Identity) for layer in reader.layers)
        or node.inputs[0] != at
    ):
        return None
    after = reader.graph.only_user(node.outputs[0], "Mul", "Div")
    if after is None:
        return None
    by = after.other(node.outputs[0])
    if by is None or (after.op == "Div" and after.inputs[0] != node.outputs[0]):
        return None
    shift, factor = reader.weights(node, node.inputs[1]), reader.weights(after, by)
    width = max(shift.size, factor.size)
    if reader.width is not None and width == 1:
        width = min(reader.width, reader.graph.size)
    shift, factor = reader.row(node, node.inputs[1], width), reader.row(after, by, width)
    if reader.width not in (None, width):
        raise FileFormatError(f"{node.label}: it scales {width} features; expected {reader.width}")
    if not np.all(factor > 0):
        raise FileFormatError(f"{after.label}: {by!r} holds a scale that is not positive")
    scale = factor.astype(np.float64)
    if after.op == "Mul":
        with np.errstate(over="ignore"):
            scale = 1.0 / scale
    if not np.all(np.isfinite(scale)):
        raise FileFormatError(f"{after.label}: a factor is too small to divide by")
    reader.width = width
    is_range = reader.graph.metadata.get("nnrs_scaler") == '"MinMaxScale"'
    layer = nn.MinMaxScale() if is_range else nn.Standardize()
    layer.load_state_dict({"mean": shift, "scale": scale})
    return layer, reader.take(node, after)


def _by_scalar(reader: _Reader, node: Node, name: str, want: float) -> bool:
    """Whether `node` joins tensor `name` with the constant `want`, as nearly as a float32 holds it."""
    has = reader.graph.scalar(node.other(name))
    return has is not None and math.isclose(has, want, rel_tol=1e-6)


def _pair(users: list[Node], first: str, second: str) -> tuple[Node, Node] | None:
    if len(users) != 2:
        return None
    for one, two in (users, users[::-1]):
        if one.op == first and two.op == second:
            return one, two
    return None


def _gate(reader: _Reader, users: list[Node], at: str) -> Found | None:
    """X * Sigmoid(x) and x * Tanh(Softplus(x))."""
    for first, rest, build in (("Sigmoid", (), nn.SiLU), ("Softplus", ("Tanh",), nn.Mish)):
        pair = _pair(users, first, "Mul")
        if pair is None:
            continue
        chain, product = [pair[0]], pair[1]
        for op in (*rest, "Mul"):
            after = reader.graph.only_user(chain[-1].outputs[0], op)
            if after is None:
                break
            chain.append(after)
        if chain[-1] is product and product.other(at) == chain[-2].outputs[0]:
            return build(), reader.take(*chain)
    return None


def _gelu_by_erf(reader: _Reader, users: list[Node], at: str) -> Found | None:
    """0.5 * (x * (1 + Erf(x / sqrt(2)))), as exporters write it where there is no Gelu."""
    pair = _pair(users, "Div", "Mul")
    if pair is None or pair[0].inputs[0] != at or not _by_scalar(reader, pair[0], at, math.sqrt(2.0)):
        return None
    chain = [pair[0]]
    for op in ("Erf", "Add", "Mul", "Mul"):
        after = reader.graph.only_user(chain[-1].outputs[0], op)
        if after is None:
            return None
        chain.append(after)
    _, erf, plus, product, half = chain
    if (
        _by_scalar(reader, plus, erf.outputs[0], 1.0)
        and product is pair[1]
        and product.other(at) == plus.outputs[0]
        and _by_scalar(reader, half, product.outputs[0], 0.5)
    ):
        return nn.GELU(), reader.take(*chain)
    return None


def _softplus_beta(reader: _Reader, users: list[Node], at: str) -> Found | None:
    """Softplus(b * x) / b."""
    if len(users) != 1 or users[0].op != "Mul":
        return None
    beta = reader.graph.scalar(users[0].other(at))
    softplus = reader.graph.only_user(users[0].outputs[0], "Softplus")
    if beta is None or not 0.0 < beta < math.inf or softplus is None:
        return None
    divide = reader.graph.only_user(softplus.outputs[0], "Div")
    if divide is None or divide.inputs[0] != softplus.outputs[0]:
        return None
    if reader.graph.scalar(divide.inputs[1]) != beta:
        return None
    if reader.graph.dtype == np.float32:
        beta = float(str(np.float32(beta)))
    return nn.Softplus(beta), reader.take(users[0], softplus, divide)


def _step(reader: _Reader, users: list[Node], at: str) -> Found | None:
    """Cast(x >= 0)."""
    if len(users) != 1 or users[0].op != "GreaterOrEqual" or users[0].inputs[0] != at:
        return None
    cast = reader.graph.only_user(users[0].outputs[0], "Cast")
    if cast is None or reader.graph.scalar(users[0].inputs[1]) != 0.0:
        return None
    if reader.graph.number_type(cast.integer("to", 0)) != reader.graph.dtype:
        return None
    return nn.Step(), reader.take(users[0], cast)


def _leading_scaler(reader: _Reader, users: list[Node], at: str) -> Found | None:
    """(x - shift) * factor or (x - shift) / scale, first in the graph."""
    return _scaler(reader, users[0], at) if len(users) == 1 and users[0].op == "Sub" else None


_OPERATORS: dict[str, Callable[[_Reader, Node, str], Found | None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Relu": _plain(nn.ReLU),
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "Selu": _selu,
    "Gelu": _gelu,
    "Swish": _swish,
    "Mish": _plain(nn.Mish),
    "Softplus": _plain(nn.Softplus),
    "Sigmoid": _plain(nn.Sigmoid),
    "Tanh": _plain(nn.Tanh),
    "Softmax": _softmax(nn.Softmax),
    "LogSoftmax": _softmax(nn.LogSoftmax),
    "Flatten": _flatten,
    "Identity": _plain(nn.Identity),
    "Dropout": _dropout,
}

_PATTERNS: tuple[Callable[[_Reader, list[Node], str], Found | None], ...] = (
    _gate,
    _gelu_by_erf,
    _softplus_beta,
    _step,
    _leading_scaler,
)
