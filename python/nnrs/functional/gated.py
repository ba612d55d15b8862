"""Activations that multiply x by a smooth gate: GELU, SiLU and Mish, element by element.

A derivative takes the input `x` of the forward, and multiplies by the gradient `dout` that comes from above.
NaN stays NaN.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from nnrs._core import activation as _activation
from nnrs._core import activation_backward as _activation_backward

__all__ = [
    "gelu",
    "gelu_backward",
    "mish",
    "mish_backward",
    "silu",
    "silu_backward",
]

Array = NDArray[Any]


def gelu(x: ArrayLike, approximate: str = "none", out: Array | None = None) -> Array:
    """Gaussian error linear unit.

    y = x · Φ(x), Φ the distribution function of the normal distribution;
    "tanh": y = x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))).

    Parameters
    ----------
    x : array of any shape, float32 or float64
    approximate : {"none", "tanh"}
        Which of the two forms.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If `out` does not fit, or `approximate` is another word.
    TypeError
        If `x` holds no real numbers.

    Notes
    -----
    Hendrycks and Gimpel 2016, "Gaussian error linear units".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.gelu([0.0, 1.0]).round(4)
    array([0.    , 0.8413])
    """
    return _activation(_gelu(approximate), x, out)


def gelu_backward(
    dout: ArrayLike, x: ArrayLike, approximate: str = "none", out: Array | None = None
) -> Array:
    """Gradient of `gelu` with respect to its input.

    dx = dout · (Φ(x) + x · φ(x)), φ the density of the normal distribution; "tanh": that form's derivative.

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `gelu` was given.
    approximate : {"none", "tanh"}
        As in `gelu`.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If shapes do not fit, or `approximate` is another word.
    TypeError
        If two float dtypes are mixed, or an input holds no real numbers.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.gelu_backward([1.0], [0.0])
    array([0.5])
    """
    return _activation_backward(_gelu(approximate), dout, x, out)


def silu(x: ArrayLike, out: Array | None = None) -> Array:
    """Sigmoid linear unit, also called swish.

    y = x · sigmoid(x).

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
    Elfwing, Uchibe and Doya 2017, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.silu([0.0, 1.0]).round(4)
    array([0.    , 0.7311])
    """
    return _activation("silu", x, out)


def silu_backward(dout: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """Gradient of `silu` with respect to its input.

    dx = dout · s · (1 + x · (1 − s)), s = sigmoid(x).

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `silu` was given.
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
    >>> F.silu_backward([1.0], [0.0])
    array([0.5])
    """
    return _activation_backward("silu", dout, x, out)


def mish(x: ArrayLike, out: Array | None = None) -> Array:
    """Self-regularised smooth unit.

    y = x · tanh(log(1 + exp(x))).

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
    Misra 2019, "Mish: a self regularized non-monotonic activation function".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.mish([0.0, 1.0]).round(4)
    array([0.    , 0.8651])
    """
    return _activation("mish", x, out)


def mish_backward(dout: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """Gradient of `mish` with respect to its input.

    dx = dout · (t + x · (1 − t²) · sigmoid(x)), t = tanh(log(1 + exp(x))).

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : array of any shape, float32 or float64
        What `mish` was given.
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
    >>> F.mish_backward([1.0], [0.0])
    array([0.6])
    """
    return _activation_backward("mish", dout, x, out)


def _gelu(approximate: str) -> str:
    if approximate == "none":
        return "gelu"
    if approximate == "tanh":
        return "gelu_tanh"
    raise ValueError(f"approximate is {approximate!r}; expected 'none' or 'tanh'")
