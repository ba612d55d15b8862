"""Models as ONNX files, and back: every layer against onnx's own evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from every_layer import LAYERS, inputs

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

import nnrs.onnx  # noqa: E402
from nnrs import nn  # noqa: E402

# ONNX holds their constants as float32, and its evaluator's GELU takes rounded ones.
COARSE = {"leaky_relu", "elu", "selu", "gelu", "gelu_tanh"}


def evaluate(path, x):
    return ReferenceEvaluator(str(path)).run(None, {"input": x})[0]


def kinds(model):
    return [type(layer).__name__ for layer in model]


# Round trips


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(tmp_path, name, dtype):
    path = tmp_path / "model.onnx"
    model = nn.Sequential(
        nn.Linear(4, 6, dtype=dtype), LAYERS[name](), nn.Linear(6, 3, bias=False, dtype=dtype), seed=0
    ).eval()
    nnrs.onnx.export(model, path)
    x = inputs(dtype)
    tolerance = 1e-6 if dtype == "float32" or name in COARSE else 1e-13
    np.testing.assert_allclose(evaluate(path, x), model(x), rtol=tolerance, atol=tolerance)
    back = nnrs.onnx.load(path)
    assert not back.training
    assert back.dtype == dtype
    assert kinds(back) == [kind for kind in kinds(model) if kind != "Dropout"]
    np.testing.assert_array_equal(back(x), model(x))


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_alone(tmp_path, name):
    path = tmp_path / "model.onnx"
    layer = LAYERS[name]().eval()
    nnrs.onnx.export(layer, path)
    x = inputs()
    np.testing.assert_allclose(evaluate(path, x), layer(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(nnrs.onnx.load(path)(x), layer(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [nn.Standardize, nn.MinMaxScale])
def test_scalers(tmp_path, kind, dtype):
    path = tmp_path / "model.onnx"
    x = inputs(dtype)
    x[:, 2] = 7.0
    scaler = kind()
    scaler.learn(x)
    model = nn.Sequential(scaler, nn.Linear(4, 3, dtype=dtype), seed=0).eval()
    nnrs.onnx.export(model, path)
    back = nnrs.onnx.load(path)
    assert isinstance(back[0], kind)
    np.testing.assert_allclose(back[0].scale, scaler.scale, rtol=1e-7)
    if dtype == "float32":
        np.testing.assert_array_equal(back(x), model(x))
    np.testing.assert_allclose(back(x), model(x), rtol=1e-6, atol=1e-14 if dtype == "float64" else 1e-6)
    np.testing.assert_allclose(evaluate(path, x), model(x), rtol=1e-6, atol=1e-6)


def test_nested_models_and_weights_bit_for_bit(tmp_path):
    path = tmp_path / "model.onnx"
    inner = nn.Sequential(nn.Linear(8, 8), nn.SiLU(), nn.Dropout(0.5))
    model = nn.Sequential(nn.Linear(4, 8), nn.Mish(), inner, nn.Linear(8, 2), seed=3).eval()
    nnrs.onnx.export(model, path)
    back = nnrs.onnx.load(path)
    assert kinds(back) == ["Linear", "Mish", "Linear", "SiLU", "Linear"]
    for mine, other in zip(model.parameters(), back.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, other.data)
    names = [tensor.name for tensor in onnx.load(str(path)).graph.initializer]
    assert names == list(model.state_dict())


def test_training_mode_is_exported_as_evaluation_and_kept(tmp_path):
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), seed=0)
    nnrs.onnx.export(model, tmp_path / "model.onnx")
    assert model.training
    x = inputs()
    np.testing.assert_allclose(evaluate(tmp_path / "model.onnx", x), model.eval()(x), rtol=1e-6, atol=1e-6)


def test_images(tmp_path):
    path = tmp_path / "model.onnx"
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), seed=0).eval()
    nnrs.onnx.export(model, path, input_shape=(3, 4))
    shape = onnx.load(str(path)).graph.input[0].type.tensor_type.shape
    assert [d.dim_value or d.dim_param for d in shape.dim] == ["batch", 3, 4]
    x = inputs(columns=12).reshape(9, 3, 4)
    np.testing.assert_allclose(evaluate(path, x), model(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(nnrs.onnx.load(path)(x), model(x))


def test_declared_shapes_and_checked_file(tmp_path):
    path = tmp_path / "model.onnx"
    nnrs.onnx.export(nn.MLP([4, 8, 3], activation="gelu", seed=0), path)
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 20
    dims = [
        [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert dims == [["batch", 4], ["batch", 3]]


@pytest.mark.parametrize(
    ("task", "classes", "outputs"),
    [
        ("multiclass", ["ant", "bee", "cow"], 3),
        ("multiclass", [3, 5, 9], 3),
        ("binary", [False, True], 1),
        ("multilabel", None, 3),
        ("regression", None, 1),
        (None, None, 2),
    ],
)
def test_task_and_classes_travel(tmp_path, task, classes, outputs):
    path = tmp_path / "model.onnx"
    model = nn.MLP([4, 8, outputs], seed=0, task=task)
    model.classes_ = classes
    model.feature_names_ = ["a", "b", "c", "ä"]
    model.metadata["origin"] = "tést"
    nnrs.onnx.export(model, path)
    back = nnrs.onnx.load(path)
    assert back.task == task
    assert back.feature_names_ == model.feature_names_
    assert back.metadata == {"origin": "tést"}
    if classes is None:
        assert back.classes_ is None
    else:
        assert back.classes_.dtype == model.classes_.dtype
        assert back.classes_.tolist() == classes
    if task is not None:
        np.testing.assert_array_equal(back.predict(inputs()), model.predict(inputs()))


# What cannot be exported


class Own(nn.Module):
    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)

    def backward(self, dout):
        return 2 * super().backward(dout)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 3), Own()), r"layer '1' is a Own.*expected one of .*Linear"),
        (Own, r"layer '0' is a Own"),
        (lambda: nn.Sequential(nn.Linear(4, 3), Doubled(nn.ReLU())), r"layer '1' is a Doubled"),
        (lambda: nn.Sequential(nn.Standardize(), nn.Linear(4, 3)), "fit_scalers"),
    ],
)
def test_export_refuses(tmp_path, model, message):
    with pytest.raises(ValueError, match=message):
        nnrs.onnx.export(model(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        (lambda: [nn.Flatten(), nn.Linear(12, 3)], (5, 4), r"input_shape is \(5, 4\); expected 12 features"),
        (lambda: [nn.Linear(12, 3)], (3, 4), "begins with Flatten"),
        (lambda: [nn.Flatten(), nn.Linear(12, 3)], (-3, -4), "expected 12 features"),
        (lambda: [nn.Flatten(), nn.ReLU()], (), "expected positive features"),
    ],
)
def test_export_refuses_a_shape(tmp_path, layers, shape, message):
    with pytest.raises(ValueError, match=message):
        nnrs.onnx.export(nn.Sequential(*layers()), tmp_path / "model.onnx", input_shape=shape)


def test_export_of_something_else(tmp_path):
    with pytest.raises(TypeError, match=r"model is a dict; expected an nn\.Module"):
        nnrs.onnx.export({}, tmp_path / "model.onnx")


def test_export_replaces_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")

    def fail(*paths):
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(OSError, match="no"):
            nnrs.onnx.export(nn.MLP([4, 3]), path)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    nnrs.onnx.export(nn.MLP([4, 3]), path)
    assert kinds(nnrs.onnx.load(path)) == ["Linear"]
