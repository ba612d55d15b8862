"""Losses as objects: what training makes small.

`loss(pred, target)` is the mean over the rows, `loss.value_and_grad(pred, target)` also its gradient with
respect to pred. The formulas are those of `nnrs.functional`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import _core
from nnrs.class_weight import ClassWeight, resolve_class_weight
from nnrs.nn.module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HingeLoss",
    "HuberLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "NLLLoss",
    "PerceptronLoss",
]

Array = NDArray[Any]


class Loss:
    """Base of the losses; subclass it to write your own.

    A loss of your own writes `value_and_grad`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> class CubedError(nn.Loss):
    ...     def value_and_grad(self, pred, target, sample_weight=None):
    ...         error = pred - target
    ...         return float(np.mean(np.abs(error) ** 3)), 3 * error * np.abs(error) / error.size
    >>> CubedError()(np.array([[3.0]]), np.array([[1.0]]))
    8.0
    """

    def __call__(self, pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean loss.

        Parameters
        ----------
        pred : (batch, outputs) float32 or float64
            What the model gives.
        target : array
            What it should have given.
        sample_weight : (batch,) numbers of at least 0, optional
            How much each row counts.

        Returns
        -------
        float
        """
        return self.value_and_grad(pred, target, sample_weight)[0]

    def value_and_grad(
        self, pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient with respect to `pred`.

        Raises
        ------
        NotImplementedError
            If the class does not write it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no value_and_grad; write one")

    def check_model(self, model: Module) -> None:
        """Raise ValueError if the model ends in what this loss applies itself."""

    def native(self, class_weight: ArrayLike | None = None) -> _core.Loss | None:  # noqa: ARG002
        """Return the loss as the core knows it, or None if it is the user's.

        Parameters
        ----------
        class_weight : (classes,) array, optional
            Instead of the loss's own; for losses that weigh classes.
        """
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _CoreLoss(Loss):
    """A loss of the core."""

    def __init__(self, core: _core.Loss) -> None:
        self._core = core

    def __call__(self, pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        return self._core.value(pred, target, sample_weight)  # type: ignore[return-value]

    def value_and_grad(
        self, pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient with respect to `pred`.

        Parameters
        ----------
        pred : (batch, outputs) float32 or float64
            What the model gives.
        target : array
            What it should have given.
        sample_weight : (batch,) numbers of at least 0, optional
            How much each row counts.

        Returns
        -------
        loss : float
        dpred : array of pred's shape and dtype

        Raises
        ------
        ValueError
            If shapes do not fit, a target is none for this loss, weights are negative or all zero, or there
            are no rows.
        TypeError
            If an input holds no real numbers.
        """
        return self._core.value_and_grad(pred, target, sample_weight)

    def native(self, class_weight: ArrayLike | None = None) -> _core.Loss:
        """Return the loss as the core knows it."""
        if class_weight is not None:
            raise ValueError(
                f"{type(self).__name__} does not weigh classes; CrossEntropyLoss and NLLLoss do, and "
                "sample_weight weighs rows"
            )
        return self._core

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_core"}


class _ClassLoss(_CoreLoss):
    """A loss of class numbers, with weights of classes."""

    def __init__(self, class_weight: ClassWeight) -> None:
        if isinstance(class_weight, str | Mapping):
            # How many classes there are is known only when scores come.
            if class_weight != "balanced" and isinstance(class_weight, str):
                resolve_class_weight(class_weight, None, 0)
            self.class_weight: Any = class_weight if isinstance(class_weight, str) else dict(class_weight)
            super().__init__(self._make(None))
        else:
            given = None if class_weight is None else np.array(class_weight)
            self.class_weight = given if given is None else resolve_class_weight(given, None, given.size)
            super().__init__(self._make(self.class_weight))

    def __call__(self, pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        return self._for(pred, target).value(pred, target, sample_weight)  # type: ignore[return-value]

    def value_and_grad(
        self, pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient with respect to `pred`.

        Parameters
        ----------
        pred : (batch, classes) float32 or float64
            What the model gives.
        target : (batch,) class numbers
            With `CrossEntropyLoss` also (batch, classes) one-hot rows or probabilities.
        sample_weight : (batch,) numbers of at least 0, optional
            How much each row counts.

        Returns
        -------
        loss : float
        dpred : array of pred's shape and dtype

        Raises
        ------
        ValueError
            If shapes do not fit, a target is no class number, weights are negative or all zero, or there are
            no rows.
        TypeError
            If an input holds no real numbers.
        """
        return self._for(pred, target).value_and_grad(pred, target, sample_weight)

    def native(self, class_weight: ArrayLike | None = None) -> _core.Loss:
        """Return the loss as the core knows it.

        Parameters
        ----------
        class_weight : (classes,) array, optional
            Instead of the loss's own. Needed where that is a dict or "balanced".

        Raises
        ------
        ValueError
            If the own weights are a dict or "balanced", and none are given.
        """
        if class_weight is not None:
            return self._make(class_weight)
        if isinstance(self.class_weight, str | dict):
            raise ValueError(
                f"class_weight is {self.class_weight!r}; expected an array, one weight for each class"
            )
        return self._core

    def _for(self, pred: ArrayLike, target: ArrayLike) -> _core.Loss:
        if not isinstance(self.class_weight, str | dict):
            return self._core
        shape = np.shape(pred)
        return self._make(resolve_class_weight(self.class_weight, target, shape[-1] if shape else 0))

    def _make(self, class_weight: ArrayLike | None) -> _core.Loss:
        raise NotImplementedError

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        own = None if isinstance(self.class_weight, str | dict) else self.class_weight
        self._core = self._make(own)


class CrossEntropyLoss(_ClassLoss):
    """Cross-entropy of scores; the softmax is inside.

    Parameters
    ----------
    class_weight : (classes,) array, dict or "balanced", optional
        "balanced" counts the targets of each call; under `Trainer.fit` those of the whole training set.
    label_smoothing : float in 0..1
        The share of each target that goes to all classes alike.

    Notes
    -----
    `nnrs.functional.cross_entropy`; torch's `torch.nn.CrossEntropyLoss`.

    Examples
    --------
    >>> from nnrs import nn
    >>> loss, dpred = nn.CrossEntropyLoss().value_and_grad([[0.0, 0.0]], [1])
    >>> round(loss, 4), dpred
    (0.6931, array([[ 0.5, -0.5]]))
    """

    def __init__(self, class_weight: ClassWeight = None, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing
        super().__init__(class_weight)

    def check_model(self, model: Module) -> None:
        """Raise ValueError if the model ends in Softmax."""
        if model._ending() == "softmax":
            raise ValueError(
                "the model ends in Softmax, and CrossEntropyLoss applies it once more: leave the Softmax "
                "layer out (predict_proba gives probabilities all the same), or end in LogSoftmax and take "
                "NLLLoss"
            )

    def _make(self, class_weight: ArrayLike | None) -> _core.Loss:
        return _core.Loss("cross_entropy", self.label_smoothing, class_weight)


class NLLLoss(_ClassLoss):
    """Negative log-likelihood of the given classes; after `LogSoftmax`.

    Parameters
    ----------
    class_weight : (classes,) array, dict or "balanced", optional
        As in `CrossEntropyLoss`.

    Notes
    -----
    `nnrs.functional.nll_loss`; torch's `torch.nn.NLLLoss`.

    Examples
    --------
    >>> from nnrs import nn
    >>> nn.NLLLoss()([[-0.5, -1.0]], [1])
    1.0
    """

    def __init__(self, class_weight: ClassWeight = None) -> None:
        super().__init__(class_weight)

    def check_model(self, model: Module) -> None:
        """Raise ValueError if the model ends in Softmax."""
        if model._ending() == "softmax":
            raise ValueError("the model ends in Softmax, and NLLLoss takes logarithms: end in LogSoftmax")

    def _make(self, class_weight: ArrayLike | None) -> _core.Loss:
        return _core.Loss("nll", 0.0, class_weight)


class BCEWithLogitsLoss(_CoreLoss):
    """Binary cross-entropy of scores; the sigmoid is inside.

    Parameters
    ----------
    pos_weight : float or (outputs,) array, optional
        How much a positive counts.

    Notes
    -----
    `nnrs.functional.binary_cross_entropy_with_logits`; torch's `torch.nn.BCEWithLogitsLoss`.

    Examples
    --------
    >>> from nnrs import nn
    >>> round(nn.BCEWithLogitsLoss()([[0.0]], [[1.0]]), 4)
    0.6931
    """

    def __init__(self, pos_weight: ArrayLike | None = None) -> None:
        self.pos_weight = None if pos_weight is None else np.atleast_1d(np.array(pos_weight))
        super().__init__(_core.Loss("bce_with_logits", 0.0, None, self.pos_weight))

    def check_model(self, model: Module) -> None:
        """Raise ValueError if the model ends in Sigmoid."""
        if model._ending() == "sigmoid":
            raise ValueError(
                "the model ends in Sigmoid, and BCEWithLogitsLoss applies it once more: leave the Sigmoid "
                "layer out (predict_proba gives probabilities all the same), or take BCELoss"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        BCEWithLogitsLoss.__init__(self, state["pos_weight"])


class HuberLoss(_CoreLoss):
    """Squared error near the target, absolute error far from it.

    Parameters
    ----------
    delta : float
        More than 0: where the square ends.

    Notes
    -----
    `nnrs.functional.huber_loss`; torch's `torch.nn.HuberLoss`.

    Examples
    --------
    >>> from nnrs import nn
    >>> nn.HuberLoss()([1.0, 2.0], [1.5, 5.0])
    1.3125
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta
        super().__init__(_core.Loss("huber", delta))

    def __setstate__(self, state: dict[str, Any]) -> None:
        HuberLoss.__init__(self, state["delta"])


class _PlainLoss(_CoreLoss):
    """A loss of the core without settings."""

    _kind: str

    def __init__(self) -> None:
        super().__init__(_core.Loss(self._kind))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class BCELoss(_PlainLoss):
    """Binary cross-entropy of probabilities; after `Sigmoid`.

    Notes
    -----
    `nnrs.functional.binary_cross_entropy`; torch's `torch.nn.BCELoss`. `BCEWithLogitsLoss` loses no digits.

    Examples
    --------
    >>> from nnrs import nn
    >>> round(nn.BCELoss()([[0.5]], [[1.0]]), 4)
    0.6931
    """

    _kind = "bce"


class MSELoss(_PlainLoss):
    """Squared error.

    Notes
    -----
    `nnrs.functional.mse_loss`; torch's `torch.nn.MSELoss`.

    Examples
    --------
    >>> from nnrs import nn
    >>> nn.MSELoss()([1.0, 2.0], [1.0, 4.0])
    2.0
    """

    _kind = "mse"


class L1Loss(_PlainLoss):
    """Absolute error.

    Notes
    -----
    `nnrs.functional.l1_loss`; torch's `torch.nn.L1Loss`.

    Examples
    --------
    >>> from nnrs import nn
    >>> nn.L1Loss()([1.0, 2.0], [1.0, 4.0])
    1.0
    """

    _kind = "l1"


class HingeLoss(_PlainLoss):
    """Hinge loss of a maximum-margin classifier: one output with targets −1 and 1, or a score for each class.

    Notes
    -----
    `nnrs.functional.hinge_loss`: Crammer and Singer 2001.

    Examples
    --------
    >>> from nnrs import nn
    >>> nn.HingeLoss()([0.5, -2.0], [1, -1])
    0.25
    """

    _kind = "hinge"


class PerceptronLoss(_PlainLoss):
    """Perceptron error: how far misclassified rows are on the wrong side; the others count nothing.

    Notes
    -----
    `nnrs.functional.perceptron_loss`: Rosenblatt 1958. With SGD, batches of one row and learning rate 1 it is
    the perceptron's learning rule.

    Examples
    --------
    >>> from nnrs import nn
    >>> nn.PerceptronLoss()([0.5, 2.0], [1, -1])
    1.0
    """

    _kind = "perceptron"
