"""Activation layers, Dropout, Flatten and Identity."""

from __future__ import annotations

import numpy as np
import pytest

import nnrs.functional as F
from nnrs import nn

LAYERS = [
    (nn.ReLU, {}, F.relu, {}),
    (nn.LeakyReLU, {}, F.leaky_relu, {}),
    (nn.LeakyReLU, {"negative_slope": 0.2}, F.leaky_relu, {"negative_slope": 0.2}),
    (nn.ELU, {}, F.elu, {}),
    (nn.ELU, {"alpha": 1.5}, F.elu, {"alpha": 1.5}),
    (nn.SELU, {}, F.selu, {}),
    (nn.GELU, {}, F.gelu, {}),
    (nn.GELU, {"approximate": "tanh"}, F.gelu, {"approximate": "tanh"}),
    (nn.SiLU, {}, F.silu, {}),
    (nn.Mish, {}, F.mish, {}),
    (nn.Softplus, {}, F.softplus, {}),
    (nn.Softplus, {"beta": 2.0}, F.softplus, {"beta": 2.0}),
    (nn.Sigmoid, {}, F.sigmoid, {}),
    (nn.Tanh, {}, F.tanh, {}),
    (nn.Softmax, {}, F.softmax, {}),
    (nn.LogSoftmax, {}, F.log_softmax, {}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "arguments", "function", "settings"), LAYERS)
def test_a_layer_alone_is_its_function(kind, arguments, function, settings, dtype, rng):
    layer = kind(**arguments)
    backward = getattr(F, function.__name__ + "_backward")
    for shape in [(4, 5), (5,), (1, 1), (0, 3)]:
        x, dout = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
        out = layer(x)
        assert out.dtype == dtype
        tolerance = {
            "rtol": 1e-6 if dtype == "float32" else 1e-14,
            "atol": 1e-7 if dtype == "float32" else 1e-15,
        }
        np.testing.assert_allclose(out, function(x, **settings), **tolerance)
        np.testing.assert_allclose(layer.backward(dout), backward(dout, x, **settings), **tolerance)
    np.testing.assert_array_equal(layer([1, 2]), layer(np.array([1.0, 2.0])))


@pytest.mark.parametrize(("kind", "arguments", "function", "settings"), LAYERS)
def test_gradients_in_a_network(kind, arguments, function, settings, check_gradients, rng):
    model = nn.Sequential(
        nn.Linear(4, 6, dtype="float64"), kind(**arguments), nn.Linear(6, 3, dtype="float64"), seed=3
    )
    x = rng.normal(size=(5, 4))
    kinks = model[0](x)
    assert np.abs(kinks).min() > 1e-4
    check_gradients(model, x)


def test_step_predicts_but_does_not_train(rng):
    model = nn.Sequential(nn.Linear(2, 1), nn.Step())
    out = model(rng.normal(size=(9, 2)).astype("float32"))
    assert set(out.ravel().tolist()) <= {0.0, 1.0}
    with pytest.raises(ValueError, match=r"Step has no derivative.*Sigmoid"):
        model.backward(np.ones((9, 1), "float32"))


def test_settings_can_be_changed_and_are_checked():
    layer = nn.LeakyReLU(0.5)
    x = np.array([-2.0, 2.0])
    assert layer(x).tolist() == [-1, 2]
    layer.negative_slope = 0.25
    assert layer(x).tolist() == [-0.5, 2]
    for build in (
        lambda: nn.LeakyReLU(np.nan),
        lambda: nn.ELU(np.inf),
        lambda: nn.Softplus(0.0),
        lambda: nn.GELU("erf"),
        lambda: nn.Dropout(1.0),
        lambda: nn.Dropout(-0.1),
        lambda: nn.Dropout(np.nan),
    ):
        with pytest.raises(ValueError, match="expected"):
            build()


def test_dropout_keeps_its_share_and_its_mean():
    layer = nn.Dropout(0.3)
    out = layer(np.ones((200, 300)))
    assert set(np.unique(out)) == {0.0, 1 / 0.7}
    assert (out == 0).mean() == pytest.approx(0.3, abs=0.01)
    mask = layer.backward(np.ones((200, 300)))
    np.testing.assert_array_equal(mask, out)


def test_dropout_draws_anew_at_each_forward_and_by_the_seed():
    def masks(seed):
        model = nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.Dropout(0.5), seed=seed)
        return [model(np.ones((20, 10))) for _ in range(3)]

    first, again, other = masks(1), masks(1), masks(2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])
    assert (first[0] == 0).mean() == pytest.approx(0.75, abs=0.1)


def test_dropout_is_off_in_evaluation_and_p_can_change():
    model = nn.Sequential(nn.Dropout(0.5), seed=0)
    x = np.ones((10, 10))
    np.testing.assert_array_equal(model.eval()(x), x)
    model.train()
    model[0].p = 0.0
    np.testing.assert_array_equal(model(x), x)


def test_single_dropouts_can_be_off_in_training_and_on_in_evaluation():
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Dropout(0.9), seed=0)
    x = np.ones((20, 4), "float32")
    plain = model.eval()(x)
    model.train()
    for layer in model[1:]:
        layer.eval()
    np.testing.assert_array_equal(model(x), plain)
    model.eval()
    model[1].train()
    first, second = model(x), model(x)
    assert (first == 0).mean() == pytest.approx(0.5, abs=0.1)
    assert not np.array_equal(first, second)
    kept = first != 0
    np.testing.assert_allclose(first[kept], 2 * plain[kept], rtol=1e-6)
    np.testing.assert_array_equal(model._read(x, None, lambda out: out), plain)
    model[1].training = False
    np.testing.assert_array_equal(model(x), plain)


def test_flatten_makes_two_axes_and_shares_memory(rng):
    images = rng.normal(size=(5, 4, 3))
    rows = nn.Flatten()(images)
    assert rows.shape == (5, 12)
    assert np.shares_memory(rows, images)
    assert np.shares_memory(rows.reshape(-1, 4, 3), images)
    assert nn.Flatten()(np.zeros((0, 4, 3))).shape == (0, 12)
    assert nn.Flatten()(np.zeros(7)).shape == (7,)


def test_flatten_first_takes_images_and_gives_their_gradient(check_gradients, rng):
    images = rng.normal(size=(5, 4, 3))
    for first in ([nn.Flatten()], [nn.Tanh(), nn.Identity(), nn.Flatten()]):
        model = nn.Sequential(*first, nn.Linear(12, 3, dtype="float64"), nn.Dropout(0.0), seed=0)
        check_gradients(model, images)
        model(images)
        assert model.backward(np.ones((5, 3))).shape == images.shape
        np.testing.assert_array_equal(model.eval()(images), model(images.reshape(5, 12)))


def test_flatten_after_what_minds_the_shape_is_no_help():
    model = nn.Sequential(nn.Softmax(), nn.Flatten(), nn.Linear(12, 3, dtype="float64"))
    with pytest.raises(ValueError, match=r"x has shape \(5, 4, 3\).*put nn.Flatten\(\) first"):
        model(np.zeros((5, 4, 3)))


def test_identity():
    x = np.ones((3, 2))
    layer = nn.Identity()
    assert layer(x) is x
    assert layer.backward(x).tolist() == x.tolist()
    assert nn.Sequential()(x) is x
