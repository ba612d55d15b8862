"""Losses of margins: hinge and perceptron error.

Every loss has a value and a gradient. A row's loss lᵢ is the mean over its outputs, the mean over rows with
sample weights wᵢ is Σ wᵢ lᵢ / Σ wᵢ.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from nnrs import _core

__all__ = [
    "hinge_loss",
    "hinge_loss_backward",
    "perceptron_loss",
    "perceptron_loss_backward",
]

Array = NDArray[Any]

_HINGE = _core.Loss("hinge")
_PERCEPTRON = _core.Loss("perceptron")


def hinge_loss(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> float | Array:
    """Hinge loss of a maximum-margin classifier.

    One output: max(0, 1 − t · s), t = ±1. Many: max(0, 1 + maxⱼ≠t sⱼ − sₜ).

    Parameters
    ----------
    pred : (batch,), (batch, 1) or (batch, classes) float32 or float64 scores
    target : one output: −1 and 1, or 0 and 1; many: class numbers
    sample_weight : (batch,) numbers of at least 0, optional
        How much each row counts.
    reduction : {"mean", "sum", "none"}
        The weighted mean over rows, the weighted sum, or each row's weighted loss.

    Returns
    -------
    float, or (batch,) array for "none"

    Raises
    ------
    ValueError
        If shapes do not fit, a target is none of these, weights are negative or all zero, or a mean is asked
        of no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    Crammer and Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.hinge_loss([0.5, -2.0], [1, -1])
    0.25
    """
    return _HINGE.value(pred, target, sample_weight, reduction)


def hinge_loss_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Array:
    """Gradient of `hinge_loss` with respect to `pred`.

    One output: −t where the margin is not kept; many: +1 at the best other class, −1 at the target's.

    Parameters
    ----------
    pred, target, sample_weight, reduction
        As in `hinge_loss`. For "none" it is the gradient of the sum: every row's loss depends on that row
        alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `hinge_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.hinge_loss_backward([0.5, 0.5], [1, -1])
    array([-0.5,  0.5])
    """
    return _HINGE.gradient(pred, target, sample_weight, reduction)


def perceptron_loss(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> float | Array:
    """Perceptron error: only what is misclassified counts, by how far.

    One output: max(0, −t · s), t = ±1. Many: max(0, maxⱼ≠t sⱼ − sₜ).

    Parameters
    ----------
    pred : (batch,), (batch, 1) or (batch, classes) float32 or float64 scores
    target : one output: −1 and 1, or 0 and 1; many: class numbers
    sample_weight : (batch,) numbers of at least 0, optional
        How much each row counts.
    reduction : {"mean", "sum", "none"}
        The weighted mean over rows, the weighted sum, or each row's weighted loss.

    Returns
    -------
    float, or (batch,) array for "none"

    Raises
    ------
    ValueError
        If shapes do not fit, a target is none of these, weights are negative or all zero, or a mean is asked
        of no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    Rosenblatt 1958, "The perceptron: a probabilistic model for information storage and organization in the
    brain".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.perceptron_loss([0.5, 2.0], [1, -1])
    1.0
    """
    return _PERCEPTRON.value(pred, target, sample_weight, reduction)


def perceptron_loss_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Array:
    """Gradient of `perceptron_loss` with respect to `pred`.

    One output: −t where misclassified (or on the line); many: +1 at the best other class, −1 at the target's.

    Parameters
    ----------
    pred, target, sample_weight, reduction
        As in `perceptron_loss`. For "none" it is the gradient of the sum: every row's loss depends on that
        row alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `perceptron_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.perceptron_loss_backward([-0.5, 2.0], [1, -1])
    array([-0.5,  0.5])
    """
    return _PERCEPTRON.gradient(pred, target, sample_weight, reduction)
