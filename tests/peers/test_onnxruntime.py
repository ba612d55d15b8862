"""Exported files in ONNX Runtime, which is where they are meant to run."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import nnrs.onnx  # noqa: E402
from nnrs import nn  # noqa: E402

ACTIVATIONS = [
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "sigmoid",
    "tanh",
    "identity",
]


def run(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_multi_layer_perceptrons(tmp_path, activation):
    path = tmp_path / "model.onnx"
    model = nn.MLP([20, 33, 7], activation=activation, dropout=0.2, seed=0).eval()
    nnrs.onnx.export(model, path)
    x = np.random.default_rng(0).normal(size=(50, 20)).astype("float32")
    np.testing.assert_allclose(run(path, x), model(x), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("last", [nn.Softmax, nn.LogSoftmax, nn.Step, lambda: nn.GELU("tanh")])
def test_images_scalers_and_last_layers(tmp_path, last):
    path = tmp_path / "model.onnx"
    x = np.random.default_rng(0).normal(size=(30, 5, 4)).astype("float32")
    model = nn.Sequential(nn.Flatten(), nn.Standardize(), nn.Linear(20, 6), last(), seed=0).eval()
    model.fit_scalers(x)
    nnrs.onnx.export(model, path, input_shape=(5, 4))
    np.testing.assert_allclose(run(path, x), model(x), rtol=1e-5, atol=2e-6)


def test_float64(tmp_path):
    path = tmp_path / "model.onnx"
    model = nn.MLP([6, 5, 2], activation="tanh", seed=0, dtype="float64").eval()
    nnrs.onnx.export(model, path)
    x = np.random.default_rng(0).normal(size=(8, 6))
    np.testing.assert_allclose(run(path, x), model(x), rtol=1e-13)
