"""Losses of probabilities: cross-entropies and the negative log-likelihood.

Every loss has a value and a gradient. With sample weights wᵢ and class weights cᵢ (1 where the loss takes
none) the mean over rows is Σ wᵢ cᵢ lᵢ / Σ wᵢ cᵢ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import _core
from nnrs.class_weight import ClassWeight, resolve_class_weight

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "nll_loss",
    "nll_loss_backward",
]

Array = NDArray[Any]

_BCE = _core.Loss("bce")
_BCE_WITH_LOGITS = _core.Loss("bce_with_logits")
_NLL = _core.Loss("nll")
_CROSS_ENTROPY = _core.Loss("cross_entropy")


def binary_cross_entropy(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> float | Array:
    """Binary cross-entropy of probabilities.

    −(t · log p + (1 − t) · log(1 − p)), logarithms no less than −100; lᵢ is the mean over outputs.

    Parameters
    ----------
    pred : (batch, outputs) float32 or float64 in 0..1; (batch,) for one output
    target : as pred; (batch,) and (batch, 1) mean the same, in 0..1
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
        If shapes do not fit, a probability is outside 0..1, weights are negative or all zero, or a mean is
        asked of no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    torch's `torch.nn.functional.binary_cross_entropy`. Where you have the scores, take the form with logits:
    it loses no digits.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.binary_cross_entropy([0.5, 0.25], [1.0, 0.0]).__round__(4)
    0.4904
    """
    return _BCE.value(pred, target, sample_weight, reduction)


def binary_cross_entropy_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Array:
    """Gradient of `binary_cross_entropy` with respect to `pred`.

    (p − t) / (p · (1 − p)), over the outputs and the sum of weights.

    Parameters
    ----------
    pred, target, sample_weight, reduction
        As in `binary_cross_entropy`. For "none" it is the gradient of the sum: every row's loss depends on
        that row alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `binary_cross_entropy`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.binary_cross_entropy_backward([0.5, 0.25], [1.0, 0.0]).round(4)
    array([-1.    ,  0.6667])
    """
    return _BCE.gradient(pred, target, sample_weight, reduction)


def binary_cross_entropy_with_logits(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> float | Array:
    """Binary cross-entropy of scores, whose sigmoid is the probability.

    v · t · log(1 + exp(−z)) + (1 − t) · log(1 + exp(z)), v the weight of positives; lᵢ is the mean over
    outputs.

    Parameters
    ----------
    pred : (batch, outputs) float32 or float64; (batch,) for one output
    target : as pred; (batch,) and (batch, 1) mean the same, in 0..1
    sample_weight : (batch,) numbers of at least 0, optional
        How much each row counts.
    pos_weight : (outputs,) array or float, optional
        How much a positive counts.
    reduction : {"mean", "sum", "none"}
        The weighted mean over rows, the weighted sum, or each row's weighted loss.

    Returns
    -------
    float, or (batch,) array for "none"

    Raises
    ------
    ValueError
        If shapes do not fit, a target is outside 0..1, weights are negative or all zero, or a mean is asked
        of no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    torch's `torch.nn.functional.binary_cross_entropy_with_logits`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.binary_cross_entropy_with_logits([0.0, -1e4], [1.0, 0.0]).__round__(4)
    0.3466
    """
    return _with_logits(pos_weight).value(pred, target, sample_weight, reduction)


def binary_cross_entropy_with_logits_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Array:
    """Gradient of `binary_cross_entropy_with_logits` with respect to `pred`.

    (1 − t) · sigmoid(z) − v · t · sigmoid(−z), over the outputs and the sum of weights.

    Parameters
    ----------
    pred, target, sample_weight, pos_weight, reduction
        As in `binary_cross_entropy_with_logits`. For "none" it is the gradient of the sum: every row's loss
        depends on that row alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `binary_cross_entropy_with_logits`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.binary_cross_entropy_with_logits_backward([0.0, 1.0], [1.0, 1.0]).round(4)
    array([-0.25  , -0.1345])
    """
    return _with_logits(pos_weight).gradient(pred, target, sample_weight, reduction)


def nll_loss(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    reduction: str = "mean",
) -> float | Array:
    """Negative log-likelihood of the given classes.

    lᵢ = −predᵢ[targetᵢ]: what `log_softmax` gives goes in.

    Parameters
    ----------
    pred : (batch, classes) float32 or float64, logarithms of probabilities
    target : (batch,) class numbers 0 … classes − 1
    sample_weight : (batch,) numbers of at least 0, optional
        How much each row counts.
    class_weight : (classes,) array, dict or "balanced", optional
        How much each class counts; see `nnrs.class_weight`.
    reduction : {"mean", "sum", "none"}
        The weighted mean over rows, the weighted sum, or each row's weighted loss.

    Returns
    -------
    float, or (batch,) array for "none"

    Raises
    ------
    ValueError
        If shapes do not fit, a target is no class number, weights are negative or all zero, or a mean is
        asked of no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    torch's `torch.nn.functional.nll_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.nll_loss([[-0.5, -1.0]], [1])
    1.0
    """
    return _nll(class_weight, pred, target).value(pred, target, sample_weight, reduction)


def nll_loss_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    reduction: str = "mean",
) -> Array:
    """Gradient of `nll_loss` with respect to `pred`.

    −1 at the class of each row, over the sum of weights.

    Parameters
    ----------
    pred, target, sample_weight, class_weight, reduction
        As in `nll_loss`. For "none" it is the gradient of the sum: every row's loss depends on that row
        alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `nll_loss`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.nll_loss_backward([[-0.5, -1.0]], [1]).min(axis=1)
    array([-1.])
    """
    return _nll(class_weight, pred, target).gradient(pred, target, sample_weight, reduction)


def cross_entropy(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> float | Array:
    """Cross-entropy of scores, whose softmax are the probabilities.

    lᵢ = −Σⱼ qᵢⱼ · log_softmax(predᵢ)ⱼ, q the target's distribution, mixed with label_smoothing / classes.

    Parameters
    ----------
    pred : (batch, classes) float32 or float64 scores (logits)
    target : (batch,) class numbers, or (batch, classes) one-hot rows or probabilities
    sample_weight : (batch,) numbers of at least 0, optional
        How much each row counts.
    class_weight : (classes,) array, dict or "balanced", optional
        How much each class counts; see `nnrs.class_weight`.
    label_smoothing : float in 0..1
        The share of each target that goes to all classes alike.
    reduction : {"mean", "sum", "none"}
        The weighted mean over rows, the weighted sum, or each row's weighted loss.

    Returns
    -------
    float, or (batch,) array for "none"

    Raises
    ------
    ValueError
        If shapes do not fit, a target is no class number or no distribution, weights are negative or all
        zero, or a mean is asked of no rows.
    TypeError
        If an input holds no real numbers.

    Notes
    -----
    torch's `torch.nn.functional.cross_entropy`; −1 times the mean log-likelihood of the targets.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.cross_entropy([[0.0, 0.0], [1e4, 0.0]], [1, 0]).__round__(4)
    0.3466
    """
    return _cross_entropy(class_weight, label_smoothing, pred, target).value(
        pred, target, sample_weight, reduction
    )


def cross_entropy_backward(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Array:
    """Gradient of `cross_entropy` with respect to `pred`.

    softmax(pred) − q, over the sum of weights.

    Parameters
    ----------
    pred, target, sample_weight, class_weight, label_smoothing, reduction
        As in `cross_entropy`. For "none" it is the gradient of the sum: every row's loss depends on that row
        alone.

    Returns
    -------
    array of pred's shape and dtype

    Raises
    ------
    ValueError, TypeError
        As `cross_entropy`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.cross_entropy_backward([[0.0, 0.0]], [1])
    array([[ 0.5, -0.5]])
    """
    return _cross_entropy(class_weight, label_smoothing, pred, target).gradient(
        pred, target, sample_weight, reduction
    )


def _with_logits(pos_weight: ArrayLike | None) -> _core.Loss:
    if pos_weight is None:
        return _BCE_WITH_LOGITS
    return _core.Loss("bce_with_logits", pos_weight=np.atleast_1d(pos_weight))


def _nll(class_weight: ClassWeight, pred: ArrayLike, target: ArrayLike) -> _core.Loss:
    if class_weight is None:
        return _NLL
    return _core.Loss("nll", class_weight=_weights(class_weight, pred, target))


def _cross_entropy(
    class_weight: ClassWeight, label_smoothing: float, pred: ArrayLike, target: ArrayLike
) -> _core.Loss:
    if class_weight is None and label_smoothing == 0.0:
        return _CROSS_ENTROPY
    return _core.Loss("cross_entropy", label_smoothing, _weights(class_weight, pred, target))


def _weights(class_weight: ClassWeight, pred: ArrayLike, target: ArrayLike) -> Array | None:
    shape = np.shape(pred)
    return resolve_class_weight(class_weight, target, shape[-1] if shape else 0)
