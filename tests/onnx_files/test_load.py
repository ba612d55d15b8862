"""ONNX files of others: graphs of many forms, and files that mean harm."""

from __future__ import annotations

import math

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

import nnrs.onnx  # noqa: E402
from nnrs import nn  # noqa: E402


def inputs(shape=(9, 4), dtype="float32"):
    return (3 * np.random.default_rng(0).normal(size=shape)).astype(dtype)


def kinds(model):
    return [type(layer).__name__ for layer in model]


# Graphs that others write


def graph(nodes, constants, *, opset=17, dtype=TensorProto.FLOAT, shape=("n", 4), extra_inputs=()):
    """A model of these nodes from "x" to "y"."""
    proto = helper.make_graph(
        [helper.make_node(op, *names, name=f"n{i}", **more) for i, (op, names, more) in enumerate(nodes)],
        "g",
        [helper.make_tensor_value_info("x", dtype, shape), *extra_inputs],
        [helper.make_tensor_value_info("y", dtype, ["n", None])],
        initializer=[
            value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()
        ],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(tmp_path, *arguments, **options):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(graph(*arguments, **options).SerializeToString())
    return path


def agrees(path, shape=(9, 4), dtype="float32"):
    x = inputs(shape, dtype)
    model = nnrs.onnx.load(path)
    wanted = ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    np.testing.assert_allclose(model(x), wanted, rtol=2e-6, atol=2e-6)
    return kinds(model)


W = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
B = np.array([0.5, -1.0, 2.0], "float32")


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, B, B[None, :], B[:1], B[0]])
def test_gemm_with_factors(tmp_path, transposed, bias):
    constants = {"w": W.T.copy() if transposed else W}
    names = ["x", "w"]
    if bias is not None:
        constants["b"] = bias
        names.append("b")
    node = ("Gemm", (names, ["y"]), {"alpha": 0.5, "beta": -2.0, "transB": transposed})
    assert agrees(saved(tmp_path, [node], constants)) == ["Linear"]


@pytest.mark.parametrize("order", [["m", "b"], ["b", "m"]])
def test_matmul_and_add(tmp_path, order):
    nodes = [("MatMul", (["x", "w"], ["m"]), {}), ("Add", (order, ["y"]), {})]
    assert agrees(saved(tmp_path, nodes, {"w": W, "b": B})) == ["Linear"]


def test_matmul_of_a_transposed_constant(tmp_path):
    nodes = [
        ("Transpose", (["w"], ["t"]), {"perm": [1, 0]}),
        ("Identity", (["t"], ["i"]), {}),
        ("MatMul", (["x", "i"], ["m"]), {}),
        ("Relu", (["m"], ["y"]), {}),
    ]
    assert agrees(saved(tmp_path, nodes, {"w": W.T.copy()})) == ["Linear", "ReLU"]


def test_gelu_by_erf_and_constants_by_nodes(tmp_path):
    def number(name, value):
        tensor = numpy_helper.from_array(np.float32(value), name)
        return ("Constant", ([], [name]), {"value": tensor})

    nodes = [
        number("r", math.sqrt(2)),
        ("Div", (["x", "r"], ["d"]), {}),
        ("Erf", (["d"], ["e"]), {}),
        ("Constant", ([], ["one"]), {"value_float": 1.0}),
        ("Add", (["e", "one"], ["p"]), {}),
        ("Mul", (["x", "p"], ["m"]), {}),
        number("half", 0.5),
        ("Mul", (["m", "half"], ["y"]), {}),
    ]
    assert agrees(saved(tmp_path, nodes, {})) == ["GELU"]


def test_decomposed_mish_and_silu(tmp_path):
    nodes = [
        ("Softplus", (["x"], ["s"]), {}),
        ("Tanh", (["s"], ["t"]), {}),
        ("Mul", (["t", "x"], ["m"]), {}),
        ("Sigmoid", (["m"], ["g"]), {}),
        ("Mul", (["m", "g"], ["y"]), {}),
    ]
    assert agrees(saved(tmp_path, nodes, {})) == ["Mish", "SiLU"]


