"""The loss of a run: as the core knows it where it can, with its classes' weights settled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core
from nnrs.class_weight import resolve_class_weight
from nnrs.nn.loss import Loss

__all__ = ["Criterion"]

Array = NDArray[Any]


class Criterion:
    """A loss and the weights of its classes.

    Weights given as a dict or "balanced" are settled here once, over the targets of the whole training set,
    so that every batch and the validation weigh alike.

    Parameters
    ----------
    loss : nnrs's own loss, or any object with `value_and_grad(pred, target)`
    target : array, optional
        Targets of the training set, as the loss takes them.
    num_classes : int, optional
    classes : array, optional
        What the classes are called, for a dict.

    Attributes
    ----------
    core : nnrs._core.Loss or None
        None for a loss of the user's own.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> from nnrs.criterion import Criterion
    >>> criterion = Criterion(nn.CrossEntropyLoss("balanced"), np.array([0, 0, 0, 1]), 2)
    >>> round(criterion.weigh(np.array([0, 1]), None), 4)
    2.6667
    """

    def __init__(
        self, loss: Any, target: Array | None = None, num_classes: int = 0, classes: Array | None = None
    ) -> None:
        own = getattr(loss, "class_weight", None) if isinstance(loss, Loss) else None
        settled = None
        if isinstance(own, str | dict) and not (target is None and isinstance(own, str)):
            labels = None if classes is None else classes.tolist()
            settled = resolve_class_weight(own, target, num_classes, labels)
        self._loss = loss
        self._class_weight = own if settled is None else settled
        self.core: _core.Loss | None = loss.native(settled) if isinstance(loss, Loss) else None

    def value(self, pred: Array, target: Array, sample_weight: Array | None) -> float:
        """Return the mean loss.

        Parameters
        ----------
        pred : (batch, outputs) array
        target : array
        sample_weight : (batch,) float64 or None

        Returns
        -------
        float
        """
        if self.core is not None:
            return float(self.core.value(pred, target, sample_weight))
        return self.value_and_grad(pred, target, sample_weight)[0]

    def value_and_grad(self, pred: Array, target: Array, sample_weight: Array | None) -> tuple[float, Array]:
        """Return the mean loss and its gradient with respect to `pred`.

        Parameters
        ----------
        pred : (batch, outputs) array
        target : array
        sample_weight : (batch,) float64 or None

        Returns
        -------
        loss : float
        dpred : array of pred's shape
        """
        if self.core is not None:
            return self.core.value_and_grad(pred, target, sample_weight)
        weights = () if sample_weight is None else (sample_weight,)
        loss, gradient = self._loss.value_and_grad(pred, target, *weights)
        return float(loss), gradient

    def weigh(self, target: Array, sample_weight: Array | None) -> float:
        """Return what a batch counts in a mean over batches: Σ wᵢ cᵢ.

        Parameters
        ----------
        target : array
        sample_weight : (batch,) float64 or None

        Returns
        -------
        float
        """
        if isinstance(self._class_weight, np.ndarray):
            counts = class_factors(self._class_weight, target)
            return float(counts.sum() if sample_weight is None else (counts * sample_weight).sum())
        return float(len(target) if sample_weight is None else np.sum(sample_weight))


def class_factors(class_weight: Array, target: Array) -> NDArray[np.float64]:
    """Return the weight of each row's class; of the mix of classes where rows are probabilities.

    Parameters
    ----------
    class_weight : (classes,) float64
    target : (n,) or (n, 1) class numbers, or (n, classes) probabilities or one-hot rows

    Returns
    -------
    (n,) float64

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.criterion import class_factors
    >>> class_factors(np.array([1.0, 3.0]), np.array([[0.5, 0.5], [1.0, 0.0]]))
    array([2., 1.])
    """
    if target.ndim == 2 and target.shape[1] == len(class_weight):
        mixed: NDArray[np.float64] = target.astype(np.float64) @ class_weight
        return mixed
    weights: NDArray[np.float64] = class_weight[target.reshape(len(target)).astype(np.int64)]
    return weights
