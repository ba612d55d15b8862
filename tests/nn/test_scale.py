"""Scalers: what they learn, from which rows, and that it travels."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from nnrs import nn


def test_standardize_against_numpy(rng):
    x = rng.normal(size=(9000, 5)) * [1, 10, 1e-3, 1e3, 1] + [0, 100, 1e3, -1e6, 1e8]
    scaler = nn.Standardize()
    scaler.learn(x)
    np.testing.assert_allclose(scaler.mean, x.mean(0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(scaler.scale, (x - x.mean(0)).std(0), rtol=1e-12)
    assert scaler.mean.dtype == scaler.scale.dtype == np.float64
    out = scaler(x)
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(out.std(0), 1, rtol=1e-6)


def test_min_max_against_numpy(rng):
    x = rng.normal(size=(5000, 3)) * [1, 100, 1e-4] + [0, 50, -3]
    scaler = nn.MinMaxScale()
    scaler.learn(x)
    np.testing.assert_array_equal(scaler.min, x.min(0))
    out = scaler(x)
    np.testing.assert_allclose(out.min(0), 0, atol=1e-12)
    np.testing.assert_allclose(out.max(0), 1, rtol=1e-12)


@pytest.mark.parametrize("kind", [nn.Standardize, nn.MinMaxScale])
@pytest.mark.parametrize("constant", [0.1, 0.0, 1e20, -3.7e-200])
def test_columns_without_variance_stay_finite(kind, constant):
    scaler = kind()
    scaler.learn(np.full((1797, 2), [constant, 1.0]))
    assert scaler.scale.tolist() == [1, 1]
    assert (scaler(np.full((3, 2), [constant, 1.0])) == 0).all()
    tiny = kind()
    tiny.learn(np.array([[1e-320], [2e-320]]))
    for dtype in ("float32", "float64"):
        assert np.isfinite(tiny(np.array([[1e-320]], dtype))).all()


@pytest.mark.parametrize("kind", [nn.Standardize, nn.MinMaxScale])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_changes_nothing(kind, bad):
    scaler = kind()
    x = np.ones((5000, 3))
    x[4321, 1] = bad
    with pytest.raises(ValueError, match=rf"x holds {bad} in row 4321, column 1"):
        scaler.learn(x)
    assert not scaler.fitted
    with pytest.raises(ValueError, match=r"in row 4321, column 1"):
        scaler.learn(x, rows=np.array([3, 4321, 7]))
    with pytest.raises(ValueError, match="spans more than float64"):
        scaler.learn(np.array([[1e308], [-1e308]]))
    with pytest.raises(ValueError, match="no rows"):
        scaler.learn(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
        scaler.learn(np.zeros(3))
    with pytest.raises(TypeError, match="x has dtype"):
        scaler.learn(np.array([["a"]]))
    assert not scaler.fitted


def test_only_the_given_rows_are_learned(rng):
    x, rows = rng.normal(size=(50, 3)), np.arange(0, 50, 3)
    model = nn.Sequential(nn.Standardize(), nn.Linear(3, 2))
    model.fit_scalers(x, rows)
    np.testing.assert_allclose(model[0].mean, x[rows].mean(0), rtol=1e-13)
    with pytest.raises(ValueError, match="no rows"):
        model.fit_scalers(x, rows[:0])


def test_integers_float16_and_frames_are_learned_in_float64():
    values = np.array([[1, 100], [2, 300], [3, 500]])
    for x in (values, values.astype("float16"), values.tolist(), values.astype("uint8").astype("int16")):
        scaler = nn.Standardize()
        scaler.learn(x)
        np.testing.assert_allclose(scaler.mean, np.asarray(x, float).mean(0))
    pandas = pytest.importorskip("pandas")
    scaler.learn(pandas.DataFrame(values))
    np.testing.assert_allclose(scaler.mean, values.mean(0))


def test_in_a_model_it_is_the_first_step(rng):
    x = 5 + 3 * rng.normal(size=(40, 4)).astype("float32")
    model = nn.Sequential(nn.Standardize(), nn.Linear(4, 3), seed=0).eval()
    with pytest.raises(ValueError, match=r"Standardize has not learned.*fit_scalers"):
        model(x)
    model.fit_scalers(x)
    mean, scale = x.mean(0, dtype="f8"), x.std(0, dtype="f8")
    want = ((x - mean) / scale) @ model[1].weight.data.T.astype("f8") + model[1].bias.data
    np.testing.assert_allclose(model(x), want, rtol=1e-4, atol=1e-5)
    assert model.network is not None
    model.fit_scalers(2 * x)
    assert not np.allclose(model(x), want, atol=1e-3)


def test_it_comes_first_and_once():
    says = r"module '1' \(Standardize\) comes after module '0'; a scaler comes first"
    with pytest.raises(ValueError, match=says):
        nn.Sequential(nn.Linear(4, 4), nn.Standardize())
    with pytest.raises(ValueError, match="a scaler comes first"):
        nn.Sequential(nn.MinMaxScale(), nn.Standardize())
    inner = nn.Sequential(nn.Standardize(), nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"module '1.0'"):
        nn.Sequential(nn.Linear(4, 4), inner)
    nn.Sequential(nn.Identity(), nn.Flatten(), inner)


def test_widths_are_checked_when_it_learns(rng):
    model = nn.Sequential(nn.Standardize(), nn.Linear(4, 3))
    with pytest.raises(ValueError, match="x has 5 features; expected 4"):
        model.fit_scalers(rng.normal(size=(10, 5)))
    assert not model[0].fitted


def test_images_are_scaled_pixel_by_pixel(rng):
    images = rng.normal(size=(20, 3, 2))
    model = nn.Sequential(nn.Standardize(), nn.Flatten(), nn.Linear(6, 2, dtype="float64"))
    model.fit_scalers(images)
    np.testing.assert_allclose(model[0].mean, images.reshape(20, 6).mean(0), rtol=1e-12)
    np.testing.assert_array_equal(model.eval()(images), model(images.reshape(20, 6)))


def test_statistics_are_read_only_and_can_be_replaced(rng):
    scaler = nn.Standardize()
    scaler.learn(rng.normal(size=(10, 2)))
    with pytest.raises(ValueError, match="read-only"):
        scaler.mean[0] = 1
    scaler.mean, scaler.scale = [1.0, 2.0], [2.0, 4.0]
    assert scaler([[3.0, 6.0]]).tolist() == [[1, 1]]


def test_state_and_copies_carry_the_statistics(rng):
    x = rng.normal(size=(20, 4)).astype("float32")
    model, fresh = (nn.Sequential(nn.Standardize(), nn.Linear(4, 2), seed=0) for _ in range(2))
    assert list(fresh.state_dict()) == ["1.weight", "1.bias"]
    model.fit_scalers(x)
    state = model.state_dict()
    assert set(state) == {"0.mean", "0.scale", "1.weight", "1.bias"}
    fresh.load_state_dict(state)
    np.testing.assert_array_equal(fresh(x), model(x))
    np.testing.assert_array_equal(copy.deepcopy(model)(x), model(x))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"0.scale": None}, "lacks '0.scale'|only one"),
        ({"0.scale": np.zeros(4)}, "not positive"),
        ({"0.scale": np.full(4, -1.0)}, "not positive"),
        ({"0.scale": np.full(4, np.inf)}, "not finite"),
        ({"0.mean": np.full(4, np.nan)}, "not finite"),
        ({"0.mean": np.zeros(3)}, r"shape"),
        ({"0.mean": np.zeros(3), "0.scale": np.ones(3)}, "expected 4"),
        ({"0.mean": np.zeros((1, 4)), "0.scale": np.ones((1, 4))}, "shape"),
    ],
)
@pytest.mark.parametrize("fitted", [False, True])
def test_a_wrong_state_writes_nothing(change, says, fitted, rng):
    model = nn.Sequential(nn.Standardize(), nn.Linear(4, 2), seed=0)
    model.fit_scalers(rng.normal(size=(20, 4)))
    state = {name: array + 1 for name, array in model.state_dict().items()} | change
    state = {name: array for name, array in state.items() if array is not None}
    if not fitted:
        model = nn.Sequential(nn.Standardize(), nn.Linear(4, 2), seed=0)
    before = model.state_dict()
    with pytest.raises(ValueError, match=says):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
