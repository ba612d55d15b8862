import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from nnrs import metrics

seeds = st.integers(0, 2**32 - 1)


def sample(seed, rows, classes):
    rng = np.random.default_rng(seed)
    proba = rng.random((rows, classes)) + 1e-3
    proba /= proba.sum(axis=1, keepdims=True)
    return rng.integers(0, classes, rows), rng.integers(0, classes, rows), proba, rng.random(rows) + 0.01


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 40), st.integers(2, 5), st.booleans())
def test_labels_against_scikit_learn(seed, rows, classes, weighted):
    true, pred, proba, weights = sample(seed, rows, classes)
    w = weights if weighted else None
    assert metrics.accuracy(true, pred, sample_weight=w) == pytest.approx(
        reference.accuracy_score(true, pred, sample_weight=w), rel=1e-12
    )
    labels = list(range(classes))
    assert metrics.log_loss(true, proba, labels=labels, sample_weight=w) == pytest.approx(
        reference.log_loss(true, proba, labels=labels, sample_weight=w), rel=1e-12
    )
    for normalize in (None, "true", "pred", "all"):
        np.testing.assert_allclose(
            metrics.confusion_matrix(true, pred, labels=labels, normalize=normalize, sample_weight=w),
            reference.confusion_matrix(true, pred, labels=labels, normalize=normalize, sample_weight=w),
            rtol=1e-12,
        )


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(2, 40), st.integers(1, 3), st.booleans())
def test_values_against_scikit_learn(seed, rows, outputs, weighted):
    rng = np.random.default_rng(seed)
    true, pred = rng.normal(size=(rows, outputs)), rng.normal(size=(rows, outputs))
    true[:, 0] = np.where(rng.random() < 0.2, 1.0, true[:, 0])
    w = rng.random(rows) + 0.01 if weighted else None
    for own, peer in (
        (metrics.mse, reference.mean_squared_error),
        (metrics.mae, reference.mean_absolute_error),
        (metrics.r2, reference.r2_score),
    ):
        assert own(true, pred, sample_weight=w) == pytest.approx(peer(true, pred, sample_weight=w), rel=1e-9)


def test_strings_and_unused_labels():
    true, pred = ["b", "a", "b", "c"], ["b", "b", "b", "a"]
    assert metrics.accuracy(true, pred) == 0.5
    np.testing.assert_array_equal(
        metrics.confusion_matrix(true, pred), reference.confusion_matrix(true, pred)
    )
    order = ["c", "b", "z"]
    own = metrics.confusion_matrix(true, pred, labels=order)
    np.testing.assert_array_equal(own, reference.confusion_matrix(true, pred, labels=order))
    assert own.dtype == np.int64
    proba = [[0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]]
    assert metrics.log_loss(true, proba) == pytest.approx(reference.log_loss(true, proba), rel=1e-12)
    swapped = np.array(proba)[:, [2, 1, 0]]
    assert metrics.log_loss(true, swapped, labels=["c", "b", "a"]) == pytest.approx(
        metrics.log_loss(true, proba), rel=1e-12
    )


def test_class_numbers_are_columns_even_where_a_class_is_missing():
    assert metrics.log_loss([0, 2], [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]) == pytest.approx(
        -(np.log(0.5) + np.log(0.8)) / 2
    )


def test_multilabel_rows_count_as_a_whole():
    true, pred = np.array([[0, 1], [1, 1], [0, 0]]), np.array([[0, 1], [1, 0], [0, 0]])
    assert metrics.accuracy(true, pred) == pytest.approx(reference.accuracy_score(true, pred))
    proba = np.array([[0.2, 0.9], [0.7, 0.6], [0.1, 0.3]])
    expected = -np.mean(np.log(np.where(true == 1, proba, 1 - proba)))
    assert metrics.log_loss(true, proba) == pytest.approx(expected)


def test_one_hot_rows_are_labels():
    proba = np.array([[0.2, 0.8], [0.6, 0.4]])
    assert metrics.log_loss([[0, 1], [1, 0]], proba) == metrics.log_loss([1, 0], proba)


