"""nn.Linear and nn.init: values, gradients, initial weights."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import nnrs
from nnrs import nn
from nnrs.nn.init import Generator

NAMES = [
    "uniform",
    "normal",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "orthogonal",
    "zeros",
]


def own_init(shape, generator):
    return generator.normal(0.0, 0.5, shape) + generator.uniform(-0.1, 0.1, shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs"), [(4, 3, 5), (1, 1, 1), (0, 3, 2), (3, 0, 2), (3, 2, 0)]
)
def test_alone_it_computes_and_differentiates(batch, inputs, outputs, bias, dtype, rng):
    layer = nn.Linear(inputs, outputs, bias, dtype=dtype)
    x, dout = rng.normal(size=(batch, inputs)).astype(dtype), rng.normal(size=(batch, outputs)).astype(dtype)
    weight = layer.weight.data.astype("float64")
    offset = layer.bias.data.astype("float64") if bias else 0
    tolerance = {"rtol": 1e-5 if dtype == "float32" else 1e-13, "atol": 1e-6 if dtype == "float32" else 1e-14}
    out = layer(x)
    assert out.dtype == dtype
    assert out.shape == (batch, outputs)
    np.testing.assert_allclose(out, x @ weight.T + offset, **tolerance)
    np.testing.assert_allclose(layer.backward(dout), dout @ weight, **tolerance)
    np.testing.assert_allclose(layer.weight.grad, dout.T.astype("float64") @ x, **tolerance)
    if bias:
        np.testing.assert_allclose(layer.bias.grad, dout.astype("float64").sum(0), **tolerance)
    np.testing.assert_array_equal(layer.eval()(x), out)


def test_gradients_against_differences(check_gradients, rng):
    check_gradients(nn.Linear(4, 3, dtype="float64"), rng.normal(size=(5, 4)))
    check_gradients(nn.Linear(4, 3, bias=False, dtype="float64"), rng.normal(size=4))


def test_other_inputs_are_converted(rng):
    layer = nn.Linear(3, 2).eval()
    x = rng.integers(-3, 4, (5, 3))
    want = layer(x.astype("float32"))
    for other in (x, x.tolist(), x.astype("float64"), x.astype("float16"), x.astype(">f8"), x.astype("int8")):
        np.testing.assert_array_equal(layer(other), want)
    assert layer(np.array([[True, False, True]])).dtype == np.float32
    for bad in (x.astype(complex), x.astype(object), x.astype(str)):
        with pytest.raises(TypeError, match="x"):
            layer(bad)


def test_shape_errors_name_what_is_wrong():
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"x has shape \(5, 4\).*\b3\b"):
        layer(np.zeros((5, 4), "float32"))
    with pytest.raises(ValueError, match=r"x has shape \(2, 5, 3\).*Flatten"):
        layer(np.zeros((2, 5, 3), "float32"))
    layer(np.zeros((5, 3), "float32"))
    with pytest.raises(ValueError, match=r"dout has shape \(5, 3\).*\b2\b"):
        layer.backward(np.zeros((5, 3), "float32"))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"in_features": -1}, ValueError, "in_features is -1"),
        ({"in_features": 2**39 + 1}, ValueError, r"2 × 549755813889; expected at most 2\*\*40"),
        ({"in_features": 2**63}, ValueError, "in_features is 9223372036854775808"),
        ({"in_features": 2**32, "out_features": 2**32}, ValueError, "at most"),
        ({"in_features": 0, "out_features": 2**41}, ValueError, "out_features is 2199023255552"),
        ({"out_features": 2.0}, TypeError, "out_features must be an int, got float"),
        ({"out_features": True}, TypeError, "out_features must be an int, got bool"),
        ({"init": "he"}, ValueError, "init is 'he'; expected 'uniform'"),
        ({"init": 3}, TypeError, "init must be a name or a function"),
        ({"init": lambda *_: np.zeros(3)}, ValueError, r"init returned shape \(3,\); expected"),
        ({"init": lambda *_: "a"}, TypeError, "what init returns"),
        ({"dtype": "float16"}, ValueError, "dtype is 'float16'"),
        ({"dtype": "bogus"}, ValueError, "dtype is 'bogus'"),
    ],
)
def test_arguments_that_are_none(arguments, error, says):
    with pytest.raises(error, match=says):
        nn.Linear(**{"in_features": 3, "out_features": 2, **arguments})


def drawn(init, shape=(80, 120), seed=0):
    return nn.Sequential(nn.Linear(shape[1], shape[0], init=init, dtype="float64"), seed=seed)[0]


def test_spread_of_the_initial_weights():
    out, into = 80, 120
    bounds = {
        "uniform": 0.1,
        "xavier_uniform": math.sqrt(6 / (into + out)),
        "kaiming_uniform": 1 / math.sqrt(into),
    }
    for name, bound in bounds.items():
        weight = drawn(name).weight.data
        assert -bound <= weight.min() < -0.99 * bound
        assert 0.99 * bound < weight.max() <= bound
        assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.03)
        assert abs(weight.mean()) < 0.02 * bound
    spreads = {
        "normal": 0.1,
        "xavier_normal": math.sqrt(2 / (into + out)),
        "kaiming_normal": math.sqrt(2 / into),
    }
    for name, spread in spreads.items():
        weight = drawn(name).weight.data
        assert weight.std() == pytest.approx(spread, rel=0.03)
        assert abs(weight.mean()) < 0.03 * spread
        assert np.abs(weight).max() > 3 * spread
    for shape in [(80, 120), (120, 80)]:
        weight = drawn("orthogonal", shape).weight.data
        product = weight @ weight.T if shape[0] < shape[1] else weight.T @ weight
        np.testing.assert_allclose(product, np.eye(80), atol=1e-12)
    assert not drawn("zeros").weight.data.any()


def test_biases_start_at_zero_but_with_torchs_default():
    for name in NAMES:
        bias = drawn(name).bias.data
        if name == "kaiming_uniform":
            assert 0 < np.abs(bias).max() <= 1 / math.sqrt(120)
            assert not np.isin(bias, drawn(name).weight.data).any()
        else:
            assert not bias.any()


@pytest.mark.parametrize("init", [*NAMES[:-1], nn.init.kaiming_uniform, own_init])
def test_the_seed_decides(init):
    same, again, other = drawn(init), drawn(init), drawn(init, seed=1)
    np.testing.assert_array_equal(same.weight.data, again.weight.data)
    np.testing.assert_array_equal(same.bias.data, again.bias.data)
    assert not np.array_equal(same.weight.data, other.weight.data)


def test_named_functions_are_the_names():
    for name in NAMES:
        np.testing.assert_array_equal(drawn(name).weight.data, drawn(getattr(nn.init, name)).weight.data)


def test_layers_of_one_model_differ():
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)), seed=0)
    weights = [layer.weight.data for layer in model]
    assert not np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[1], weights[2])


def test_a_seed_leaves_what_the_user_set():
    def layers():
        return [nn.Linear(3, 3) for _ in range(4)]

    plain = nn.Sequential(*layers(), seed=5)
    mine = layers()
    mine[0].weight.data[:] = 1
    mine[1].bias.data = [1, 2, 3]
    mine[2].load_state_dict({"weight": np.ones((3, 3)), "bias": np.ones(3)})
    weight = mine[1].weight.data.copy()
    model = nn.Sequential(*mine, seed=5)
    assert (model[0].weight.data == 1).all()
    assert model[1].bias.data.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(model[1].weight.data, weight)
    assert (model[2].weight.data == 1).all()
    np.testing.assert_array_equal(model[3].weight.data, plain[3].weight.data)


def test_an_outer_seed_draws_nested_models_anew():
    inner = nn.Sequential(nn.Linear(3, 3), seed=1)
    flat = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), seed=2)
    nested = nn.Sequential(nn.Linear(3, 3), inner, seed=2)
    np.testing.assert_array_equal(nested[1][0].weight.data, flat[1].weight.data)


def test_no_seed_leaves_the_weights():
    layer = nn.Linear(3, 3)
    weight = layer.weight.data.copy()
    nn.Sequential(layer)
    np.testing.assert_array_equal(layer.weight.data, weight)


def test_manual_seed_is_the_default():
    def build():
        nnrs.manual_seed(3)
        return nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))

    first, second = build(), build()
    np.testing.assert_array_equal(first[0].weight.data, second[0].weight.data)
    np.testing.assert_array_equal(first[1][0].weight.data, second[1][0].weight.data)
    assert first[1].seed == second[1].seed
    assert not np.array_equal(first[0].weight.data, first[1][0].weight.data)


def test_generators_are_streams_of_their_own():
    first, second = Generator(0, 0, "float64"), Generator(0, 1, "float64")
    a, b = first.uniform(size=10), first.uniform(size=10)
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, second.uniform(size=10))
    np.testing.assert_array_equal(a, Generator(0, 0, "float64").uniform(size=(10,)))


def test_copies_and_pickles_of_functions_of_the_users():
    local = nn.Linear(3, 3, init=lambda shape, draw: draw.normal(0, 2, shape))
    for layer in (local, nn.Linear(3, 3, init=own_init)):
        twin = copy.deepcopy(layer)
        assert not np.array_equal(nn.Sequential(twin, seed=1)[0].weight.data, layer.weight.data)
        twin = pickle.loads(pickle.dumps(layer))
        np.testing.assert_array_equal(twin.weight.data, layer.weight.data)
    twin = pickle.loads(pickle.dumps(local))
    np.testing.assert_array_equal(nn.Sequential(twin, seed=1)[0].weight.data, local.weight.data)


def test_replaced_parameters_are_used(rng):
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).eval()
    x = rng.normal(size=(4, 3)).astype("float32")
    model(x)
    model[0].weight = nn.Parameter(np.ones((2, 3), "float32"))
    model[0].bias = None
    np.testing.assert_allclose(model(x), np.tanh(x.sum(1, keepdims=True) * np.ones(2)), rtol=1e-5)
    assert model[0].config() == {"in_features": 3, "out_features": 2, "bias": False}
    model[0].bias = nn.Parameter(np.ones(3, "float32"))
    with pytest.raises(ValueError, match=r"bias of module '0' has shape \(3,\); expected \(2,\)"):
        model(x)


def test_all_zero_weights_are_stuck(rng):
    model = nn.Sequential(nn.Linear(3, 4, init="zeros"), nn.Tanh(), nn.Linear(4, 1, init="zeros"))
    model(rng.normal(size=(8, 3)).astype("float32"))
    model.backward(np.ones((8, 1), "float32"))
    assert not model[0].weight.grad.any()
    assert not model[2].weight.grad.any()
    assert model[2].bias.grad == 8
