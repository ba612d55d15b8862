"""Losses of regression: squared, absolute and Huber error.

Every loss has a value and a gradient. A row's loss lᵢ is the mean over its outputs, the mean over rows with
sample weights wᵢ is Σ wᵢ lᵢ / Σ wᵢ.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numpy.typing import ArrayLike, NDArray

from nnrs import _core

__all__ = [
    "huber_loss",
    "huber_loss_backward",
    "l1_loss",
    "l1_loss_backward",
    "mse_loss",
    "mse_loss_backward",
]

Array = NDArray[Any]

_MSE = _core.Loss("mse")
_L1 = _core.Loss("l1")


def mse_loss(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> float | Array:
    """Squared error.

    lᵢ = mean over outputs of (pred − target)².

    Parameters
    ----------
    pred : (batch, outputs) float32 or float64; (batch,) for one output
    target : as pred; (batch,) and (batch, 1) mean the same
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
        If shapes do not fit, weights are negative or all zero, or a mean is asked of no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    torch's `torch.nn.functional.mse_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.mse_loss([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    return _MSE.value(pred, target, sample_weight, reduction)


def mse_loss_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Array:
    """Gradient of `mse_loss` with respect to `pred`.

    2 · (pred − target), over the outputs and the sum of weights.

    Parameters
    ----------
    pred, target, sample_weight, reduction
        As in `mse_loss`. For "none" it is the gradient of the sum: every row's loss depends on that row
        alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `mse_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.mse_loss_backward([1.0, 2.0], [1.0, 4.0])
    array([ 0., -2.])
    """
    return _MSE.gradient(pred, target, sample_weight, reduction)


def l1_loss(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> float | Array:
    """Absolute error.

    lᵢ = mean over outputs of |pred − target|.

    Parameters
    ----------
    pred : (batch, outputs) float32 or float64; (batch,) for one output
    target : as pred; (batch,) and (batch, 1) mean the same
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
        If shapes do not fit, weights are negative or all zero, or a mean is asked of no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    torch's `torch.nn.functional.l1_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.l1_loss([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    return _L1.value(pred, target, sample_weight, reduction)


def l1_loss_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Array:
    """Gradient of `l1_loss` with respect to `pred`.

    sign(pred − target), 0 where they agree, over the outputs and the sum of weights.

    Parameters
    ----------
    pred, target, sample_weight, reduction
        As in `l1_loss`. For "none" it is the gradient of the sum: every row's loss depends on that row alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `l1_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.l1_loss_backward([1.0, 2.0], [1.0, 4.0])
    array([ 0. , -0.5])
    """
    return _L1.gradient(pred, target, sample_weight, reduction)


def huber_loss(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    delta: float = 1.0,
    reduction: str = "mean",
) -> float | Array:
    """Squared error near the target, absolute error far from it.

    e = pred − target: e²/2 where |e| ≤ delta, else delta · (|e| − delta/2); lᵢ is the mean over outputs.

    Parameters
    ----------
    pred : (batch, outputs) float32 or float64; (batch,) for one output
    target : as pred; (batch,) and (batch, 1) mean the same
    sample_weight : (batch,) numbers of at least 0, optional
        How much each row counts.
    delta : float
        More than 0: where the square ends.
    reduction : {"mean", "sum", "none"}
        The weighted mean over rows, the weighted sum, or each row's weighted loss.

    Returns
    -------
    float, or (batch,) array for "none"

    Raises
    ------
    ValueError
        If shapes do not fit, `delta` is not positive, weights are negative or all zero, or a mean is asked of
        no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    Huber 1964, "Robust estimation of a location parameter".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.huber_loss([1.0, 2.0], [1.5, 5.0])
    1.3125
    """
    return _huber(delta).value(pred, target, sample_weight, reduction)


def huber_loss_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    delta: float = 1.0,
    reduction: str = "mean",
) -> Array:
    """Gradient of `huber_loss` with respect to `pred`.

    e limited to ±delta, over the outputs and the sum of weights.

    Parameters
    ----------
    pred, target, sample_weight, delta, reduction
        As in `huber_loss`. For "none" it is the gradient of the sum: every row's loss depends on that row
        alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `huber_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.huber_loss_backward([1.0, 2.0], [1.5, 5.0])
    array([-0.25, -0.5 ])
    """
    return _huber(delta).gradient(pred, target, sample_weight, reduction)


@lru_cache(maxsize=16)
def _huber(delta: float) -> _core.Loss:
    return _core.Loss("huber", delta)