def test_binary_probability_of_the_second_class():
    true, proba = np.array([0, 1, 1]), np.array([0.2, 0.7, 0.9])
    assert metrics.log_loss(true, proba) == pytest.approx(reference.log_loss(true, proba))
    assert metrics.likelihood(true, proba[:, None]) == pytest.approx(0.8 * 0.7 * 0.9)


def test_impossible_and_certain_predictions_stay_finite():
    for dtype in (np.float32, np.float64):
        proba = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=dtype)
        assert metrics.log_loss([1, 1], proba) == pytest.approx(
            reference.log_loss([1, 1], proba, labels=[0, 1]), rel=1e-6
        )
        assert metrics.likelihood([1, 1], proba) == 0.0
        assert metrics.likelihood([0, 1], proba) == 1.0


def test_likelihood_is_the_product_and_its_logarithm_the_cross_entropy():
    true, _, proba, weights = sample(3, 25, 4)
    assert metrics.likelihood(true, proba) == pytest.approx(np.prod(proba[np.arange(25), true]))
    assert -np.log(metrics.likelihood(true, proba)) == pytest.approx(25 * metrics.log_loss(true, proba))
    assert -np.log(metrics.likelihood(true, proba, sample_weight=weights)) == pytest.approx(
        weights.sum() * metrics.log_loss(true, proba, sample_weight=weights)
    )


def test_likelihood_of_very_many_rows_underflows_quietly():
    assert metrics.likelihood(np.zeros(5000, int), np.full((5000, 2), 0.5)) == 0.0


def test_column_targets_never_broadcast():
    true = np.arange(4.0)
    assert metrics.mse(true, true[:, None]) == 0.0
    assert metrics.r2(true[:, None], true) == 1.0


def test_r2_of_flat_targets_and_single_rows():
    assert metrics.r2([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert metrics.r2([2.0, 2.0], [2.0, 3.0]) == 0.0
    assert np.isnan(metrics.r2([2.0], [2.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy([0, 1], [0]), r"y_pred has shape \(1,\); expected \(2,\)"),
        (lambda: metrics.accuracy([], []), "no rows"),
        (lambda: metrics.mse([[1, 2]], [1, 2]), r"y_pred has shape \(2,\); expected \(1, 2\)"),
        (lambda: metrics.mse(np.zeros((2, 2, 2)), [1, 2]), "y_true has shape"),
        (
            lambda: metrics.mse([1, 2], [1, 2], sample_weight=[1]),
            r"sample_weight has shape \(1,\); expected \(2,\)",
        ),
        (lambda: metrics.mse([1, 2], [1, 2], sample_weight=[1, -1]), "sample_weight has negative"),
        (lambda: metrics.mse([1, 2], [1, 2], sample_weight=[1, np.nan]), "sample_weight has negative, NaN"),
        (lambda: metrics.mse([1, 2], [1, 2], sample_weight=[0, 0]), "zero everywhere"),
        (lambda: metrics.log_loss([0, 1], [[3.0, -1.0], [0.5, 0.5]]), "not logits"),
        (lambda: metrics.log_loss([0, 1], [[0.5, 0.4], [0.5, 0.5]]), "row 0 sums to 0.9"),
        (lambda: metrics.log_loss([0, 1, 1], [[0.5, 0.5]]), "y_proba has 1 rows; expected 3"),
        (lambda: metrics.log_loss(["a", "a"], [[0.5, 0.5], [0.5, 0.5]]), "1 different labels"),
        (lambda: metrics.log_loss(["a", "x"], [[0.5, 0.5]] * 2, labels=["a", "b"]), "has the label 'x'|'x'"),
        (lambda: metrics.log_loss([0, 1], [[0.5, 0.5]] * 2, labels=[0]), r"labels has shape \(1,\)"),
        (lambda: metrics.confusion_matrix([0], [0], normalize="rows"), "normalize must be"),
        (lambda: metrics.confusion_matrix([0], [0], labels=[1]), "none of the labels"),
        (lambda: metrics.confusion_matrix([0], [0], labels=[0, 0]), "different labels"),
        (lambda: metrics.confusion_matrix([[0, 1]], [[0, 1]]), r"expected \(n,\) labels"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
