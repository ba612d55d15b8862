"""What a model's outputs mean: scores of classes, of one class, of labels, or values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import _core
from nnrs.arguments import check_int

__all__ = [
    "TASKS",
    "check_classes",
    "check_names",
    "check_task",
    "decide",
    "probabilities",
    "read",
    "take_columns",
]

Array = NDArray[Any]

TASKS = ("multiclass", "binary", "multilabel", "regression")


def check_task(task: str | None) -> str | None:
    """Return `task`, or raise ValueError if it is none of `TASKS` and not None."""
    if task is not None and task not in TASKS:
        raise ValueError(f"task is {task!r}; expected {', '.join(map(repr, TASKS))} or None")
    return task


def check_classes(classes: ArrayLike | None) -> Array | None:
    """Return labels as an array of one axis; ValueError where two are the same, or they are not labels."""
    if classes is None:
        return None
    labels = np.asarray(classes)
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.ravel()):
        labels = labels.astype(str)
    if labels.ndim != 1 or labels.dtype.kind not in "biufUS":
        raise ValueError(
            f"classes_ has shape {labels.shape} and dtype {labels.dtype}; "
            "expected one axis of numbers or strings"
        )
    if len(np.unique(labels)) != len(labels):
        raise ValueError("classes_ names a label twice; expected distinct labels")
    return labels


def check_names(names: Sequence[str] | None) -> list[str] | None:
    """Return names of features as a list; TypeError where one is no string."""
    if names is None:
        return None
    found = list(names)
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"feature_names_ holds a {type(name).__name__}; expected strings")
    return found


def take_columns(x: Any, names: list[str] | None) -> Array:
    """Return features as an array; of a table with named columns, those in `names`, in that order."""
    columns = getattr(x, "columns", None)
    if names is not None and columns is not None:
        missing = [name for name in names if name not in columns]
        if missing:
            known = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
            raise ValueError(f"x lacks column {missing[0]!r} ({len(missing)} missing); expected {known}")
        x = x[names]
    return np.asarray(x)


def read(
    call: Callable[[Array], Array],
    x: Any,
    names: list[str] | None,
    batch_size: int | None,
    meaning: Callable[[Array], Any],
) -> Any:
    """Return what the outputs for `x` mean.

    Parameters
    ----------
    call : function
        From features to outputs.
    x : (batch, features) or (features,) real numbers, or a data frame
    names : list of str or None
        Which columns of a data frame are the features.
    batch_size : int or None
        Rows at a time.
    meaning : function
        From (batch, outputs) to one entry a row.

    Returns
    -------
    What `meaning` returns; its first entry if `x` is one row.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.task import read
    >>> read(lambda x: 2 * x, np.array([[1.0], [3.0]]), None, 1, lambda out: out[:, 0])
    array([2., 6.])
    """
    features = take_columns(x, names)
    if batch_size is not None:
        batch_size = check_int("batch_size", batch_size, 1)
    if features.ndim == 1:
        return meaning(call(features).reshape(1, -1))[0]
    count = len(features) if features.ndim else 0
    if batch_size is None or count <= batch_size:
        outputs = call(features)
    else:
        outputs = np.concatenate([call(features[at : at + batch_size]) for at in range(0, count, batch_size)])
    return meaning(outputs.reshape(-1, 1) if outputs.ndim == 1 else outputs)


def probabilities(outputs: Array, task: str | None, ending: str | None) -> Array:
    """Return the probabilities that outputs stand for.

    Parameters
    ----------
    outputs : (batch, outputs) float32 or float64
    task : str or None
        One of `TASKS`.
    ending : {"softmax", "log_softmax", "sigmoid", "step"} or None
        What the model applied last; softmax and sigmoid are not applied twice.

    Returns
    -------
    (batch, classes) array; (batch, 2) for "binary", (batch, outputs) for "multilabel"

    Raises
    ------
    ValueError
        If `task` is "regression" or None, or does not fit the number of outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.task import probabilities
    >>> probabilities(np.array([[0.0]]), "binary", None)
    array([[0.5, 0.5]])
    """
    if task == "multiclass":
        return outputs if ending == "softmax" else _core.softmax(outputs)
    if task == "multilabel":
        return _on(outputs, ending)
    if task == "binary":
        if outputs.shape[1] == 2:
            return probabilities(outputs, "multiclass", ending)
        _check_one(outputs)
        on = _on(outputs, ending)
        return np.concatenate([1 - on, on], axis=1)
    if task == "regression":
        raise ValueError("a model of task 'regression' has no probabilities; call predict")
    raise _no_task()


def decide(
    outputs: Array, task: str | None, ending: str | None, threshold: float, classes: Array | None
) -> Array:
    """Return the labels, or the values, that outputs stand for.

    Parameters
    ----------
    outputs : (batch, outputs) float32 or float64
    task : str or None
        One of `TASKS`.
    ending : {"softmax", "log_softmax", "sigmoid", "step"} or None
        What the model applied last.
    threshold : float in 0..1
        The probability from which on "binary" and "multilabel" say 1.
    classes : (classes,) array or None
        What the labels are called; None calls them 0, 1, ….

    Returns
    -------
    (batch,) labels; (batch, outputs) of 0 and 1 for "multilabel"; (batch,) values for one output of
    "regression", else (batch, outputs)

    Raises
    ------
    ValueError
        If `task` is None, or does not fit the number of outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.task import decide
    >>> decide(np.array([[0.5, 2.0, 1.0]]), "multiclass", None, 0.5, np.array(["a", "b", "c"]))
    array(['b'], dtype='<U1')
    """
    if task == "regression":
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
    if task is None:
        raise _no_task()
    threshold = _check_threshold(threshold)
    if task == "multilabel":
        return (_on(outputs, ending) >= threshold).astype(np.int64)
    if task == "multiclass":
        count = outputs.shape[1]
        numbers = outputs.argmax(axis=1) if count else np.zeros(len(outputs), np.int64)
    else:
        count = 2
        numbers = (probabilities(outputs, task, ending)[:, 1] >= threshold).astype(np.int64)
    if classes is None:
        return np.asarray(numbers)
    if len(classes) != count:
        raise ValueError(f"classes_ has {len(classes)} labels; expected {count}, one for each output")
    labels: Array = classes[numbers]
    return labels


def _on(outputs: Array, ending: str | None) -> Array:
    return outputs if ending in ("sigmoid", "step") else _core.activation("sigmoid", outputs)


def _check_one(outputs: Array) -> None:
    if outputs.shape[1] != 1:
        raise ValueError(f"a model of task 'binary' has 1 output (or 2), this one has {outputs.shape[1]}")


def _check_threshold(threshold: float) -> float:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; expected a probability, 0 to 1")
    return threshold


def _no_task() -> ValueError:
    return ValueError(
        "the model has no task, so its outputs cannot be read as labels or probabilities: set model.task to "
        + ", ".join(map(repr, TASKS))
        + ", or train it with Trainer.fit; model(x) gives the outputs themselves"
    )
