"""Activations between two limits: step, sigmoid and tanh, element by element.

A derivative takes the input `x` of the forward, and multiplies by the gradient `dout` that comes from above.
NaN stays NaN.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from nnrs._core import activation as _activation
from nnrs._core import activation_backward as _activation_backward

__all__ = [
    "sigmoid",
    "sigmoid_backward",
    "step",
    "tanh",
    "tanh_backward",
]

Array = NDArray[Any]


def step(x: ArrayLike, out: Array | None = None) -> Array:
    """Heaviside's step: the unit of the perceptron.

    y = 1 where x ≥ 0, else 0. It has no derivative to train with.

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
    Rosenblatt 1958, "The perceptron: a probabilistic model for information storage and organization in the
    brain".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.step([-0.5, 0.0, 2.0])
    array([0., 1., 1.])
    """
    return _activation("step", x, out)


def sigmoid(x: ArrayLike, out: Array | None = None) -> Array:
    """Logistic function.

    y = 1 / (1 + exp(−x)).

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
    torch's `torch.sigmoid`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.sigmoid([0.0, -1e4])
    array([0.5, 0. ])
    """
    return _activation("sigmoid", x, out)


def sigmoid_backward(dout: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """Gradient of `sigmoid` with respect to its input.

    dx = dout · y · (1 − y), y = sigmoid(x).

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `sigmoid` was given.
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
    >>> F.sigmoid_backward([1.0], [0.0])
    array([0.25])
    """
    return _activation_backward("sigmoid", dout, x, out)


def tanh(x: ArrayLike, out: Array | None = None) -> Array:
    """Hyperbolic tangent.

    y = (exp(x) − exp(−x)) / (exp(x) + exp(−x)).

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
    torch's `torch.tanh`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.tanh([0.0, 1e4])
    array([0., 1.])
    """
    return _activation("tanh", x, out)


def tanh_backward(dout: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """Gradient of `tanh` with respect to its input.

    dx = dout · (1 − tanh²(x)).

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `tanh` was given.
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
    >>> F.tanh_backward([2.0], [0.0])
    array([2.])
    """
    return _activation_backward("tanh", dout, x, out)
