"""Measures of a prediction, in scikit-learn's order of arguments: truth first, prediction second.

Each takes `sample_weight=` of shape (n,) and returns a Python float, `confusion_matrix` a table. Targets of
shape (n,) and (n, 1) mean the same. Sums are in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs.arguments import check_choice, check_sample_weight

__all__ = ["NAMED", "Metric", "accuracy", "confusion_matrix", "likelihood", "log_loss", "mae", "mse", "r2"]

Array = NDArray[Any]

# A row of probabilities may miss 1 by rounding, a row of logits misses it by far more.
_ROW_SUM_TOLERANCE = 1e-3


def _column(name: str, values: ArrayLike) -> Array:
    """Return `values` as an array of one or two axes, a single column as one axis."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} has shape {array.shape}; expected (n,) or (n, outputs)")
    return array


def _pair(y_true: ArrayLike, y_pred: ArrayLike, second: str = "y_pred") -> tuple[Array, Array]:
    true, pred = _column("y_true", y_true), _column(second, y_pred)
    if true.shape != pred.shape:
        raise ValueError(f"{second} has shape {pred.shape}; expected {true.shape}, the shape of y_true")
    if not len(true):
        raise ValueError("y_true has no rows; a measure needs at least one")
    return true, pred


def _weights(sample_weight: ArrayLike | None, rows: int) -> NDArray[np.float64] | None:
    return None if sample_weight is None else check_sample_weight(sample_weight, rows)


def _mean(values: Array, weights: NDArray[np.float64] | None) -> float:
    """Weighted mean over the rows, plain mean over outputs."""
    return float(np.mean(np.average(values, axis=0, weights=weights)))


def accuracy(y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Share of the rows predicted exactly.

        Σ wᵢ [y_trueᵢ = y_predᵢ] / Σ wᵢ

    Parameters
    ----------
    y_true, y_pred : (n,) labels, or (n, k) of 0/1 where a row counts only as a whole
    sample_weight : (n,) float, optional

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If shapes disagree, there are no rows, or weights are negative, NaN or all zero.

    Notes
    -----
    `sklearn.metrics.accuracy_score`.

    Examples
    --------
    >>> from nnrs import metrics
    >>> metrics.accuracy([0, 1, 2, 2], [0, 1, 2, 1])
    0.75
    """
    true, pred = _pair(y_true, y_pred)
    right = true == pred
    if right.ndim == 2:
        right = right.all(axis=1)
    return _mean(right, _weights(sample_weight, len(true)))


def _given(y_true: ArrayLike, y_proba: ArrayLike, labels: ArrayLike | None) -> NDArray[np.float64]:
    """Return the probability that each row of `y_proba` gives to its own label, (n,) or (n, k) float64."""
    true = _column("y_true", y_true)
    raw = _column("y_proba", y_proba)
    if len(raw) != len(true):
        raise ValueError(f"y_proba has {len(raw)} rows; expected {len(true)}, the rows of y_true")
    if not len(true):
        raise ValueError("y_true has no rows; a measure needs at least one")
    proba: NDArray[np.float64] = raw.astype(np.float64)
    if not np.all((proba >= 0) & (proba <= 1)):
        raise ValueError("y_proba has entries outside 0..1 or NaN; expected probabilities, not logits")
    if true.ndim == 2:
        if true.shape != proba.shape:
            raise ValueError(f"y_proba has shape {proba.shape}; expected {true.shape}, the shape of y_true")
        if not np.all((true == 0) | (true == 1)):
            raise ValueError("y_true with several columns must hold 0 and 1 only")
        one_label = np.all(true.sum(axis=1) == 1)
        if one_label and np.all(np.abs(proba.sum(axis=1) - 1) <= _ROW_SUM_TOLERANCE):
            own: NDArray[np.float64] = proba[np.arange(len(true)), true.argmax(axis=1)]
            return own
        return np.where(true == 1, proba, 1 - proba)
    if proba.ndim == 1:
        proba = np.stack([1 - proba, proba], axis=1)
    sums = proba.sum(axis=1)
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > _ROW_SUM_TOLERANCE:
        raise ValueError(
            f"y_proba row {worst} sums to {sums[worst]:.6g}; expected probabilities that sum to 1"
        )
    columns = _label_columns(true, proba.shape[1], labels)
    return proba[np.arange(len(true)), columns]


def _label_columns(true: Array, classes: int, labels: ArrayLike | None) -> NDArray[np.intp]:
    """Return the column of `y_proba` that belongs to each label."""
    if labels is None:
        if true.dtype.kind in "iub":
            numbers = true.astype(np.intp)
            if numbers.min() >= 0 and numbers.max() < classes:
                return numbers
        known = np.unique(true)
        if len(known) != classes:
            raise ValueError(
                f"y_proba has {classes} columns and y_true {len(known)} different labels; "
                "expected labels=, the label of each column"
            )
    else:
        known = np.asarray(labels)
        if known.shape != (classes,):
            raise ValueError(
                f"labels has shape {known.shape}; expected ({classes},), one a column of y_proba"
            )
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, true, sorter=order)
    columns = order[np.minimum(place, classes - 1)]
    strange = known[columns] != true
    if np.any(strange):
        raise ValueError(f"y_true has the label {true[strange][0]!r}; expected one of {known.tolist()}")
    return columns


def log_loss(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean negative logarithm of the probability given to the true label.

        −Σ wᵢ ln p(y_trueᵢ) / Σ wᵢ

    Parameters
    ----------
    y_true : (n,) labels, or (n, k) of 0/1
    y_proba : (n, classes) float, or (n,) the probability of the second class, or (n, k) for (n, k) of 0/1
        (k labels apart, or one-hot rows of one label where the rows of `y_proba` sum to 1)
    labels : (classes,), optional
        The label of each column. Without it integer labels below `classes` are column numbers, other labels
        belong to the columns in sorted order.
    sample_weight : (n,) float, optional

    Returns
    -------
    float
        Probabilities of 0 count as the smallest step of `y_proba`'s dtype, so the value stays finite. With
        several outputs of 0/1 it is the mean over them.

    Raises
    ------
    ValueError
        If shapes disagree, entries are no probabilities, a label is unknown, or weights are not usable.

    Notes
    -----
    `sklearn.metrics.log_loss`. The mean of `nn.CrossEntropyLoss` over the same rows.

    Examples
    --------
    >>> from nnrs import metrics
    >>> round(metrics.log_loss([0, 1], [[0.9, 0.1], [0.2, 0.8]]), 4)
    0.1643
    """
    given = _given(y_true, y_proba, labels)
    dtype = np.asarray(y_proba).dtype
    smallest = float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)
    return _mean(-np.log(np.clip(given, smallest, 1 - smallest)), _weights(sample_weight, len(given)))


