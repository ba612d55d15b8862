"""`nn.Sequential` to an ONNX file: each layer as the operator that computes the same."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from nnrs import nn
from nnrs._core import __version__
from nnrs.nn.compiled import Compiled
from nnrs.onnx.metadata import write_metadata
from nnrs.onnx.package import import_onnx

__all__ = ["export"]

# The oldest operator set that has both Gelu and Mish, and the file version that came with it.
_OPSET = 20
_IR_VERSION = 9
# protobuf cannot hold more in one message.
_LARGEST_FILE = (1 << 31) - 1


def export(
    model: nn.Module, path: str | os.PathLike[str], *, input_shape: Sequence[int] | None = None
) -> None:
    """Write a model's evaluation mode as an ONNX file (operator set 20) with all weights inside.

    Linear is `Gemm`, a scaler `Sub` and `Mul`, SiLU `x * Sigmoid(x)`, Softplus with a beta
    `Softplus(beta * x) / beta`, Step `Cast(x >= 0)`, every other layer the operator of its name; Dropout is
    left out. The graph has one input, `input` of shape (batch, in_features), and one output, `output`: what
    `model(x)` gives in evaluation mode, logits where the model ends in logits.

    Parameters
    ----------
    model : nn.Module
        A `Sequential` (nested ones too) or one layer; scalers must have learned.
    path : path-like
        Written whole or not at all; an existing file is replaced.
    input_shape : sequence of int, optional
        Shape of one row where it has several axes, as (28, 28) for a model that begins with `Flatten`.

    Raises
    ------
    ValueError
        If a layer has no operator in ONNX (a module of one's own), a scaler has not learned, `input_shape`
        does not fit, a value is not finite, or the file would pass protobuf's 2 GiB. Nothing is written then.
    TypeError
        If `model` is no module.
    ImportError
        If the package `onnx` is missing.

    Notes
    -----
    Weights keep their bits. ONNX stores the slope of LeakyRelu and the alpha of Elu and Selu as float32, also
    in a float64 model. Task, classes, feature names and `model.metadata` travel in the file's
    `metadata_props`, for `nnrs.onnx.load`.

    Examples
    --------
    >>> import nnrs.onnx
    >>> from nnrs import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), seed=0)
    >>> nnrs.onnx.export(model, "model.onnx")
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected an nn.Module")
    layers = _layers(model)
    onnx = import_onnx()
    writer = _Writer(onnx, layers, np.dtype(getattr(model, "dtype", None) or "float32"))
    proto = writer.proto(None if input_shape is None else tuple(int(d) for d in input_shape))
    onnx.helper.set_model_props(proto, write_metadata(model))
    size = proto.ByteSize()
    if size > _LARGEST_FILE:
        raise ValueError(f"model takes {size} bytes as an ONNX file; expected less than 2 GiB")
    onnx.checker.check_model(proto)
    _write_whole(os.fspath(path), proto.SerializeToString())


class _Writer:
    """The graph being built; `at` is the name of the tensor that the next layer reads."""

    def __init__(self, onnx: Any, layers: Sequence[tuple[str, Any]], dtype: np.dtype[Any]) -> None:
        self.onnx = onnx
        self.layers = layers
        self.dtype = dtype
        self.type: int = onnx.TensorProto.FLOAT if dtype == np.float32 else onnx.TensorProto.DOUBLE
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.path = ""
        self.at = "input"

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node that reads `inputs`, or the current tensor where none is given; what it gives."""
        name = f"{self.path}.{op}"
        self.nodes.append(
            self.onnx.helper.make_node(op, inputs or (self.at,), [name], name=name, **attributes)
        )
        return name

    def constant(self, name: str, value: Any) -> str:
        """Add a constant of the model's dtype under its name in the state dict; that name."""
        name = f"{self.path}.{name}"
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds values that are not finite; a file of them could not be loaded")
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(value, dtype=self.dtype), name))
        return name

    def proto(self, given: tuple[int, ...] | None) -> Any:
        """Return the finished model."""
        helper = self.onnx.helper
        row_in, row_out = self._rows(given)
        for path, layer in self.layers:
            self.path = path
            self.at = _OPERATORS[type(layer)](self, layer)
        if not self.nodes:
            self.node("Identity")
        self.nodes[-1].output[0] = "output"
        graph = helper.make_graph(
            self.nodes,
            "nnrs",
            [helper.make_tensor_value_info("input", self.type, ["batch", *row_in])],
            [helper.make_tensor_value_info("output", self.type, ["batch", *row_out])],
            initializer=self.constants,
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="nnrs",
            producer_version=__version__,
        )

    def _rows(self, given: tuple[int, ...] | None) -> tuple[tuple[int | str, ...], tuple[int | str, ...]]:
        """Shape of one row of the input and of the output."""
        width: int | None = next(
            (w for _, layer in self.layers if (w := layer._features_in()) is not None), None
        )
        if given is not None:
            size = math.prod(given)
            if not given or min(given) < 1 or width not in (None, size):
                raise ValueError(f"input_shape is {given}; expected {width or 'positive'} features in all")
            first = next((layer for _, layer in self.layers if not isinstance(layer, nn.Identity)), None)
            if len(given) > 1 and not isinstance(first, nn.Flatten):
                raise ValueError(
                    f"input_shape is {given}; expected one axis, unless the model begins with Flatten"
                )
            width = size
        if width is None:
            return ("features",), ("features",)
        out = width
        for _, layer in self.layers:
            out = layer._features_out(out)
        return given or (width,), (out,)


