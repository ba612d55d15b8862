"""nnrs.Predictor: the model's bits, immutable, picklable, for many threads."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import nnrs
from nnrs import nn

RNG = np.random.default_rng(3)


def digits_like(dtype="float32", **options):
    model = nn.Sequential(
        nn.Standardize(),
        nn.Linear(6, 9),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(9, 3),
        seed=0,
        dtype=dtype,
        **options,
    )
    model.fit_scalers(5 + 2 * RNG.normal(size=(50, 6)))
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [0, 1, 5, 300])
def test_it_gives_the_bits_of_the_model(dtype, rows):
    model = digits_like(dtype)
    predictor = model.freeze()
    assert isinstance(predictor, nnrs.Predictor)
    assert (predictor.in_features, predictor.out_features, predictor.dtype) == (6, 3, dtype)
    x = RNG.normal(size=(rows, 6)).astype(dtype)
    np.testing.assert_array_equal(predictor(x), model.eval()(x))
    if rows:
        np.testing.assert_array_equal(predictor(x[0]), predictor(x)[0])


def test_out_is_filled_and_checked():
    predictor = digits_like().freeze()
    x = RNG.normal(size=(4, 6)).astype("float32")
    out = np.empty((4, 3), "float32")
    assert predictor(x, out) is out
    assert predictor(x, out=out) is out
    np.testing.assert_array_equal(out, predictor(x))
    with pytest.raises(ValueError, match=r"out has shape \(4, 2\).*\(4, 3\)"):
        predictor(x, np.empty((4, 2), "float32"))
    with pytest.raises(TypeError, match="out has dtype float64"):
        predictor(x, np.empty((4, 3)))
    shared = np.zeros(40, "float32")
    with pytest.raises(ValueError, match="out shares memory with x"):
        predictor(shared[:24].reshape(4, 6), shared[20:32].reshape(4, 3))


def test_inputs_are_converted_and_checked():
    predictor = digits_like().freeze()
    x = RNG.integers(-3, 4, (4, 6))
    want = predictor(x.astype("float32"))
    for other in (x, x.tolist(), x.astype("float64"), np.asfortranarray(x.astype("float32"))):
        np.testing.assert_array_equal(predictor(other), want)
    with pytest.raises(ValueError, match=r"x has shape \(4, 5\)"):
        predictor(np.zeros((4, 5), "float32"))
    with pytest.raises(TypeError, match="x has dtype"):
        predictor(np.zeros((4, 6), complex))


def test_it_does_not_follow_the_model():
    model = digits_like(task="multiclass")
    model.classes_ = ["a", "b", "c"]
    predictor = model.freeze()
    x = RNG.normal(size=(4, 6)).astype("float32")
    want = predictor(x)
    model.flat_parameters()[:] = 0
    model.fit_scalers(RNG.normal(size=(9, 6)))
    model.classes_ = None
    np.testing.assert_array_equal(predictor(x), want)
    assert predictor.classes_.tolist() == ["a", "b", "c"]


def test_it_cannot_be_changed():
    predictor = digits_like(task="regression").freeze()
    for name in ("task", "classes_", "in_features", "anything"):
        with pytest.raises(AttributeError):
            setattr(predictor, name, None)
    model = digits_like(task="multiclass")
    model.classes_ = [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        model.freeze().classes_[0] = 5
    assert copy.copy(predictor) is predictor
    assert copy.deepcopy(predictor) is predictor


@pytest.mark.parametrize("fold", [False, True])
def test_it_can_be_pickled(fold):
    model = digits_like(task="multiclass")
    model.classes_ = ["a", "b", "c"]
    model.feature_names_ = list("uvwxyz")
    predictor = model.freeze(fold=fold)
    twin = pickle.loads(pickle.dumps(predictor))
    x = RNG.normal(size=(4, 6)).astype("float32")
    np.testing.assert_array_equal(twin(x), predictor(x))
    assert type(twin) is type(predictor)
    assert twin.feature_names_ == list("uvwxyz")
    np.testing.assert_array_equal(twin.predict(x), predictor.predict(x))
    assert repr(twin) == "Predictor(in_features=6, out_features=3, task='multiclass')"


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_labels_and_probabilities_are_the_models(task):
    model = digits_like(task=task)
    predictor = model.freeze()
    x = RNG.normal(size=(7, 6)).astype("float32")
    for batch_size in (None, 1, 3):
        np.testing.assert_array_equal(predictor.predict(x, batch_size), model.predict(x, batch_size))
    if task == "regression":
        with pytest.raises(ValueError, match="no probabilities"):
            predictor.predict_proba(x)
    else:
        np.testing.assert_array_equal(predictor.predict_proba(x), model.predict_proba(x))
    np.testing.assert_array_equal(predictor.predict(x, threshold=0.7), model.predict(x, threshold=0.7))


def test_without_a_task_it_says_so():
    predictor = digits_like().freeze()
    assert predictor.task is None
    with pytest.raises(ValueError, match=r"no task.*model\.task"):
        predictor.predict(np.zeros((1, 6), "float32"))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.Standardize, nn.MinMaxScale])
def test_folding_works_the_scaler_into_the_weights(kind, bias):
    model = nn.Sequential(
        nn.Identity(), kind(), nn.Linear(6, 4, bias), nn.Tanh(), nn.Linear(4, 2), dtype="float64"
    )
    x = 100 + 3 * RNG.normal(size=(50, 6))
    model.fit_scalers(x)
    np.testing.assert_allclose(model.freeze(fold=True)(x), model.eval()(x), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(model.freeze()(x), model(x))
    plain = nn.Sequential(nn.Linear(6, 2, dtype="float64"))
    np.testing.assert_array_equal(plain.freeze(fold=True)(x), plain(x))


def test_images_are_flattened():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3, dtype="float64"), task="multiclass").eval()
    images = RNG.normal(size=(5, 4, 3))
    predictor = model.freeze()
    np.testing.assert_array_equal(predictor(images), model(images))
    np.testing.assert_array_equal(predictor(images.reshape(5, 12)), model(images))
    np.testing.assert_array_equal(predictor.predict(images, batch_size=2), model.predict(images))
    assert predictor(np.zeros((0, 4, 3))).shape == (0, 3)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(predictor))(images), model(images))


def test_one_layer_can_be_frozen():
    layer = nn.Linear(3, 2).eval()
    x = RNG.normal(size=(4, 3)).astype("float32")
    np.testing.assert_array_equal(layer.freeze()(x), layer(x))


def test_what_cannot_be_frozen_is_named():
    class Own(nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(TypeError, match=r"module '1' is a Own of your own"):
        nn.Sequential(nn.Linear(2, 2), Own()).freeze()
    with pytest.raises(TypeError, match="the model is a Own"):
        Own().freeze()
    with pytest.raises(ValueError, match="no Linear layer"):
        nn.Sequential(nn.Tanh()).freeze()
    with pytest.raises(ValueError, match="has not learned"):
        nn.Sequential(nn.Standardize(), nn.Linear(2, 2)).freeze()


def test_precision_and_threads_are_checked():
    model = digits_like()
    x = RNG.normal(size=(4, 6)).astype("float32")
    np.testing.assert_array_equal(model.freeze("highest", num_threads=1)(x), model.freeze()(x))
    np.testing.assert_allclose(model.freeze("high")(x), model.freeze()(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="precision"):
        model.freeze("low")
    with pytest.raises(ValueError, match="num_threads"):
        model.freeze(num_threads=0)


def test_many_threads_at_once():
    predictor = digits_like().freeze()
    x = RNG.normal(size=(100, 6)).astype("float32")
    want = predictor(x)
    wrong = []

    def work():
        out = np.empty_like(want)
        wrong.extend(1 for _ in range(50) if not np.array_equal(predictor(x, out), want))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
