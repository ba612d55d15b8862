"""nnrs.functional: values and derivatives against NumPy in float64, shapes, dtypes, `out`."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnrs.functional as F
from nnrs.class_weight import resolve_class_weight

RNG = np.random.default_rng(7)
TOLERANCE = {"float32": {"rtol": 4e-6, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


S, A, C = 1.0507009873554805, 1.6732632423543772, math.sqrt(2 / math.pi)
ACTIVATIONS = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0), {}),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x)), {}),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2, {}),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01), {}),
    "leaky_relu_steep": (
        lambda x: np.where(x > 0, x, 0.3 * x),
        lambda x: np.where(x > 0, 1, 0.3),
        {"negative_slope": 0.3},
    ),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1, np.exp(x)), {}),
    "elu_deep": (
        lambda x: np.where(x > 0, x, 1.5 * np.expm1(x)),
        lambda x: np.where(x > 0, 1, 1.5 * np.exp(x)),
        {"alpha": 1.5},
    ),
    "selu": (
        lambda x: S * np.where(x > 0, x, A * np.expm1(x)),
        lambda x: S * np.where(x > 0, 1, A * np.exp(x)),
        {},
    ),
    "gelu": (
        lambda x: x * normal_cdf(x),
        lambda x: normal_cdf(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
        {},
    ),
    "gelu_tanh": (
        lambda x: 0.5 * x * (1 + np.tanh(C * (x + 0.044715 * x**3))),
        lambda x: (
            0.5 * (1 + np.tanh(C * (x + 0.044715 * x**3)))
            + 0.5 * x * (1 - np.tanh(C * (x + 0.044715 * x**3)) ** 2) * C * (1 + 3 * 0.044715 * x**2)
        ),
        {"approximate": "tanh"},
    ),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))), {}),
    "mish": (
        lambda x: x * np.tanh(softplus(x)),
        lambda x: np.tanh(softplus(x)) + x * (1 - np.tanh(softplus(x)) ** 2) * sigmoid(x),
        {},
    ),
    "softplus": (softplus, sigmoid, {}),
    "softplus_sharp": (lambda x: softplus(3 * x) / 3, lambda x: sigmoid(3 * x), {"beta": 3.0}),
}
SETTINGS = {
    "leaky_relu_steep": "leaky_relu",
    "elu_deep": "elu",
    "gelu_tanh": "gelu",
    "softplus_sharp": "softplus",
}


def function(name, backward=False):
    return getattr(F, SETTINGS.get(name, name) + ("_backward" if backward else ""))


def layouts(array):
    """Return the same values in every way that memory can hold them."""
    unaligned = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return {
        "c": array,
        "fortran": np.asfortranarray(array),
        "negative": array[::-1].copy()[::-1],
        "strided": wide[..., ::2],
        "unaligned": unaligned,
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_derivatives(name, dtype):
    value, slope, settings = ACTIVATIONS[name]
    for shape in [(0,), (1,), (37,), (5, 17), (3, 0), (2, 3, 5)]:
        x = (3 * RNG.normal(size=shape)).astype(dtype)
        dout = RNG.normal(size=shape).astype(dtype)
        got, dx = function(name)(x, **settings), function(name, True)(dout, x, **settings)
        assert got.dtype == dx.dtype == x.dtype
        wide = x.astype(np.float64)
        np.testing.assert_allclose(got, value(wide), **TOLERANCE[dtype])
        np.testing.assert_allclose(dx, dout.astype(np.float64) * slope(wide), **TOLERANCE[dtype])


@pytest.mark.parametrize("name", [*ACTIVATIONS, "step"])
def test_activations_do_not_mind_how_memory_lies(name):
    settings = ACTIVATIONS[name][2] if name in ACTIVATIONS else {}
    x = RNG.normal(size=(9, 7)).astype("float32")
    dout = RNG.normal(size=(9, 7)).astype("float32")
    want = function(name)(x, **settings)
    for way, view in layouts(x).items():
        np.testing.assert_array_equal(function(name)(view, **settings), want, err_msg=way)
        if name != "step":
            dx = function(name, True)(layouts(dout)[way], view, **settings)
            np.testing.assert_array_equal(dx, function(name, True)(dout, x, **settings), err_msg=way)


@pytest.mark.parametrize("name", [*ACTIVATIONS, "step"])
def test_activations_of_nan_and_infinity(name):
    settings = ACTIVATIONS[name][2] if name in ACTIVATIONS else {}
    got = function(name)(np.array([np.nan, np.inf, -np.inf, 1.0]), **settings)
    assert np.isnan(got).tolist() == [True, False, False, False]
    bounded = name in ("sigmoid", "tanh", "step")
    assert got[1] == (1.0 if bounded else np.inf)
    limits = {"sigmoid": 0, "tanh": -1, "step": 0, "leaky_relu": -np.inf, "leaky_relu_steep": -np.inf}
    limits |= {"elu": -1, "elu_deep": -1.5, "selu": -S * A}
    assert got[2] == pytest.approx(limits.get(name, 0), rel=1e-15)


def test_step_is_one_from_zero_on():
    np.testing.assert_array_equal(F.step([-1e-300, -0.0, 0.0, 3.0]), [0, 1, 1, 1])
    assert not hasattr(F, "step_backward")


def test_sigmoid_of_zero_and_relu_of_minus_zero():
    assert F.sigmoid(0.0) == 0.5
    assert math.copysign(1, F.relu(np.array([-0.0]))[0]) == 1


def test_figures_of_a_neuron_and_a_layer():
    weights = [[0.2, 0.8, -0.5, 1.0], [0.5, -0.91, 0.26, -0.5], [-0.26, -0.27, 0.17, 0.87]]
    biases = [2, 3, 0.5]
    np.testing.assert_allclose(F.linear([1, 2, 3, 2.5], weights, biases), [4.8, 1.21, 2.385], rtol=1e-14)
    batch = [[1, 2, 3, 2.5], [2, 5, -1, 2], [-1.5, 2.7, 3.3, -0.8]]
    want = [[4.8, 1.21, 2.385], [8.9, -1.81, 0.2], [1.41, 1.051, 0.026]]
    np.testing.assert_allclose(F.linear(batch, weights, biases), want, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs"), [(0, 3, 2), (1, 1, 1), (5, 0, 3), (5, 3, 0), (7, 33, 17)]
)
def test_linear_and_its_gradients(batch, inputs, outputs, dtype):
    x, weight, bias, dout = (
        RNG.normal(size=s).astype(dtype)
        for s in [(batch, inputs), (outputs, inputs), (outputs,), (batch, outputs)]
    )
    wide = [array.astype(np.float64) for array in (x, weight, bias, dout)]
    got = F.linear(x, weight, bias)
    assert got.dtype == dtype
    tolerance = {"rtol": 1e-4 if dtype == "float32" else 1e-12, "atol": 1e-5 if dtype == "float32" else 1e-13}
    np.testing.assert_allclose(got, wide[0] @ wide[1].T + wide[2], **tolerance)
    np.testing.assert_allclose(F.linear(x, weight), wide[0] @ wide[1].T, **tolerance)
    dx, dweight, dbias = F.linear_backward(dout, x, weight)
    np.testing.assert_allclose(dx, wide[3] @ wide[1], **tolerance)
    np.testing.assert_allclose(dweight, wide[3].T @ wide[0], **tolerance)
    np.testing.assert_allclose(dbias, wide[3].sum(0), **tolerance)
    assert F.linear_backward(dout, x, weight, need_dx=False)[0] is None


def test_linear_with_activation_is_both():
    x, weight, bias = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3)), RNG.normal(size=5)
    np.testing.assert_array_equal(
        F.linear(x, weight, bias, activation="tanh"), F.tanh(F.linear(x, weight, bias))
    )
    with pytest.raises(ValueError, match="activation"):
        F.linear(x, weight, activation="cube")


def test_one_row_is_a_vector():
    x, weight = RNG.normal(size=(1, 3)), RNG.normal(size=(5, 3))
    np.testing.assert_array_equal(F.linear(x[0], weight), F.linear(x, weight)[0])


def test_shape_errors_teach():
    with pytest.raises(ValueError, match=r"x.*\(2, 3\).*\b4\b"):
        F.linear(np.zeros((2, 3)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"bias.*\(4,\).*\(5,\)"):
        F.linear(np.zeros((2, 3)), np.zeros((5, 3)), np.zeros(4))
    with pytest.raises(ValueError, match=r"weight.*\(3,\)"):
        F.linear(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match=r"dout has shape \(2, 4\).*\b5\b"):
        F.linear_backward(np.zeros((2, 4)), np.zeros((2, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"dout.*\(3,\).*\(4,\)"):
        F.relu_backward(np.zeros(3), np.zeros(4))


def test_two_float_dtypes_are_refused_and_lists_follow():
    x32, w64 = np.zeros((2, 3), "float32"), np.zeros((4, 3))
    with pytest.raises(TypeError, match=r"float32.*float64|float64.*float32"):
        F.linear(x32, w64)
    assert F.linear(x32, w64.tolist()).dtype == np.float32
    assert F.linear([[1, 2, 3]], [[1, 2, 3]]).dtype == np.float64
    assert F.relu(np.arange(3)).dtype == np.float64
    assert F.relu(np.array([1.0], ">f4")).dtype == np.float32


@pytest.mark.parametrize(
    "bad", [np.array(["a"]), np.array([1j]), np.array([None]), np.array([object()], dtype=object)]
)
def test_what_is_no_real_number_is_refused(bad):
    for call in (F.relu, F.softmax, lambda x: F.linear(x, [[1.0]]), lambda x: F.mse_loss(x, [1.0])):
        with pytest.raises(TypeError):
            call(bad)


@pytest.mark.parametrize(
    "call", [F.relu, F.gelu, F.softmax, F.log_softmax, lambda x, out: F.softmax(x, 0, out)]
)
def test_out(call):
    x = RNG.normal(size=(4, 4)).astype("float32")
    out = np.empty_like(x)
    assert call(x, out=out) is out
    np.testing.assert_array_equal(out, call(x, out=None))
    with pytest.raises(ValueError, match=r"out.*\(4, 3\).*\(4, 4\)"):
        call(x, out=np.empty((4, 3), "float32"))
    with pytest.raises(TypeError, match=r"out.*float64.*float32"):
        call(x, out=np.empty((4, 4)))
    frozen = np.empty_like(x)
    frozen.setflags(write=False)
    with pytest.raises(ValueError, match=r"out.*read-only"):
        call(x, out=frozen)
    both = np.zeros(20, "float32")
    with pytest.raises(ValueError, match="out shares memory with x"):
        call(both[:16].reshape(4, 4), out=both[4:].reshape(4, 4))
    with pytest.raises(TypeError, match="out"):
        call(x, out=x.tolist())


def reference_softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("axis", [-1, 0, 1, -2])
def test_softmax_along_an_axis(axis):
    x, dout = RNG.normal(size=(5, 7)), RNG.normal(size=(5, 7))
    p = reference_softmax(x, axis)
    np.testing.assert_allclose(F.softmax(x, axis), p, rtol=1e-13)
    np.testing.assert_allclose(F.log_softmax(x, axis), np.log(p), rtol=1e-12)
    np.testing.assert_allclose(
        F.softmax_backward(dout, x, axis),
        p * (dout - (dout * p).sum(axis, keepdims=True)),
        rtol=1e-11,
        atol=1e-15,
    )
    np.testing.assert_allclose(
        F.log_softmax_backward(dout, x, axis),
        dout - p * dout.sum(axis, keepdims=True),
        rtol=1e-11,
        atol=1e-15,
    )
    assert F.softmax(x.astype("float32"), axis).dtype == np.float32


def test_softmax_axis_that_is_none():
    with pytest.raises(ValueError, match="axis is 2"):
        F.softmax(np.zeros((2, 3)), 2)
    with pytest.raises(TypeError, match="axis"):
        F.softmax(np.zeros((2, 3)), 1.0)
    with pytest.raises(ValueError, match=r"dout has shape \(3, 2\); expected \(2, 3\)"):
        F.softmax_backward(np.zeros((3, 2)), np.zeros((2, 3)), 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_of_large_scores_and_of_two_classes(dtype):
    x = np.array([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4]], dtype)
    p = F.softmax(x)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    assert np.isfinite(F.log_softmax(x)).all()
    two = RNG.normal(size=(50, 2)).astype(dtype) * 5
    np.testing.assert_allclose(F.softmax(two)[:, 1], F.sigmoid(two[:, 1] - two[:, 0]), rtol=3e-6)


def reference_rows(name, pred, target, delta=1.0, pos_weight=1.0):
    """Loss of each row of one-output-or-more losses, in float64."""
    p, t = (np.asarray(a, float).reshape(len(pred), -1) for a in (pred, target))
    e = p - t
    rows = {
        "mse_loss": lambda: e * e,
        "l1_loss": lambda: np.abs(e),
        "huber_loss": lambda: np.where(np.abs(e) <= delta, e * e / 2, delta * (np.abs(e) - delta / 2)),
        "binary_cross_entropy": lambda: -(t * np.log(p) + (1 - t) * np.log(1 - p)),
        "binary_cross_entropy_with_logits": lambda: pos_weight * t * softplus(-p) + (1 - t) * softplus(p),
        "hinge_loss": lambda: np.maximum(0, 1 - t * p),
        "perceptron_loss": lambda: np.maximum(0, -t * p),
    }
    return rows[name]().mean(1)


def difference(function, x, step=1e-6):
    """Central differences of a scalar function."""
    grad = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        grad[index] = (function(up) - function(down)) / (2 * step)
    return grad


def relative(got, want):
    return np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-12)


def cases():
    pred, target = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 3))
    yield "mse_loss", pred, target, {}
    yield "l1_loss", pred, target, {}
    yield "huber_loss", 3 * pred, target, {"delta": 0.7}
    yield "binary_cross_entropy", sigmoid(pred), sigmoid(target), {}
    yield "binary_cross_entropy_with_logits", pred, 1.0 * (target > 0), {}
    yield "binary_cross_entropy_with_logits", pred, 1.0 * (target > 0), {"pos_weight": [1.0, 2.0, 0.5]}
    yield "hinge_loss", pred[:, 0], np.sign(target[:, 0]), {}
    yield "perceptron_loss", pred[:, :1], np.sign(target[:, 0]), {}


@pytest.mark.parametrize(("name", "pred", "target", "settings"), list(cases()))
def test_losses_of_outputs(name, pred, target, settings):
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
    rows = reference_rows(name, pred, target, **{k: np.array(v) for k, v in settings.items()})
    value, gradient = getattr(F, name), getattr(F, name + "_backward")
    assert value(pred, target, **settings) == pytest.approx(rows.mean(), rel=1e-12)
    assert value(pred, target, sample_weight=weights, **settings) == pytest.approx(
        (weights * rows).sum() / weights.sum(), rel=1e-12
    )
    assert value(pred, target, reduction="sum", **settings) == pytest.approx(rows.sum(), rel=1e-12)
    each = value(pred, target, sample_weight=weights, reduction="none", **settings)
    np.testing.assert_allclose(each, weights * rows, rtol=1e-12)
    for options in ({}, {"sample_weight": weights}, {"reduction": "sum"}):
        want = difference(lambda p, o=options: value(p, target, **o, **settings), pred)
        assert relative(gradient(pred, target, **options, **settings), want) < 1e-7
    assert gradient(pred.astype("f4"), target.astype("f4"), **settings).dtype == np.float32


def class_cases():
    x = RNG.normal(size=(6, 4))
    labels = np.array([0, 3, 1, 1, 2, 0])
    probabilities = reference_softmax(RNG.normal(size=(6, 4)))
    yield "cross_entropy", x, labels, np.eye(4)[labels], {}
    yield "cross_entropy", x, np.eye(4)[labels], np.eye(4)[labels], {}
    yield "cross_entropy", x, probabilities, probabilities, {}
    yield "cross_entropy", x, labels, 0.9 * np.eye(4)[labels] + 0.1 / 4, {"label_smoothing": 0.1}
    yield "nll_loss", np.log(probabilities), labels, np.eye(4)[labels], {}
    yield "nll_loss", np.log(probabilities), labels[:, None], np.eye(4)[labels], {}


@pytest.mark.parametrize(("name", "pred", "target", "shares", "settings"), list(class_cases()))
def test_losses_of_classes(name, pred, target, shares, settings):
    logp = np.log(reference_softmax(pred)) if name == "cross_entropy" else pred
    rows = -(shares * logp).sum(1)
    value, gradient = getattr(F, name), getattr(F, name + "_backward")
    assert value(pred, target, **settings) == pytest.approx(rows.mean(), rel=1e-12)
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
    options = {"sample_weight": weights, **settings}
    assert value(pred, target, **options) == pytest.approx((weights * rows).sum() / weights.sum(), rel=1e-12)
    want = difference(lambda p: value(p, target, **options), pred)
    assert relative(gradient(pred, target, **options), want) < 1e-7


@pytest.mark.parametrize("given", [[1.0, 2.0, 0.5], {1: 2.0, 2: 0.5}, "balanced"])
def test_class_weights(given):
    pred, labels = RNG.normal(size=(6, 3)), np.array([0, 0, 1, 0, 2, 1])
    weights = resolve_class_weight(given, labels, 3)
    rows = -np.log(reference_softmax(pred))[np.arange(6), labels]
    want = (weights[labels] * rows).sum() / weights[labels].sum()
    assert F.cross_entropy(pred, labels, class_weight=given) == pytest.approx(want, rel=1e-12)
    assert F.nll_loss(F.log_softmax(pred), labels, class_weight=given) == pytest.approx(want, rel=1e-12)
    gradient = F.cross_entropy_backward(pred, labels, class_weight=given)
    assert (
        relative(gradient, difference(lambda p: F.cross_entropy(p, labels, class_weight=given), pred)) < 1e-7
    )


def test_balanced_weights_are_those_of_scikit_learn():
    counting = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.array([0, 0, 0, 1, 3, 3])
    want = counting.compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    np.testing.assert_allclose(resolve_class_weight("balanced", labels, 4)[[0, 1, 3]], want)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ([1.0, 2.0], ValueError, r"\(2,\).*\(3,\)"),
        ([1.0, -1.0, 1.0], ValueError, "at least 0"),
        ([np.nan, 1.0, 1.0], ValueError, "finite"),
        ([0.0, 0.0, 0.0], ValueError, "not all"),
        ({7: 1.0}, ValueError, "class 7"),
        ("equal", ValueError, "balanced"),
        (["a", "b", "c"], TypeError, "class_weight"),
    ],
)
def test_class_weights_that_are_none(given, error, says):
    with pytest.raises(error, match=says):
        F.cross_entropy(np.zeros((2, 3)), [0, 1], class_weight=given)


@pytest.mark.parametrize("name", ["hinge_loss", "perceptron_loss"])
def test_margins_of_many_classes(name):
    pred, labels = 2 * RNG.normal(size=(8, 4)), RNG.integers(0, 4, 8)
    others = np.where(np.eye(4)[labels] > 0, -np.inf, pred).max(1)
    margin = 1.0 if name == "hinge_loss" else 0.0
    rows = np.maximum(0, margin + others - pred[np.arange(8), labels])
    assert getattr(F, name)(pred, labels) == pytest.approx(rows.mean(), rel=1e-12)
    want = difference(lambda p: getattr(F, name)(p, labels), pred)
    assert relative(getattr(F, name + "_backward")(pred, labels), want) < 1e-7


def test_targets_of_one_output_are_no_broadcast():
    pred = RNG.normal(size=(4, 1))
    for target in (np.ones(4), np.ones((4, 1))):
        assert (
            F.mse_loss(pred, target)
            == F.mse_loss(pred[:, 0], target)
            == pytest.approx(((pred - 1) ** 2).mean())
        )
    for bad in (np.ones(3), np.ones((1, 4)), np.ones((4, 2))):
        with pytest.raises(ValueError, match=r"target.*shape"):
            F.mse_loss(pred, bad)


def test_zero_and_one_are_targets_of_margins_too():
    pred = RNG.normal(size=5)
    signs = np.array([1, -1, -1, 1, 1])
    assert F.hinge_loss(pred, signs) == F.hinge_loss(pred, (signs + 1) // 2)
    with pytest.raises(ValueError, match="target"):
        F.hinge_loss(pred, [0, -1, 1, 1, 1])


@pytest.mark.parametrize("bad", [[0, 3], [-1, 0], [0.5, 1.0]])
def test_labels_that_are_none(bad):
    for loss in (F.cross_entropy, F.nll_loss, F.hinge_loss):
        with pytest.raises(ValueError, match="target"):
            loss(np.zeros((2, 3)), np.array(bad))


@pytest.mark.parametrize("bad", [[-1.0, 1.0], [np.nan, 1.0], [0.0, 0.0], [1.0], [[1.0, 1.0]]])
def test_sample_weights_that_are_none(bad):
    with pytest.raises(ValueError, match="weight"):
        F.mse_loss(np.zeros(2), np.zeros(2), sample_weight=bad)


def test_empty_batches_have_no_mean():
    with pytest.raises(ValueError, match="no rows"):
        F.mse_loss(np.zeros((0, 2)), np.zeros((0, 2)))
    assert F.mse_loss(np.zeros((0, 2)), np.zeros((0, 2)), reduction="sum") == 0
    with pytest.raises(ValueError, match="reduction"):
        F.mse_loss([1.0], [1.0], reduction="total")


def test_settings_outside_their_range():
    with pytest.raises(ValueError, match="beta"):
        F.softplus([1.0], beta=0.0)
    with pytest.raises(ValueError, match="approximate"):
        F.gelu([1.0], approximate="sigmoid")
    with pytest.raises(ValueError, match="delta"):
        F.huber_loss([1.0], [1.0], delta=0.0)
    with pytest.raises(ValueError, match="label_smoothing"):
        F.cross_entropy([[1.0, 2.0]], [0], label_smoothing=1.5)
    with pytest.raises(ValueError, match="pred"):
        F.binary_cross_entropy([1.5], [1.0])


def test_mean_cross_entropy_is_minus_the_mean_log_likelihood():
    logits, labels = RNG.normal(size=(10, 3)), RNG.integers(0, 3, 10)
    product = np.prod(F.softmax(logits)[np.arange(10), labels])
    assert -math.log(product) == pytest.approx(10 * F.cross_entropy(logits, labels), rel=1e-12)
