"""Weights of classes: an array, a dict or "balanced", made into one number for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ClassWeight", "resolve_class_weight"]

ClassWeight = ArrayLike | Mapping[Any, float] | str | None


def resolve_class_weight(
    class_weight: ClassWeight,
    target: ArrayLike | None,
    num_classes: int,
    classes: Sequence[Any] | NDArray[Any] | None = None,
) -> NDArray[np.float64] | None:
    """Return the weight of each class.

    "balanced" gives class c the weight n / (k · nᶜ): n targets, k classes among them, nᶜ of class c. All
    classes then weigh the same together.

    Parameters
    ----------
    class_weight : (num_classes,) array, dict, "balanced" or None
        A dict maps classes to weights; what it leaves out weighs 1.
    target : (n,) class numbers, or (n, num_classes) probabilities or one-hot rows
        Only "balanced" looks at them.
    num_classes : int
    classes : sequence of num_classes labels, optional
        What a dict's keys are, if not 0 … num_classes − 1.

    Returns
    -------
    (num_classes,) float64 array, or None if all classes weigh the same

    Raises
    ------
    ValueError
        If there are more or fewer weights than classes, a weight is negative or not finite, all are zero, or
        a dict names a class that does not exist.
    TypeError
        If `class_weight` is nothing of these.

    Notes
    -----
    scikit-learn's `compute_class_weight`.

    Examples
    --------
    >>> from nnrs.class_weight import resolve_class_weight
    >>> resolve_class_weight("balanced", [0, 0, 0, 1], 2)
    array([0.66666667, 2.        ])
    >>> resolve_class_weight({1: 5.0}, None, 3)
    array([1., 5., 1.])
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight is {class_weight!r}; expected an array, a dict or 'balanced'")
        return _balanced(target, num_classes)
    if isinstance(class_weight, Mapping):
        weights = _from_dict(class_weight, num_classes, classes)
    else:
        given = np.asarray(class_weight)
        if given.dtype.kind not in "fiu":
            raise TypeError(f"class_weight has dtype {given.dtype}; expected numbers, a dict or 'balanced'")
        weights = given.astype(np.float64)
    if weights.shape != (num_classes,):
        raise ValueError(f"class_weight has shape {weights.shape}; expected ({num_classes},), one a class")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(
            f"class_weight is {weights.tolist()}; expected finite weights of at least 0, not all of them 0"
        )
    return weights


def _from_dict(
    class_weight: Mapping[Any, float], num_classes: int, classes: Sequence[Any] | NDArray[Any] | None
) -> NDArray[np.float64]:
    labels = range(num_classes) if classes is None else classes
    numbers = {label: number for number, label in enumerate(labels)}
    weights = np.ones(num_classes)
    for label, weight in class_weight.items():
        if label not in numbers:
            known = ", ".join(map(repr, list(numbers)[:20]))
            raise ValueError(f"class_weight names class {label!r}; expected one of {known}")
        weights[numbers[label]] = weight
    return weights


def _balanced(target: ArrayLike | None, num_classes: int) -> NDArray[np.float64]:
    labels = np.asarray(target)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        counts = labels.sum(axis=0, dtype=np.float64)
    else:
        numbers = labels.astype(np.int64)
        known = (numbers == labels) & (numbers >= 0) & (numbers < num_classes)
        if labels.ndim != 1 or not known.all():
            raise ValueError(
                f"target of shape {labels.shape} does not hold class numbers 0 to {num_classes - 1}, "
                "which class_weight='balanced' counts"
            )
        counts = np.bincount(numbers, minlength=num_classes).astype(np.float64)
    if counts.shape != (num_classes,):
        raise ValueError(f"target has shape {labels.shape}; expected (n,) or (n, {num_classes})")
    present = counts > 0
    weights = np.ones(num_classes)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
