"""Scores to probabilities: softmax and its logarithm, along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs._core import softmax as _softmax
from nnrs._core import softmax_backward as _softmax_backward

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]

Array = NDArray[Any]


def softmax(x: ArrayLike, axis: int = -1, out: Array | None = None) -> Array:
    """Turn scores into probabilities.

    yᵢ = exp(xᵢ − max x) / Σⱼ exp(xⱼ − max x): the subtraction changes nothing but keeps exp from overflowing.

    Parameters
    ----------
    x : (..., classes) float32 or float64
    axis : int
        The axis that sums to 1.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If `axis` is none of x's, or `out` does not fit.
    TypeError
        If `x` holds no real numbers.

    Notes
    -----
    Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs". For two
    classes it is the sigmoid of the difference of the scores.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.softmax([1e4, 1e4, -1e4])
    array([0.5, 0.5, 0. ])
    """
    if axis == -1:
        return _softmax(x, False, out)
    return _along(axis, False, None, x, out)


def softmax_backward(dout: ArrayLike, x: ArrayLike, axis: int = -1, out: Array | None = None) -> Array:
    """Gradient of `softmax` with respect to its input.

    dxᵢ = yᵢ · (doutᵢ − Σⱼ doutⱼ yⱼ), y = softmax(x).

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : (..., classes) float32 or float64
        What `softmax` was given.
    axis : int
        As in `softmax`.
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

    Notes
    -----
    torch's `torch.nn.functional.softmax`, differentiated.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.softmax_backward([1.0, 0.0], [0.0, 0.0])
    array([ 0.25, -0.25])
    """
    if axis == -1:
        return _softmax_backward(dout, x, False, out)
    return _along(axis, False, dout, x, out)


def log_softmax(x: ArrayLike, axis: int = -1, out: Array | None = None) -> Array:
    """Turn scores into logarithms of probabilities.

    yᵢ = xᵢ − max x − log Σⱼ exp(xⱼ − max x): finite where the logarithm of `softmax` would be −inf.

    Parameters
    ----------
    x : (..., classes) float32 or float64
    axis : int
        The axis whose exponentials sum to 1.
    out : array of x's shape and dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    ValueError
        If `axis` is none of x's, or `out` does not fit.
    TypeError
        If `x` holds no real numbers.

    Notes
    -----
    torch's `torch.nn.functional.log_softmax`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.log_softmax([[1e4, 0.0]])
    array([[     0., -10000.]])
    """
    if axis == -1:
        return _softmax(x, True, out)
    return _along(axis, True, None, x, out)


def log_softmax_backward(dout: ArrayLike, x: ArrayLike, axis: int = -1, out: Array | None = None) -> Array:
    """Gradient of `log_softmax` with respect to its input.

    dxᵢ = doutᵢ − softmax(x)ᵢ · Σⱼ doutⱼ.

    Parameters
    ----------
    dout : array of x's shape and dtype
        Gradient of the loss with respect to the result.
    x : (..., classes) float32 or float64
        What `log_softmax` was given.
    axis : int
        As in `log_softmax`.
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

    Notes
    -----
    torch's `torch.nn.functional.log_softmax`, differentiated.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.log_softmax_backward([1.0, 0.0], [0.0, 0.0])
    array([ 0.5, -0.5])
    """
    if axis == -1:
        return _softmax_backward(dout, x, True, out)
    return _along(axis, True, dout, x, out)


def _along(axis: int, log: bool, dout: ArrayLike | None, x: ArrayLike, out: Array | None) -> Array:
    # The core works along the last axis: the wanted one is moved there and back.
    scores = _array(x, dout)
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise TypeError(f"axis must be an int, got {type(axis).__name__}")
    if not -scores.ndim <= axis < scores.ndim:
        raise ValueError(
            f"axis is {axis}; expected {-scores.ndim} to {scores.ndim - 1} for x of shape {scores.shape}"
        )
    moved = np.moveaxis(scores, axis, -1)
    if dout is None:
        result = _softmax(moved, log)
    else:
        upstream = _array(dout, x)
        if upstream.shape != scores.shape:
            raise ValueError(f"dout has shape {upstream.shape}; expected {scores.shape}, the shape of x")
        result = _softmax_backward(np.moveaxis(upstream, axis, -1), moved, log)
    result = np.moveaxis(result, -1, axis)
    if out is None:
        return np.ascontiguousarray(result)
    _check_out(out, result, {"x": x, "dout": dout})
    out[...] = result
    return out


def _array(value: ArrayLike, beside: ArrayLike | None) -> Array:
    # Lists take the dtype of the float array beside them, which the core cannot see once they are arrays.
    if isinstance(value, np.ndarray):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "fiub" and isinstance(beside, np.ndarray) and beside.dtype.kind == "f":
        return array.astype(beside.dtype)
    return array


def _check_out(out: object, result: Array, inputs: dict[str, Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is a {type(out).__name__}; expected a NumPy array of {result.dtype}")
    if out.dtype != result.dtype:
        raise TypeError(f"out has dtype {out.dtype}; expected {result.dtype}")
    if out.shape != result.shape:
        raise ValueError(f"out has shape {out.shape}; expected {result.shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only; expected a writeable array")
    for name, array in inputs.items():
        if isinstance(array, np.ndarray) and np.may_share_memory(out, array):
            raise ValueError(f"out shares memory with {name}; expected an array of its own")