def test_scaler_by_division_and_by_scalars(tmp_path):
    nodes = [
        ("Sub", (["x", "m"], ["c"]), {}),
        ("Div", (["c", "s"], ["n"]), {}),
        ("Gemm", (["n", "w", "b"], ["y"]), {}),
    ]
    constants = {"m": np.arange(4, dtype="float32"), "s": np.float32([1, 2, 3, 4]), "w": W, "b": B}
    assert agrees(saved(tmp_path, nodes, constants)) == ["Standardize", "Linear"]
    constants |= {"m": np.float32(0.5), "s": np.float32([255.0])}
    assert agrees(saved(tmp_path, nodes, constants)) == ["Standardize", "Linear"]


def test_dropout_flatten_and_old_softmax(tmp_path):
    nodes = [
        ("Flatten", (["x"], ["f"]), {}),
        ("Dropout", (["f"], ["d", "mask"]), {"ratio": 0.25}),
        ("Gemm", (["d", "w"], ["g"]), {}),
        ("Softmax", (["g"], ["y"]), {}),
    ]
    path = saved(tmp_path, nodes, {"w": W}, opset=11, shape=("n", 2, 2))
    model = nnrs.onnx.load(path)
    assert kinds(model) == ["Flatten", "Dropout", "Linear", "Softmax"]
    assert model[1].p == 0.25
    x = inputs((9, 2, 2))
    z = x.reshape(9, 4) @ W
    np.testing.assert_allclose(model(x), np.exp(z) / np.exp(z).sum(1, keepdims=True), rtol=1e-5)


def test_swish_of_a_newer_operator_set(tmp_path):
    if onnx.defs.onnx_opset_version() < 24:
        pytest.skip("needs module onnx.swish")
    path = saved(tmp_path, [("Swish", (["x"], ["y"]), {})], {}, opset=24)
    assert kinds(nnrs.onnx.load(path)) == ["SiLU"]


def test_float64_and_slopes_as_they_were_meant(tmp_path):
    nodes = [("LeakyRelu", (["x"], ["y"]), {"alpha": 0.1})]
    path = saved(tmp_path, nodes, {}, dtype=TensorProto.DOUBLE)
    model = nnrs.onnx.load(path)
    assert model.dtype == "float64"
    assert model[0].negative_slope == 0.1


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Sin", (["x"], ["y"]), {})], r"node 'n0' \(Sin\) is not supported.*nnrs reads Gemm"),
        ([("Relu", (["x"], ["r"]), {}), ("Add", (["x", "r"], ["y"]), {})], r"node 'n\d' \(\w+\) is not supp"),
        ([("Mul", (["x", "x"], ["y"]), {})], r"\(Mul\) is not supported"),
        ([("Relu", (["x"], ["y"]), {}), ("Tanh", (["x"], ["z"]), {})], "is not supported"),
        ([("Relu", (["x"], ["y"]), {}), ("Tanh", (["y"], ["z"]), {})], r"'n1' \(Tanh\) is outside the one"),
        ([("Gemm", (["x", "w"], ["y"]), {"transA": 1})], "transA is 1; expected 0"),
        ([("Gemm", (["w", "x"], ["y"]), {})], "expected the data as its first input"),
        ([("Gemm", (["x", "b"], ["y"]), {})], r"'b' has shape \(3,\); expected 2 axes"),
        ([("Gemm", (["x", "x"], ["y"]), {})], "first input A alone"),
        ([("Gemm", (["x", "w", "w"], ["y"]), {})], r"'w' has shape \(4, 3\); expected \(3,\)"),
        ([("MatMul", (["w", "x"], ["y"]), {})], "expected the data as its first input"),
        ([("Softmax", (["x"], ["y"]), {"axis": 0})], "axis is 0; expected -1 or 1"),
        ([("Flatten", (["x"], ["y"]), {"axis": 0})], "axis is 0; expected 1"),
        ([("Selu", (["x"], ["y"]), {"alpha": 2.0})], "alpha is 2.0; expected 1.67"),
        (
            [("Sub", (["x", "one"], ["c"]), {}), ("Mul", (["c", "zero"], ["y"]), {})],
            "scale that is not positive",
        ),
        (
            [
                ("Relu", (["x"], ["r"]), {}),
                ("Sub", (["r", "one"], ["c"]), {}),
                ("Mul", (["c", "one"], ["y"]), {}),
            ],
            r"'n1' \(Sub\) is not supported where it stands",
        ),
        ([("Mul", (["x", "one"], ["m"]), {}), ("Softplus", (["m"], ["y"]), {})], r"\(Mul\) is not supported"),
        ([("Dropout", (["x", "two"], ["y"]), {})], "ratio is 2.0"),
        ([("BatchNormalization", (["x", "f", "f", "f", "f"], ["y"]), {})], r"\(BatchNormalization\) is not"),
    ],
)
def test_load_refuses_by_name(tmp_path, nodes, message):
    constants = {
        "w": W,
        "b": B,
        "f": np.ones(4, "float32"),
        "zero": np.float32(0),
        "one": np.float32(1),
        "two": np.float32(2),
    }
    used = {name for _, (inputs, _), _ in nodes for name in inputs}
    path = saved(tmp_path, nodes, {name: value for name, value in constants.items() if name in used})
    with pytest.raises(ValueError, match=message):
        nnrs.onnx.load(path)


