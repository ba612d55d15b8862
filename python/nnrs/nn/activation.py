"""Activations as layers, element by element or along a row.

The functions and their derivatives are those of `nnrs.functional`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from nnrs.nn.layer import Layer
from nnrs.nn.shape import Identity

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "Tanh",
    "named_activation",
]


class _Activation(Layer):
    """An activation that the core knows by name."""

    _core_name: ClassVar[str]

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...]:  # noqa: ARG002
        return ("activation", self._core_name, self._setting())

    def _setting(self) -> float:
        return 0.0


class ReLU(_Activation):
    """Rectified linear unit.

    y = max(x, 0).

    Notes
    -----
    Nair and Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    _core_name = "relu"


class LeakyReLU(_Activation):
    """Rectified linear unit that lets a little of the negative side through.

    y = x where x > 0, else negative_slope · x.

    Parameters
    ----------
    negative_slope : float
        Slope of the negative side.

    Raises
    ------
    ValueError
        If `negative_slope` is not finite.

    Notes
    -----
    Maas, Hannun and Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.LeakyReLU(0.5)(np.array([-1.0, 2.0]))
    array([-0.5,  2. ])
    """

    _core_name = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    @property
    def negative_slope(self) -> float:
        """Slope of the negative side."""
        return self._negative_slope

    @negative_slope.setter
    def negative_slope(self, value: float) -> None:
        self._negative_slope = _finite("negative_slope", value)
        self._changed()

    def config(self) -> dict[str, Any]:
        """Return negative_slope."""
        return {"negative_slope": self.negative_slope}

    def _setting(self) -> float:
        return self._negative_slope


class ELU(_Activation):
    """Exponential linear unit.

    y = x where x > 0, else alpha · (exp(x) − 1).

    Parameters
    ----------
    alpha : float
        The negative side goes to −alpha.

    Raises
    ------
    ValueError
        If `alpha` is not finite.

    Notes
    -----
    Clevert, Unterthiner and Hochreiter 2015, "Fast and accurate deep network learning by exponential linear
    units".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.ELU(2.0)(np.array([-1e4, 2.0]))
    array([-2.,  2.])
    """

    _core_name = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    @property
    def alpha(self) -> float:
        """The negative side goes to −alpha."""
        return self._alpha

    @alpha.setter
    def alpha(self, value: float) -> None:
        self._alpha = _finite("alpha", value)
        self._changed()

    def config(self) -> dict[str, Any]:
        """Return alpha."""
        return {"alpha": self.alpha}

    def _setting(self) -> float:
        return self._alpha


class SELU(_Activation):
    """Scaled exponential linear unit, which keeps mean 0 and variance 1 from layer to layer.

    y = s · x where x > 0, else s · a · (exp(x) − 1); s = 1.0507…, a = 1.6732….

    Notes
    -----
    Klambauer, Unterthiner, Mayr and Hochreiter 2017, "Self-normalizing neural networks".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.SELU()(np.array([0.0]))
    array([0.])
    """

    _core_name = "selu"


