"""The affine map of a layer, y = x · Wᵀ + b, and its derivatives."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from nnrs._core import linear as _linear
from nnrs._core import linear_backward as _linear_backward

__all__ = ["linear", "linear_backward"]

Array = NDArray[Any]


def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """Apply weights and bias, and an activation in the same pass.

    y = a(x · Wᵀ + b): each output is the weighted sum of one row's features, plus that output's bias.

    Parameters
    ----------
    x : (batch, in_features) or (in_features,) float32 or float64
    weight : (out_features, in_features) of the same dtype
        One row for each output.
    bias : (out_features,) of the same dtype, optional
    activation : str, optional
        Name of an activation: "relu", "step", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "gelu",
        "gelu_tanh", "silu", "mish", "softplus" or "identity", with its default settings.
    out : (batch, out_features) of the same dtype, optional
        Where the result is written. It must not overlap an input.

    Returns
    -------
    (batch, out_features) array, or (out_features,) for one row
        `out`, where it is given.

    Raises
    ------
    ValueError
        If shapes do not fit; the message names the argument, its shape and the axis that disagrees.
    TypeError
        If two float dtypes are mixed, or an input holds no real numbers.

    Notes
    -----
    torch's `torch.nn.functional.linear`.

    Examples
    --------
    >>> import nnrs.functional as F
    >>> F.linear([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [-1.0, 0.0]], [0.5, 0.0], activation="relu")
    array([[3.5, 0. ],
           [7.5, 0. ]])
    """
    return _linear(x, weight, bias, activation, out)


def linear_backward(
    dout: ArrayLike, x: ArrayLike, weight: ArrayLike, *, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients of `linear` (without an activation) with respect to everything that went in.

    dx = dout · W, dW = doutᵀ · x, db = Σ dout over the rows.

    Parameters
    ----------
    dout : (batch, out_features) float32 or float64
        Gradient of the loss with respect to the result of `linear`.
    x : (batch, in_features) of the same dtype
        What `linear` was given.
    weight : (out_features, in_features) of the same dtype
    need_dx : bool
        False leaves `dx` out: a first layer needs none.

    Returns
    -------
    dx : (batch, in_features) array or None
    dweight : (out_features, in_features) array
    dbias : (out_features,) array

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If two float dtypes are mixed, or an input holds no real numbers.

    Notes
    -----
    Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors".

    Examples
    --------
    >>> import nnrs.functional as F
    >>> dx, dweight, dbias = F.linear_backward([[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]])
    >>> dx
    array([[19., 22.]])
    >>> dweight
    array([[3., 4.],
           [6., 8.]])
    >>> dbias
    array([1., 2.])
    """
    return _linear_backward(dout, x, weight, need_dx)