def test_load_refuses_images_without_flatten(tmp_path):
    path = saved(tmp_path, [("Softmax", (["x"], ["y"]), {})], {}, shape=("n", 2, 2))
    with pytest.raises(ValueError, match=r"input 'x' has 3 axes.*expected \(batch, features\)"):
        nnrs.onnx.load(path)


@pytest.mark.parametrize("shape", [("n", 5), ("n", 2, 5)])
def test_load_refuses_widths_that_do_not_fit(tmp_path, shape):
    nodes = [("Flatten", (["x"], ["f"]), {}), ("Gemm", (["f", "w"], ["y"]), {})]
    with pytest.raises(nnrs.FileFormatError, match=r"'n1' \(Gemm\): its weight takes 4 features; expected"):
        nnrs.onnx.load(saved(tmp_path, nodes, {"w": W}, shape=shape))


def test_load_refuses_several_inputs(tmp_path):
    more = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])]
    path = saved(tmp_path, [("Add", (["x", "z"], ["y"]), {})], {}, extra_inputs=more)
    with pytest.raises(ValueError, match=r"it has 2 inputs \('x', 'z'\); expected one"):
        nnrs.onnx.load(path)


def test_load_refuses_other_domains_and_old_sets(tmp_path):
    path = tmp_path / "model.onnx"
    model = graph([("Relu", (["x"], ["y"]), {})], {})
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"domain 'com\.example'"):
        nnrs.onnx.load(path)
    path.write_bytes(graph([("Relu", (["x"], ["y"]), {})], {}, opset=6).SerializeToString())
    with pytest.raises(ValueError, match="operator set 6; expected 7 or newer"):
        nnrs.onnx.load(path)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.INT32])
def test_load_refuses_other_number_types(tmp_path, kind):
    path = saved(tmp_path, [("Relu", (["x"], ["y"]), {})], {}, dtype=kind, opset=14)
    name = TensorProto.DataType.Name(kind)
    with pytest.raises(ValueError, match=f"input 'x' has type {name}; expected FLOAT or DOUBLE"):
        nnrs.onnx.load(path)


# Files that mean harm


def tensor(name, dims, data=b"", kind=TensorProto.FLOAT):
    made = TensorProto(name=name, data_type=kind, raw_data=data)
    made.dims.extend(dims)
    return made


@pytest.mark.parametrize(
    "weight",
    [
        tensor("w", [1 << 62, 0]),
        tensor("w", [0, 1 << 40]),
        tensor("w", [1 << 32, 1 << 32]),
        tensor("w", [-4, -3], bytes(48)),
        tensor("w", [4, 3], bytes(47)),
        tensor("w", [4, 3], bytes(48 * 2)),
        tensor("w", [4, 300], bytes(48)),
        tensor("w", [4, 3], bytes(96), TensorProto.DOUBLE),
        tensor("w", [4, 3], bytes(96), TensorProto.INT64),
    ],
)
def test_tensors_that_lie(tmp_path, weight):
    path = saved(tmp_path, [("Gemm", (["x", "w"], ["y"]), {})], {"w": weight}, shape=("n", "f"))
    with pytest.raises(nnrs.FileFormatError):
        nnrs.onnx.load(path)