class GELU(_Activation):
    """Gaussian error linear unit.

    y = x · Φ(x), Φ the distribution function of the normal distribution.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh": y = x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))).

    Raises
    ------
    ValueError
        If `approximate` is another word.

    Notes
    -----
    Hendrycks and Gimpel 2016, "Gaussian error linear units".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.GELU()(np.array([0.0, 1.0])).round(4)
    array([0.    , 0.8413])
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate is {approximate!r}; expected 'none' or 'tanh'")
        self._approximate = approximate

    @property
    def approximate(self) -> str:
        """Which form: "none" or "tanh"."""
        return self._approximate

    def config(self) -> dict[str, Any]:
        """Return the form."""
        return {"approximate": self._approximate}

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...]:  # noqa: ARG002
        return ("activation", "gelu" if self._approximate == "none" else "gelu_tanh", 0.0)


class SiLU(_Activation):
    """Sigmoid linear unit, also called swish.

    y = x · sigmoid(x).

    Notes
    -----
    Elfwing, Uchibe and Doya 2017, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.SiLU()(np.array([0.0]))
    array([0.])
    """

    _core_name = "silu"


class Mish(_Activation):
    """Self-regularised smooth unit.

    y = x · tanh(log(1 + exp(x))).

    Notes
    -----
    Misra 2019, "Mish: a self regularized non-monotonic activation function".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.Mish()(np.array([0.0]))
    array([0.])
    """

    _core_name = "mish"


class Softplus(_Activation):
    """Smooth form of ReLU.

    y = log(1 + exp(beta · x)) / beta.

    Parameters
    ----------
    beta : float
        The larger, the closer to ReLU.

    Raises
    ------
    ValueError
        If `beta` is not positive and finite.

    Notes
    -----
    Dugas, Bengio, Bélisle, Nadeau and Garcia 2000, "Incorporating second-order functional knowledge for
    better option pricing".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.Softplus(1.0)(np.array([-1e4, 1e4]))
    array([    0., 10000.])
    """

    _core_name = "softplus"

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    @property
    def beta(self) -> float:
        """Sharpness of the bend."""
        return self._beta

    @beta.setter
    def beta(self, value: float) -> None:
        self._beta = _positive("beta", value)
        self._changed()

    def config(self) -> dict[str, Any]:
        """Return beta."""
        return {"beta": self.beta}

    def _setting(self) -> float:
        return self._beta


class Sigmoid(_Activation):
    """Logistic function.

    y = 1 / (1 + exp(−x)).

    Notes
    -----
    torch's `torch.nn.Sigmoid`. Not before `BCEWithLogitsLoss`, which contains it.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.Sigmoid()(np.array([0.0]))
    array([0.5])
    """

    _core_name = "sigmoid"
    _ends_in = "sigmoid"


class Tanh(_Activation):
    """Hyperbolic tangent.

    y = (exp(x) − exp(−x)) / (exp(x) + exp(−x)).

    Notes
    -----
    torch's `torch.nn.Tanh`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.Tanh()(np.array([0.0, 1e4]))
    array([0., 1.])
    """

    _core_name = "tanh"


class Step(_Activation):
    """Heaviside's step: the unit of the perceptron, for prediction only.

    y = 1 where x ≥ 0, else 0. A backward through it is a ValueError: train on the scores before it.

    Notes
    -----
    Rosenblatt 1958, "The perceptron: a probabilistic model for information storage and organization in the
    brain".

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.Step()(np.array([-0.5, 0.0, 2.0]))
    array([0., 1., 1.])
    """

    _core_name = "step"
    _trains = False
    _ends_in = "step"


class Softmax(Layer):
    """Scores to probabilities, along the last axis.

    yᵢ = exp(xᵢ) / Σⱼ exp(xⱼ).

    Notes
    -----
    torch's `torch.nn.Softmax`. Not before `CrossEntropyLoss`, which contains it.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.Softmax()(np.array([3.0, 3.0]))
    array([0.5, 0.5])
    """

    _elementwise = False
    _ends_in = "softmax"

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...]:  # noqa: ARG002
        return ("softmax",)


class LogSoftmax(Layer):
    """Scores to logarithms of probabilities, along the last axis.

    yᵢ = xᵢ − log Σⱼ exp(xⱼ).

    Notes
    -----
    torch's `torch.nn.LogSoftmax`, for `NLLLoss`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.LogSoftmax()(np.array([3.0, 3.0]))
    array([-0.69314718, -0.69314718])
    """

    _elementwise = False
    _ends_in = "log_softmax"

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...]:  # noqa: ARG002
        return ("log_softmax",)


_NAMED: dict[str, type[Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "silu": SiLU,
    "mish": Mish,
    "softplus": Softplus,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "identity": Identity,
}


def named_activation(name: str) -> Layer:
    """Return a new activation layer; ValueError for an unknown name."""
    if name not in _NAMED:
        raise ValueError(f"activation is {name!r}; expected {', '.join(map(repr, _NAMED))} or None")
    return _NAMED[name]()


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}; expected a finite number")
    return float(value)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} is {value}; expected more than 0")
    return _finite(name, value)
