"""What outputs mean: predict and predict_proba of models, by task."""

from __future__ import annotations

import numpy as np
import pytest

from nnrs import nn

RNG = np.random.default_rng(5)
X = RNG.normal(size=(20, 4))


def model(outputs, task, *tail):
    return nn.Sequential(nn.Linear(4, outputs), *tail, seed=0, dtype="float64", task=task)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_multiclass():
    net = model(3, "multiclass")
    scores = net.eval()(X)
    labels = net.predict(X)
    np.testing.assert_array_equal(labels, scores.argmax(1))
    assert labels.dtype == np.int64
    np.testing.assert_allclose(net.predict_proba(X), softmax(scores), rtol=1e-12)
    assert net.predict(X[3]) == labels[3]
    np.testing.assert_allclose(net.predict_proba(X[3]), softmax(scores)[3], rtol=1e-12)
    assert net.predict(X[:0]).shape == (0,)


@pytest.mark.parametrize("tail", [nn.Softmax, nn.LogSoftmax])
def test_a_final_softmax_is_not_applied_twice(tail):
    plain, net = model(3, "multiclass"), model(3, "multiclass", tail(), nn.Dropout(0.5))
    np.testing.assert_allclose(net.predict_proba(X), plain.predict_proba(X), rtol=1e-12)
    np.testing.assert_array_equal(net.predict(X), plain.predict(X))


@pytest.mark.parametrize("tail", [[], [nn.Sigmoid]])
def test_binary(tail):
    net, plain = model(1, "binary", *(kind() for kind in tail)), model(1, None)
    on = sigmoid(plain.eval()(X)[:, 0])
    np.testing.assert_allclose(net.predict_proba(X), np.stack([1 - on, on], 1), rtol=1e-12)
    assert net.predict(X).dtype == np.int64
    for threshold in (0.0, 0.3, 0.5, 0.8, 1.0):
        np.testing.assert_array_equal(net.predict(X, threshold=threshold), on >= threshold)
    assert net.predict(X[0]) == (on[0] >= 0.5)


def test_on_is_at_the_threshold_and_above():
    for net in (model(1, "binary"), model(1, "multilabel")):
        net.flat_parameters()[:] = 0
        assert net.predict(X, threshold=0.5).all()
        assert not net.predict(X, threshold=np.nextafter(0.5, 1)).any()


def test_binary_with_step_and_with_two_outputs():
    step, plain = model(1, "binary", nn.Step()), model(1, "binary")
    np.testing.assert_array_equal(step.predict(X), plain.predict(X))
    two = model(2, "binary")
    np.testing.assert_allclose(two.predict_proba(X), softmax(two.eval()(X)), rtol=1e-12)
    np.testing.assert_array_equal(two.predict(X), two(X).argmax(1))
    with pytest.raises(ValueError, match="binary"):
        model(3, "binary").predict(X)


@pytest.mark.parametrize("tail", [[], [nn.Sigmoid]])
def test_multilabel(tail):
    net, plain = model(3, "multilabel", *(kind() for kind in tail)), model(3, None)
    on = sigmoid(plain.eval()(X))
    np.testing.assert_allclose(net.predict_proba(X), on, rtol=1e-12)
    np.testing.assert_array_equal(net.predict(X, threshold=0.6), (on >= 0.6).astype(int))
    assert net.predict(X[0]).shape == (3,)


def test_regression():
    one, two = model(1, "regression"), model(2, "regression")
    np.testing.assert_array_equal(one.predict(X), one.eval()(X)[:, 0])
    np.testing.assert_array_equal(two.predict(X), two.eval()(X))
    with pytest.raises(ValueError, match="no probabilities"):
        one.predict_proba(X)


def test_predicting_is_evaluation_and_restores_the_mode():
    net = model(3, "multiclass", nn.Dropout(0.9))
    np.testing.assert_array_equal(net.predict_proba(X), net.predict_proba(X))
    assert all(part.training for part in net.modules())
    net(X)
    net.predict(X)
    assert net.backward(np.ones((20, 3))).shape == X.shape


def test_batches_change_nothing():
    net = model(3, "multiclass")
    for size in (1, 3, 20, 100):
        np.testing.assert_array_equal(net.predict(X, batch_size=size), net.predict(X))
        np.testing.assert_allclose(net.predict_proba(X, batch_size=size), net.predict_proba(X), rtol=1e-12)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        net.predict(X, batch_size=0)


def test_without_a_task_there_is_no_meaning():
    net = model(3, None)
    for call in (net.predict, net.predict_proba):
        with pytest.raises(ValueError, match=r"set model.task to 'multiclass'"):
            call(X)
    net.task = "multiclass"
    net.predict(X)
    with pytest.raises(ValueError, match=r"task is 'ranking'; expected 'multiclass'"):
        net.task = "ranking"
    with pytest.raises(ValueError, match="threshold is 50"):
        model(1, "binary").predict(X, threshold=50)


@pytest.mark.parametrize(
    "labels", [["cat", "dog", "eel"], [3, 5, 9], [0.5, 1.5, 2.5], np.array(["a", "b", "c"], object)]
)
def test_labels_are_called_what_they_were(labels):
    net = model(3, "multiclass")
    numbers = net.predict(X)
    net.classes_ = labels
    np.testing.assert_array_equal(net.predict(X), np.asarray(labels)[numbers])
    assert net.predict(X[0]) == labels[numbers[0]]
    net.classes_ = None
    np.testing.assert_array_equal(net.predict(X), numbers)


def test_labels_of_two_classes():
    net = model(1, "binary")
    on = net.predict(X)
    net.classes_ = ["no", "yes"]
    np.testing.assert_array_equal(net.predict(X), np.where(on == 1, "yes", "no"))
    net.classes_ = [1, 2, 3]
    with pytest.raises(ValueError, match="classes_ has 3 labels; expected 2"):
        net.predict(X)


@pytest.mark.parametrize("bad", [["a", "a"], [["a", "b"]], [1j, 2j], [None, 1]])
def test_labels_that_are_none(bad):
    with pytest.raises(ValueError, match="classes_"):
        model(2, None).classes_ = bad


def test_columns_of_a_frame_are_found_by_name():
    pandas = pytest.importorskip("pandas")
    net = model(3, "multiclass")
    want = net.predict(X)
    net.feature_names_ = ["a", "b", "c", "d"]
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    np.testing.assert_array_equal(net.predict(frame), want)
    np.testing.assert_array_equal(net.predict(frame[["d", "b", "a", "c"]].assign(more=1.0)), want)
    np.testing.assert_array_equal(net.freeze().predict(frame[["d", "b", "a", "c"]]), want)
    with pytest.raises(ValueError, match=r"x lacks column 'c' \(1 missing\)"):
        net.predict(frame.drop(columns="c"))
    with pytest.raises(TypeError, match="feature_names_"):
        net.feature_names_ = [1, 2]