def test_no_other_file_is_opened(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(48))
    outside = tensor("w", [4, 3])
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="secret")
    path = saved(tmp_path, [("Gemm", (["x", "w"], ["y"]), {})], {"w": outside})
    with pytest.raises(ValueError, match=r"tensor 'w' lies in another file; expected all weights inside"):
        nnrs.onnx.load(path)


def test_a_small_file_does_not_become_a_large_model(tmp_path):
    size = 64
    count = 200
    names = ["x", *(f"h{i}" for i in range(count - 1)), "y"]
    nodes = [("MatMul", ([names[i], "w"], [names[i + 1]]), {}) for i in range(count)]
    path = saved(tmp_path, nodes, {"w": np.eye(size, dtype="float32")}, shape=("n", size))
    with pytest.raises(nnrs.FileFormatError, match="outgrow"):
        nnrs.onnx.load(path)


def test_long_chains_take_linear_time(tmp_path):
    names = ["w", *(f"t{i}" for i in range(3000))]
    nodes = [("Transpose", ([names[i]], [names[i + 1]]), {}) for i in range(3000)]
    path = saved(tmp_path, [*nodes, ("Gemm", (["x", names[-1]], ["y"]), {})], {"w": W})
    assert agrees(path) == ["Linear"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"nnrs_task": '"guess"'},
        {"nnrs_task": "["},
        {"nnrs_task": "[" * 100_000},
        {"nnrs_classes": '{"dtype": "object", "labels": [1, 2, 3]}'},
        {"nnrs_classes": '{"dtype": "int64", "labels": [1, 2]}'},
        {"nnrs_classes": '{"dtype": "int64", "labels": [[1], [2], [3]]}'},
        {"nnrs_classes": '{"dtype": "int8", "labels": [1, 2, 300]}'},
        {"nnrs_classes": '{"dtype": "int64", "labels": [1, 1, 2]}'},
        {"nnrs_classes": "[1, 2, 3]"},
        {"nnrs_classes": '{"dtype": [], "labels": []}'},
        {"nnrs_feature_names": '["a"]'},
        {"nnrs_feature_names": "[1, 2, 3, 4]"},
        {"nnrs_feature_names": '"abcd"'},
    ],
)
def test_metadata_that_lies(tmp_path, metadata):
    model = graph([("Gemm", (["x", "w"], ["y"]), {})], {"w": W})
    helper.set_model_props(model, metadata)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(nnrs.FileFormatError, match="its metadata is malformed"):
        nnrs.onnx.load(path)


@pytest.mark.parametrize("data", [b"", b"\x00", b"PK\x03\x04 no model", b"\xff" * 200, b"{}", b"\x08\x09"])
def test_what_is_no_onnx_file(tmp_path, data):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(nnrs.FileFormatError, match=r"model\.onnx: "):
        nnrs.onnx.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        nnrs.onnx.load(tmp_path / "none.onnx")


def test_mutations_are_refused_or_read(tmp_path):
    path = tmp_path / "model.onnx"
    scaler = nn.Standardize()
    scaler.learn(inputs())
    model = nn.Sequential(scaler, nn.Linear(4, 6), nn.Softplus(2.0), nn.SiLU(), nn.Linear(6, 3), seed=0)
    model.task, model.classes_ = "multiclass", ["a", "b", "c"]
    nnrs.onnx.export(model, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(1500):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: rng.integers(len(data))]
        for _ in range(rng.integers(1, 4)):
            if data:
                data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
        try:
            back = nnrs.onnx.load(path)
        except ValueError:
            refused += 1
        else:
            assert sum(p.size for p in back.parameters()) <= len(whole)
    assert refused > 500
