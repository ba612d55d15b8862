"""Targets as the loss takes them: labels as class numbers, values in the model's dtype; the task they set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HingeLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    PerceptronLoss,
)

__all__ = ["Target", "find_task", "read_target"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Target:
    """Targets that have been read.

    Attributes
    ----------
    values : (n,) int64 class numbers, or (n, …) floats
        What the loss takes; for one output 0.0 and 1.0.
    numbers : (n,) int64 or None
        The class of each row, where rows belong to classes; of rows of probabilities the most likely.
    classes : (classes,) array or None
        What the classes are called, if not 0, 1, ….

    Examples
    --------
    >>> from nnrs.target import read_target
    >>> read_target([2, 0], "multiclass", 3, "float32", None).numbers
    array([2, 0])
    """

    values: Array
    numbers: NDArray[np.int64] | None
    classes: Array | None


def find_task(loss: object, outputs: int) -> str | None:
    """Return what a model is for, as its loss and number of outputs tell.

    Parameters
    ----------
    loss : object
    outputs : int
        Outputs of the model.

    Returns
    -------
    "multiclass", "binary", "multilabel", "regression", or None for a loss of the user's own

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.target import find_task
    >>> find_task(nn.BCEWithLogitsLoss(), 1), find_task(nn.BCEWithLogitsLoss(), 3)
    ('binary', 'multilabel')
    """
    if isinstance(loss, CrossEntropyLoss | NLLLoss):
        return "multiclass"
    if isinstance(loss, BCEWithLogitsLoss | BCELoss):
        return "binary" if outputs == 1 else "multilabel"
    if isinstance(loss, HingeLoss | PerceptronLoss):
        return "binary" if outputs == 1 else "multiclass"
    return "regression" if isinstance(loss, MSELoss | L1Loss | HuberLoss) else None


def read_target(
    y: Any, task: str | None, outputs: int, dtype: str, classes: Array | None, *, learn: bool = False
) -> Target:
    """Read targets.

    Class numbers are 0 to outputs − 1 ("binary": 0 and 1). Strings, and numbers beyond that range, are
    labels: in sorted order they get the class numbers, and `classes` holds them.

    Parameters
    ----------
    y : (n,), (n, 1) or (n, outputs) array, list or pandas object
    task : str or None
        With None nothing is read into `y`.
    outputs : int
        Outputs of the model.
    dtype : {"float32", "float64"}
        What float targets become.
    classes : (classes,) array or None
        The labels known so far.
    learn : bool
        Whether labels may be learned from `y`, where none are known.

    Returns
    -------
    Target

    Raises
    ------
    TypeError
        If `y` holds what is neither a number nor a string, or strings for a task of numbers.
    ValueError
        If a label is unknown, fractional, or there are more or fewer labels than classes.

    Examples
    --------
    >>> from nnrs.target import read_target
    >>> target = read_target(["no", "yes", "no"], "binary", 1, "float32", None, learn=True)
    >>> target.values, target.classes
    (array([0., 1., 0.], dtype=float32), array(['no', 'yes'], dtype='<U3'))
    """
    array = _array(y)
    if array.ndim == 0:
        raise ValueError("y has shape (); expected (n,) or (n, outputs)")
    if task in ("multiclass", "binary"):
        return _read_classes(array, outputs, task, dtype, classes, learn)
    if array.dtype.kind in "US":
        raise TypeError(
            f"y holds strings; expected numbers for {'the task ' + task if task else 'this loss'}"
        )
    values = array.astype(dtype) if task is not None or array.dtype.kind == "f" else array
    return Target(values, None, None)


def _array(y: Any) -> Array:
    array = np.asarray(y)
    if array.dtype.kind in "OT":
        if not all(isinstance(label, str) for label in array.ravel().tolist()):
            raise TypeError("y holds objects; expected numbers or strings")
        array = array.astype(str)
    if array.dtype.kind not in "fiubUS":
        raise TypeError(f"y has dtype {array.dtype}; expected numbers or strings")
    return array


def _read_classes(
    array: Array, outputs: int, task: str, dtype: str, classes: Array | None, learn: bool
) -> Target:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.shape[1] == outputs and array.dtype.kind in "fiub":
        rows = array.astype(dtype)
        return Target(rows, rows.argmax(axis=1).astype(np.int64), classes)
    if array.ndim != 1:
        rows_too = f" or (n, {outputs}) rows, one column a class" if outputs > 1 else ""
        raise ValueError(f"y has shape {array.shape}; expected (n,) labels{rows_too}")
    count = 2 if task == "binary" else outputs

    def known(numbers: NDArray[np.int64], labels: Array | None) -> Target:
        return Target(numbers.astype(dtype) if outputs == 1 else numbers, numbers, labels)

    if classes is not None:
        return known(_look_up(array, classes), classes)
    if array.dtype.kind in "fiub":
        numbers = _whole(array, task)
        if numbers is None:
            return Target(array.astype(dtype), (array >= 0.5).astype(np.int64), None)
        if not len(numbers) or (numbers.min() >= 0 and numbers.max() < count):
            return known(numbers, None)
        array = numbers
    found = np.unique(array)
    if not learn:
        raise ValueError(
            f"y has the label {_strangest(found, count)!r}; expected class numbers 0 to {count - 1}, "
            "or labels that Trainer.fit has learned from arrays"
        )
    if len(found) != count:
        shown = ", ".join(map(repr, found[:10].tolist())) + (", …" if len(found) > 10 else "")
        what = "a binary task has 2 classes" if task == "binary" else f"the model has {count} outputs"
        raise ValueError(f"y has {len(found)} different labels ({shown}); {what}")
    return known(_look_up(array, found), found)


def _whole(array: Array, task: str) -> NDArray[np.int64] | None:
    """Return labels as integers; None for probabilities of the second class."""
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    bad = array != np.floor(array)  # NaN too; infinities are caught below.
    if not bad.any() and np.isfinite(array).all():
        return array.astype(np.int64)
    if task == "binary" and np.all((array >= 0) & (array <= 1)):
        return None
    row = int(np.argmax(bad | ~np.isfinite(array)))
    raise ValueError(f"y has {array[row]} in row {row}; expected class numbers, whole and finite")


def _look_up(array: Array, classes: Array) -> NDArray[np.int64]:
    """Return the place of each label among `classes`."""
    if (array.dtype.kind in "US") != (classes.dtype.kind in "US"):
        kinds = ["strings" if labels.dtype.kind in "US" else "numbers" for labels in (array, classes)]
        raise ValueError(f"y holds {kinds[0]}; expected {kinds[1]}, as the labels {classes.tolist()[:10]}")
    order = np.argsort(classes, kind="stable")
    places = np.searchsorted(classes, array, sorter=order)
    numbers = order[np.minimum(places, len(classes) - 1)]
    strange = classes[numbers] != array
    if strange.any():
        row = int(np.argmax(strange))
        shown = ", ".join(map(repr, classes[:10].tolist())) + (", …" if len(classes) > 10 else "")
        raise ValueError(
            f"y has the unknown label {array[row].item()!r} in row {row}; expected one of {shown}"
        )
    return numbers.astype(np.int64)


def _strangest(labels: Array, count: int) -> Any:
    if labels.dtype.kind in "US":
        return labels[0].item()
    return labels[(labels < 0) | (labels >= count)][0].item()