def likelihood(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Product of the probabilities given to the true labels: how probable the data are under the model.

        Π p(y_trueᵢ)^wᵢ

    Parameters
    ----------
    y_true : (n,) labels, or (n, k) of 0/1
    y_proba : (n, classes) float, or (n,) the probability of the second class, or (n, k) for (n, k) of 0/1
        (k labels apart, or one-hot rows of one label where the rows of `y_proba` sum to 1)
    labels : (classes,), optional
        The label of each column, as in `log_loss`.
    sample_weight : (n,) float, optional
        How often each row counts.

    Returns
    -------
    float
        −ln of it is n times the mean cross-entropy. Beyond some hundred rows it falls below the smallest
        float64 and is 0.0: the reason why one maximises its logarithm.

    Raises
    ------
    ValueError
        As `log_loss`.

    Examples
    --------
    >>> from nnrs import metrics
    >>> round(metrics.likelihood([0, 1], [[0.9, 0.1], [0.2, 0.8]]), 4)
    0.72
    """
    given = _given(y_true, y_proba, labels)
    weights = _weights(sample_weight, len(given))
    if weights is not None:
        given = given ** weights.reshape((-1,) + (1,) * (given.ndim - 1))
    with np.errstate(under="ignore"):
        return float(np.prod(given))


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    normalize: str | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array:
    """Count how often each true label got each predicted one.

        Cᵢⱼ = Σ wₖ over the rows k of true label i predicted as j

    Parameters
    ----------
    y_true, y_pred : (n,) labels
    labels : (classes,), optional
        Order of rows and columns; rows of data with other labels are left out. Without it all labels that
        occur in either, sorted.
    normalize : {"true", "pred", "all"}, optional
        Divide by the sum of each row, of each column, or of everything.
    sample_weight : (n,) float, optional

    Returns
    -------
    (classes, classes) array
        int64 counts; float64 with weights or `normalize`.

    Raises
    ------
    ValueError
        If shapes disagree, there are no rows, `normalize` is another word, or weights are not usable.

    Notes
    -----
    `sklearn.metrics.confusion_matrix`.

    Examples
    --------
    >>> from nnrs import metrics
    >>> metrics.confusion_matrix(["cat", "dog", "dog"], ["cat", "dog", "cat"])
    array([[1, 0],
           [1, 1]])
    """
    if normalize is not None:
        check_choice("normalize", normalize, ("true", "pred", "all"))
    true, pred = _pair(y_true, y_pred)
    if true.ndim != 1:
        raise ValueError(f"y_true has shape {true.shape}; expected (n,) labels")
    weights = _weights(sample_weight, len(true))
    known = np.unique(np.concatenate([true, pred])) if labels is None else np.asarray(labels)
    if known.ndim != 1 or len(np.unique(known)) != len(known) or not len(known):
        raise ValueError(f"labels must be a list of different labels, got {known.tolist()}")
    order = np.argsort(known, kind="stable")

    def place(values: Array) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        found = order[np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)]
        return found, known[found] == values

    row, row_known = place(true)
    column, column_known = place(pred)
    kept = row_known & column_known
    if labels is not None and not np.any(row_known):
        raise ValueError(f"labels {known.tolist()} has none of the labels of y_true")
    size = len(known)
    flat = row[kept] * size + column[kept]
    table: Array
    if weights is None:
        table = np.bincount(flat, minlength=size * size).astype(np.int64).reshape(size, size)
    else:
        table = np.bincount(flat, weights=weights[kept], minlength=size * size).reshape(size, size)
    if normalize is None:
        return table
    total: Array
    if normalize == "all":
        total = np.asarray(table.sum())
    else:
        total = table.sum(axis=1 if normalize == "true" else 0, keepdims=True)
    return np.divide(table, total, out=np.zeros((size, size)), where=total > 0)


def mse(y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Mean squared error.

        Σ wᵢ (y_trueᵢ − y_predᵢ)² / Σ wᵢ, mean over outputs

    Parameters
    ----------
    y_true, y_pred : (n,) or (n, outputs) float
    sample_weight : (n,) float, optional

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If shapes disagree, there are no rows, or weights are negative, NaN or all zero.

    Notes
    -----
    `sklearn.metrics.mean_squared_error`.

    Examples
    --------
    >>> from nnrs import metrics
    >>> metrics.mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    true, pred = _pair(y_true, y_pred)
    return _mean(np.square(true.astype(np.float64) - pred), _weights(sample_weight, len(true)))


def mae(y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Mean absolute error.

        Σ wᵢ |y_trueᵢ − y_predᵢ| / Σ wᵢ, mean over outputs

    Parameters
    ----------
    y_true, y_pred : (n,) or (n, outputs) float
    sample_weight : (n,) float, optional

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If shapes disagree, there are no rows, or weights are negative, NaN or all zero.

    Notes
    -----
    `sklearn.metrics.mean_absolute_error`.

    Examples
    --------
    >>> from nnrs import metrics
    >>> metrics.mae([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    true, pred = _pair(y_true, y_pred)
    return _mean(np.abs(true.astype(np.float64) - pred), _weights(sample_weight, len(true)))


def r2(y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Share of the variance that the prediction explains.

        1 − Σ wᵢ (y_trueᵢ − y_predᵢ)² / Σ wᵢ (y_trueᵢ − ȳ)², mean over outputs

    Parameters
    ----------
    y_true, y_pred : (n,) or (n, outputs) float
    sample_weight : (n,) float, optional

    Returns
    -------
    float
        At most 1; 0 for the constant prediction ȳ; NaN for a single row. An output without variance counts
        1 when it is predicted exactly, else 0.

    Raises
    ------
    ValueError
        If shapes disagree, there are no rows, or weights are negative, NaN or all zero.

    Notes
    -----
    `sklearn.metrics.r2_score`.

    Examples
    --------
    >>> from nnrs import metrics
    >>> metrics.r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    1.0
    """
    true, pred = _pair(y_true, y_pred)
    weights = _weights(sample_weight, len(true))
    if len(true) < 2:
        return float("nan")
    true = true.astype(np.float64).reshape(len(true), -1)
    left = np.average(np.square(true - pred.reshape(true.shape)), axis=0, weights=weights)
    spread = np.average(np.square(true - np.average(true, axis=0, weights=weights)), axis=0, weights=weights)
    flat = spread == 0
    scores = np.where(flat, np.where(left == 0, 1.0, 0.0), 1 - left / np.where(flat, 1.0, spread))
    return float(np.mean(scores))


class Metric(NamedTuple):
    """A measure that has a name in `Trainer`.

    Attributes
    ----------
    function : callable
        `(y_true, y_pred, *, sample_weight=None) -> float`.
    takes : {"labels", "probabilities", "values"}
        What its second argument is.
    higher_is_better : bool

    Examples
    --------
    >>> from nnrs.metrics import NAMED
    >>> NAMED["accuracy"].takes, NAMED["mse"].higher_is_better
    ('labels', False)
    """

    function: Callable[..., float]
    takes: str
    higher_is_better: bool


NAMED = {
    "accuracy": Metric(accuracy, "labels", True),
    "log_loss": Metric(log_loss, "probabilities", False),
    "likelihood": Metric(likelihood, "probabilities", True),
    "mse": Metric(mse, "values", False),
    "mae": Metric(mae, "values", False),
    "r2": Metric(r2, "values", True),
}
