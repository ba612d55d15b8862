"""Targets as the loss takes them: labels as class numbers, values in the model's dtype; the task they set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

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

# Labels looked at together.
_PIECE = 1 << 20


@dataclass(frozen=True)
class Target:
    """Targets that have been read.

    Attributes
    ----------
    values : (n,) int64 class numbers, or (n, …) floats
        What the loss takes; for one output 0.0 and 1.0. It may be what was read itself.
    of_classes : bool
        Whether rows belong to classes.
    classes : (classes,) array or None
        What the classes are called, if not 0, 1, ….

    Examples
    --------
    >>> from nnrs.target import read_target
    >>> read_target([2, 0], "multiclass", 3, "float32", None).numbers
    array([2, 0])
    """

    values: Array
    of_classes: bool
    classes: Array | None

    @property
    def numbers(self) -> NDArray[np.int64] | None:
        """The class of each row, of probabilities the most likely one; None where rows have no class."""
        if not self.of_classes:
            return None
        numbers: Array = self.values
        if numbers.ndim == 2:
            numbers = numbers.argmax(axis=1)
        elif numbers.dtype.kind == "f":
            numbers = numbers >= 0.5
        return numbers.astype(np.int64, copy=False)


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
    return Target(_as(dtype, array) if task is not None or array.dtype.kind == "f" else array, False, None)


def _as(dtype: DTypeLike, array: Array) -> Array:
    """Convert what is not of this type already: large targets are not held twice, and not written."""
    found = array.astype(dtype, order="C", copy=False)
    if found is array:
        found = found.view()
        found.flags.writeable = False
    return found


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
        return Target(_as(dtype, array), True, classes)
    if array.ndim != 1:
        rows_too = f" or (n, {outputs}) rows, one column a class" if outputs > 1 else ""
        raise ValueError(f"y has shape {array.shape}; expected (n,) labels{rows_too}")
    count = 2 if task == "binary" else outputs

    def known(numbers: Array, labels: Array | None) -> Target:
        return Target(_as(dtype if outputs == 1 else np.int64, numbers), True, labels)

    if classes is not None:
        return known(_look_up(array, classes), classes)
    if array.dtype.kind in "fiub":
        if not _are_whole(array, task):
            return Target(_as(dtype, array), True, None)
        if not len(array) or (array.min() >= 0 and array.max() < count):
            return known(array, None)
        array = array.astype(np.int64)
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


def _are_whole(array: Array, task: str) -> bool:
    """Whether labels are whole numbers; they may be probabilities of the second class instead."""
    if array.dtype.kind != "f":
        return True
    for start in range(0, len(array), _PIECE):
        part = array[start : start + _PIECE]
        bad = (part != np.floor(part)) | ~np.isfinite(part)
        if not bad.any():
            continue
        if task == "binary" and array.min() >= 0 and array.max() <= 1:
            return False
        row = int(np.argmax(bad))
        raise ValueError(f"y has {part[row]} in row {start + row}; expected class numbers, whole and finite")
    return True


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
