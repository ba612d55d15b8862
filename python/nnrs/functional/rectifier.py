"""Activations that pass the positive side: ReLU and its softer forms, element by element.

A derivative takes the input `x` of the forward, and multiplies by the gradient `dout` that comes from above.
NaN stays NaN.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from nnrs._core import activation as _activation
from nnrs._core import activation_backward as _activation_backward

__all__ = [
    "elu",
    "elu_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "relu",
    "relu_backward",
    "selu",
    "selu_backward",
    "softplus",
    "softplus_backward",
]

Array = NDArray[Any]


def relu(x: ArrayLike, out: Array | None = None) -> Array:
    """Rectified linear unit.

    y = max(x, 0). ReLU of −0 is +0.

    Parameters
    ----------
    x : array of any shape, float32 or float64
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If `out` does not fit.
    TypeError
        If `x` holds no real numbers.

    Notes
    -----
    Nair and Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.relu([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    return _activation("relu", x, out)


def relu_backward(dout: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """Gradient of `relu` with respect to its input.

    dx = dout where x > 0, else 0.

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `relu` was given.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If two float dtypes are mixed, or an input holds no real numbers.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.relu_backward([3.0, 3.0], [-1.0, 2.0])
    array([0., 3.])
    """
    return _activation_backward("relu", dout, x, out)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01, out: Array | None = None) -> Array:
    """Rectified linear unit that lets a little of the negative side through.

    y = x where x > 0, else negative_slope · x.

    Parameters
    ----------
    x : array of any shape, float32 or float64
    negative_slope : float
        Slope of the negative side.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If `out` does not fit.
    TypeError
        If `x` holds no real numbers.

    Notes
    -----
    Maas, Hannun and Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.leaky_relu([-1.0, 2.0])
    array([-0.01,  2.  ])
    """
    return _activation("leaky_relu", x, out, negative_slope)


def leaky_relu_backward(
    dout: ArrayLike, x: ArrayLike, negative_slope: float = 0.01, out: Array | None = None
) -> Array:
    """Gradient of `leaky_relu` with respect to its input.

    dx = dout where x > 0, else negative_slope · dout.

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `leaky_relu` was given.
    negative_slope : float
        As in `leaky_relu`.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If two float dtypes are mixed, or an input holds no real numbers.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.leaky_relu_backward([1.0, 1.0], [-1.0, 2.0], negative_slope=0.5)
    array([0.5, 1. ])
    """
    return _activation_backward("leaky_relu", dout, x, out, negative_slope)


def elu(x: ArrayLike, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Exponential linear unit.

    y = x where x > 0, else alpha · (exp(x) − 1).

    Parameters
    ----------
    x : array of any shape, float32 or float64
    alpha : float
        The negative side goes to −alpha.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If `out` does not fit.
    TypeError
        If `x` holds no real numbers.

    Notes
    -----
    Clevert, Unterthiner and Hochreiter 2015, "Fast and accurate deep network learning by exponential linear
    units".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.elu([-1e4, 2.0])
    array([-1.,  2.])
    """
    return _activation("elu", x, out, alpha)


def elu_backward(dout: ArrayLike, x: ArrayLike, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Gradient of `elu` with respect to its input.

    dx = dout where x > 0, else dout · alpha · exp(x).

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `elu` was given.
    alpha : float
        As in `elu`.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If two float dtypes are mixed, or an input holds no real numbers.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.elu_backward([3.0], [2.0])
    array([3.])
    """
    return _activation_backward("elu", dout, x, out, alpha)


def selu(x: ArrayLike, out: Array | None = None) -> Array:
    """Scaled exponential linear unit, which keeps mean 0 and variance 1 from layer to layer.

    y = s · x where x > 0, else s · a · (exp(x) − 1); s = 1.0507009873554805, a = 1.6732632423543772.

    Parameters
    ----------
    x : array of any shape, float32 or float64
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If `out` does not fit.
    TypeError
        If `x` holds no real numbers.

    Notes
    -----
    Klambauer, Unterthiner, Mayr and Hochreiter 2017, "Self-normalizing neural networks".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.selu([0.0, 1.0]).round(4)
    array([0.    , 1.0507])
    """
    return _activation("selu", x, out)


def selu_backward(dout: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """Gradient of `selu` with respect to its input.

    dx = s · dout where x > 0, else s · a · exp(x) · dout.

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `selu` was given.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If two float dtypes are mixed, or an input holds no real numbers.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.selu_backward([1.0], [1.0]).round(4)
    array([1.0507])
    """
    return _activation_backward("selu", dout, x, out)


def softplus(x: ArrayLike, beta: float = 1.0, out: Array | None = None) -> Array:
    """Smooth form of ReLU.

    y = log(1 + exp(beta · x)) / beta.

    Parameters
    ----------
    x : array of any shape, float32 or float64
    beta : float
        More than 0; the larger, the closer to ReLU.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If `out` does not fit, or `beta` is not positive.
    TypeError
        If `x` holds no real numbers.

    Notes
    -----
    Dugas, Bengio, Bélisle, Nadeau and Garcia 2000, "Incorporating second-order functional knowledge for
    better option pricing".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.softplus([0.0]).round(4)
    array([0.6931])
    """
    return _activation("softplus", x, out, _positive(beta))


def softplus_backward(dout: ArrayLike, x: ArrayLike, beta: float = 1.0, out: Array | None = None) -> Array:
    """Gradient of `softplus` with respect to its input.

    dx = dout · sigmoid(beta · x).

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `softplus` was given.
    beta : float
        As in `softplus`.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If shapes do not fit, or `beta` is not positive.
    TypeError
        If two float dtypes are mixed, or an input holds no real numbers.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.softplus_backward([1.0], [0.0])
    array([0.5])
    """
    return _activation_backward("softplus", dout, x, out, _positive(beta))


def _positive(beta: float) -> float:
    if not beta > 0:
        raise ValueError(f"beta is {beta}; expected more than 0")
    return beta
