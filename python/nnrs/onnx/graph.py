"""An ONNX file, read with suspicion: its nodes, its constants, its one input and one output.

Nothing in the file is believed before it is checked: `onnx.checker` sees it first, a tensor must fill its
shape exactly, no dimension may exceed the size of the file, and no other file is opened because this one
names it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs._core import FileFormatError
from nnrs.onnx.package import import_onnx

__all__ = ["Graph", "Node", "read_graph"]

# protobuf cannot hold more in one message.
_LARGEST_FILE = (1 << 31) - 1
# Gemm and the elementwise operators broadcast as they do today from this operator set on.
_OLDEST_OPSET = 7
# Below this many dimensions' worth every shape is harmless, however small the file.
_SMALL = 4096


@dataclass(frozen=True)
class Node:
    """One operator of the graph.

    Examples
    --------
    >>> from nnrs.onnx.graph import Node
    >>> Node("Add", "node 0 (Add)", ("x", "bias"), ("y",), {}).other("x")
    'bias'
    """

    op: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(repr=False)

    def other(self, name: str) -> str | None:
        """Return the other input of an operator of two inputs, or None where there is none."""
        if len(self.inputs) != 2 or name not in self.inputs:
            return None
        return self.inputs[1] if self.inputs[0] == name else self.inputs[0]

    def number(self, name: str, default: float) -> float:
        """Return attribute `name` as a float: the shortest decimal of its float32, so 0.01 stays 0.01."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int | float):
            raise FileFormatError(f"{self.label}: {name} is {value!r}; expected a number")
        return float(str(np.float32(value))) if name in self.attributes else float(value)

    def integer(self, name: str, default: int) -> int:
        """Return attribute `name` as an int."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise FileFormatError(f"{self.label}: {name} is {value!r}; expected an integer")
        return value

    def text(self, name: str, default: str) -> str:
        """Return attribute `name` as a str."""
        value = self.attributes.get(name, default)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str):
            raise FileFormatError(f"{self.label}: {name} is {value!r}; expected a string")
        return value


class Graph:
    """The checked content of one file.

    Attributes
    ----------
    nodes : list of Node
        What computes on data; what computes on constants alone is folded.
    input, output : str
        Names of the one tensor that goes in and the one that comes out.
    dtype : numpy.dtype
        float32 or float64, that of the input.
    in_shape : tuple of int or None
        Declared shape of the input.
    metadata : dict of str to str

    Examples
    --------
    >>> import nnrs.onnx
    >>> from nnrs import nn
    >>> from nnrs.onnx.graph import read_graph
    >>> nnrs.onnx.export(nn.MLP([4, 3], seed=0), "model.onnx")
    >>> read_graph("model.onnx").in_shape
    (None, 4)
    """

    def __init__(self, model: Any, path: str, size: int) -> None:
        onnx = import_onnx()
        self.path = path
        self.size = size
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        graph = model.graph
        if graph.sparse_initializer:
            raise ValueError(f"{path}: its sparse tensors are not supported; expected dense ones")
        self._tensors: dict[str, Any] = {t.name: t for t in graph.initializer}
        self._arrays: dict[str, NDArray[Any]] = {}
        inputs = [i for i in graph.input if i.name not in self._tensors]
        for what, found in (("input", inputs), ("output", list(graph.output))):
            if len(found) != 1:
                names = ", ".join(repr(i.name) for i in found[:8]) or "none"
                raise ValueError(f"{path}: it has {len(found)} {what}s ({names}); expected one")
        self.input: str = inputs[0].name
        self.output: str = graph.output[0].name
        self.dtype, self.in_shape = self._describe(inputs[0], onnx)
        self._derived: dict[str, Node] = {}
        self.nodes: list[Node] = []
        for index, proto in enumerate(graph.node):
            self._add(index, proto, onnx)
        self._users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self._users.setdefault(name, []).append(node)

    def _describe(self, info: Any, onnx: Any) -> tuple[np.dtype[Any], tuple[int | None, ...]]:
        kind = info.type.tensor_type
        if info.type.WhichOneof("value") != "tensor_type":
            raise ValueError(
                f"{self.path}: input {info.name!r} is no tensor; expected a float32 or float64 tensor"
            )
        dtype = _float_dtypes(onnx).get(kind.elem_type)
        if dtype is None:
            has = _type_name(onnx, kind.elem_type)
            raise ValueError(f"{self.path}: input {info.name!r} has type {has}; expected FLOAT or DOUBLE")
        shape = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in kind.shape.dim)
        return dtype, shape

    def _add(self, index: int, proto: Any, onnx: Any) -> None:
        name = f"{proto.name!r}" if proto.name else f"{index}"
        label = f"{self.path}: node {name} ({proto.op_type})"
        if proto.domain not in ("", "ai.onnx"):
            raise ValueError(
                f"{label} is of domain {proto.domain!r}; expected operators of ONNX's own domain"
            )
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        node = Node(proto.op_type, label, tuple(proto.input), tuple(proto.output), attributes)
        if node.op == "Constant":
            for key, value in attributes.items():
                if key == "value":
                    self._tensors[node.outputs[0]] = value
                elif key in ("value_float", "value_int", "value_floats", "value_ints"):
                    kind = self.dtype if "float" in key else np.dtype("int64")
                    self._arrays[node.outputs[0]] = np.asarray(value, dtype=kind)
                else:
                    raise ValueError(f"{label}: {key} is not supported; expected value")
        elif node.op in ("Identity", "Transpose") and self.is_constant(node.inputs[0]):
            self._derived[node.outputs[0]] = node
        else:
            self.nodes.append(node)

    def users(self, name: str) -> list[Node]:
        """Return the nodes that read tensor `name`."""
        return self._users.get(name, [])

    def only_user(self, name: str, *ops: str) -> Node | None:
        """Return the one node that reads `name`, if there is no other reader and it is one of `ops`."""
        users = self.users(name)
        if name == self.output or len(users) != 1 or users[0].op not in ops:
            return None
        return users[0]

    def is_constant(self, name: str | None) -> bool:
        """Whether the value of tensor `name` stands in the file."""
        return name is not None and (name in self._tensors or name in self._arrays or name in self._derived)

    def constant(self, name: str) -> NDArray[Any]:
        """Return the value of constant tensor `name`."""
        pending = []
        source = name
        while source in self._derived and source not in self._arrays:
            pending.append(self._derived[source])
            source = self._derived[source].inputs[0]
        if source not in self._arrays:
            self._arrays[source] = self._decode(source)
        for node in reversed(pending):
            value = self._arrays[node.inputs[0]]
            if node.op == "Transpose":
                axes = node.attributes.get("perm", list(range(value.ndim))[::-1])
                if sorted(axes) != list(range(value.ndim)):
                    raise FileFormatError(
                        f"{node.label}: perm is {axes!r}; expected an order of {value.ndim} axes"
                    )
                value = value.transpose(axes)
            self._arrays[node.outputs[0]] = value
        return self._arrays[name]

    def scalar(self, name: str | None) -> float | None:
        """Return the value of a constant tensor of one number, else None."""
        if name is None or not self.is_constant(name):
            return None
        value = self.constant(name)
        return float(value.reshape(-1)[0]) if value.size == 1 else None

    def number_type(self, number: int) -> np.dtype[Any] | None:
        """Return the NumPy dtype of an ONNX element type, where it is float32 or float64."""
        return _float_dtypes(import_onnx()).get(number)

    def _decode(self, name: str) -> NDArray[Any]:
        onnx = import_onnx()
        tensor = self._tensors[name]
        where = f"{self.path}: tensor {name!r}"
        types = {**_float_dtypes(onnx), onnx.TensorProto.INT64: np.dtype("int64")}
        dtype = types.get(tensor.data_type)
        if dtype is None:
            raise ValueError(
                f"{where} has type {_type_name(onnx, tensor.data_type)}; expected FLOAT or DOUBLE"
            )
        shape = tuple(tensor.dims)
        if any(d < 0 or d > max(self.size, _SMALL) for d in shape) or len(shape) > 8:
            raise FileFormatError(f"{where} claims shape {shape} in a file of {self.size} bytes")
        count = 1
        for d in shape:
            count *= d
        if tensor.HasField("raw_data"):
            held = len(tensor.raw_data) / dtype.itemsize
        else:
            fields = {"float32": tensor.float_data, "float64": tensor.double_data, "int64": tensor.int64_data}
            held = len(fields[dtype.name])
        if held != count:
            raise FileFormatError(f"{where} holds {held:g} values; expected {count} for its shape {shape}")
        value: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
        return value


def _float_dtypes(onnx: Any) -> dict[int, np.dtype[Any]]:
    return {onnx.TensorProto.FLOAT: np.dtype("float32"), onnx.TensorProto.DOUBLE: np.dtype("float64")}


def _type_name(onnx: Any, number: int) -> str:
    names: dict[int, str] = {value: key for key, value in onnx.TensorProto.DataType.items()}
    return names.get(number, str(number))


def read_graph(path: str | os.PathLike[str]) -> Graph:
    """Read and check the ONNX file at `path`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Graph

    Raises
    ------
    FileFormatError
        If it is no ONNX model, a damaged one, or one that `onnx.checker` refuses.
    ValueError
        If it uses what nnrs cannot read: an old operator set, several inputs, other number types, weights in
        other files.

    Examples
    --------
    >>> import nnrs.onnx
    >>> from nnrs import nn
    >>> from nnrs.onnx.graph import read_graph
    >>> nnrs.onnx.export(nn.MLP([4, 8, 3], seed=0), "model.onnx")
    >>> [node.op for node in read_graph("model.onnx").nodes]
    ['Gemm', 'Relu', 'Gemm']
    """
    onnx = import_onnx()
    name = os.fspath(path)
    size = os.path.getsize(name)
    if size > _LARGEST_FILE:
        raise FileFormatError(f"{name}: it has {size} bytes; expected less than 2 GiB")
    with open(name, "rb") as file:
        data = file.read(_LARGEST_FILE)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise FileFormatError(f"{name}: it is no ONNX file ({_first_line(error)})") from error
    if not model.HasField("graph") or model.ir_version < 1:
        raise FileFormatError(f"{name}: it is no ONNX file (it holds no graph)")
    _refuse_other_files(model, name, onnx)
    try:
        onnx.checker.check_model(data, full_check=False)
    except Exception as error:
        raise FileFormatError(f"{name}: onnx.checker refuses it ({_first_line(error)})") from error
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST_OPSET:
        raise ValueError(f"{name}: it uses operator set {opset}; expected {_OLDEST_OPSET} or newer")
    try:
        return Graph(model, name, len(data))
    except (UnicodeDecodeError, IndexError) as error:
        raise FileFormatError(f"{name}: its graph is malformed ({_first_line(error)})") from error


def _refuse_other_files(model: Any, path: str, onnx: Any) -> None:
    held = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in [*model.graph.initializer, *held]:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ValueError(
                f"{path}: tensor {tensor.name!r} lies in another file; expected all weights inside: "
                "onnx.save(onnx.load(path), new_path) puts them there"
            )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