def _layers(model: nn.Module) -> list[tuple[str, Any]]:
    """Return what computes in evaluation mode, in order, with paths; nested containers are opened."""
    leaves: Iterable[tuple[str, nn.Module]] = (
        model._leaves() if isinstance(model, Compiled) else [("", model)]
    )
    found = [(path or "0", layer) for path, layer in leaves if type(layer) is not nn.Dropout]
    for path, layer in found:
        if type(layer) not in _OPERATORS:
            supported = ", ".join(sorted(kind.__name__ for kind in (*_OPERATORS, nn.Dropout, nn.Sequential)))
            raise ValueError(
                f"layer {path!r} is a {type(layer).__name__}, which has no operator in ONNX; "
                f"expected one of {supported}"
            )
    return found


def _linear(writer: _Writer, layer: Any) -> str:
    inputs = [writer.at, writer.constant("weight", layer.weight.data)]
    if layer.bias is not None:
        inputs.append(writer.constant("bias", layer.bias.data))
    return writer.node("Gemm", *inputs, transB=1)


def _scaler(writer: _Writer, layer: Any) -> str:
    # The shift and factor that the core computes with, to the bit.
    _, shift, factor = layer._stage(writer.path, writer.dtype.name, 0)
    shifted = writer.node("Sub", writer.at, writer.constant("shift", shift))
    return writer.node("Mul", shifted, writer.constant("factor", factor))


def _silu(writer: _Writer, layer: Any) -> str:  # noqa: ARG001
    return writer.node("Mul", writer.at, writer.node("Sigmoid"))


def _softplus(writer: _Writer, layer: Any) -> str:
    if layer.beta == 1.0:
        return writer.node("Softplus")
    beta = writer.constant("beta", layer.beta)
    return writer.node("Div", writer.node("Softplus", writer.node("Mul", writer.at, beta)), beta)


def _step(writer: _Writer, layer: Any) -> str:  # noqa: ARG001
    reached = writer.node("GreaterOrEqual", writer.at, writer.constant("threshold", 0.0))
    return writer.node("Cast", reached, to=writer.type)


def _same(
    op: str, attributes: Callable[[Any], dict[str, Any]] | None = None
) -> Callable[[_Writer, Any], str]:
    """One operator, with the attributes that `attributes` finds in the layer."""

    def write(writer: _Writer, layer: Any) -> str:
        return writer.node(op, **({} if attributes is None else attributes(layer)))

    return write


_OPERATORS: dict[type[nn.Module], Callable[[_Writer, Any], str]] = {
    nn.Linear: _linear,
    nn.ReLU: _same("Relu"),
    nn.LeakyReLU: _same("LeakyRelu", lambda layer: {"alpha": layer.negative_slope}),
    nn.ELU: _same("Elu", lambda layer: {"alpha": layer.alpha}),
    nn.SELU: _same("Selu"),
    nn.GELU: _same("Gelu", lambda layer: {"approximate": layer.approximate}),
    nn.SiLU: _silu,
    nn.Mish: _same("Mish"),
    nn.Softplus: _softplus,
    nn.Sigmoid: _same("Sigmoid"),
    nn.Tanh: _same("Tanh"),
    nn.Step: _step,
    nn.Softmax: _same("Softmax", lambda _: {"axis": -1}),
    nn.LogSoftmax: _same("LogSoftmax", lambda _: {"axis": -1}),
    nn.Flatten: _same("Flatten", lambda _: {"axis": 1}),
    nn.Identity: _same("Identity"),
    nn.Standardize: _scaler,
    nn.MinMaxScale: _scaler,
}


def _write_whole(path: str, data: bytes) -> None:
    """Write beside the place of the file, then rename: it is complete or it is not there."""
    temporary = f"{path}.{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
