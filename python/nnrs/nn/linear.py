"""The affine layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs.nn.init import Init, Recipe
from nnrs.nn.layer import Layer
from nnrs.nn.parameter import Parameter
from nnrs.random import resolve_seed

__all__ = ["Linear", "check_dtype", "check_size"]

Array = NDArray[Any]

# As many as one buffer of the core holds: beyond it a size is a slip, or an overflow in the making.
_MOST_WEIGHTS = 1 << 40


class Linear(Layer):
    """Weighted sums and a bias: y = x · Wᵀ + b.

    Parameters
    ----------
    in_features, out_features : int
        At least 0.
    bias : bool
        False leaves b out.
    init : str or function
        How the weights are drawn: "kaiming_uniform" (torch's default: weights and biases in ±1/√in_features),
        "uniform" (±0.1), "normal", "xavier_uniform", "xavier_normal", "kaiming_normal", "orthogonal",
        "zeros", or a function (shape, generator) → array, see `nnrs.nn.init`. Biases start at 0 with all but
        the default.
    dtype : {"float32", "float64"}

    Attributes
    ----------
    weight : Parameter, (out_features, in_features)
    bias : Parameter, (out_features,), or None

    Raises
    ------
    ValueError
        If a size is negative, there are more than 2**40 weights, or `init` or `dtype` is an unknown name.
    TypeError
        If a size is no int.

    Notes
    -----
    torch's `torch.nn.Linear`. Alone it takes its seed from `nnrs.manual_seed`; in a `Sequential` with a seed
    it is drawn anew from that one, unless its values were set in between.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> layer = nn.Linear(4, 3)
    >>> layer(np.ones((2, 4), "float32")).shape
    (2, 3)
    >>> layer.backward(np.ones((2, 3), "float32")).shape
    (2, 4)
    """

    _elementwise = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        init: str | Init = "kaiming_uniform",
        dtype: str = "float32",
    ) -> None:
        shape = (check_size("out_features", out_features), check_size("in_features", in_features))
        if shape[0] * shape[1] > _MOST_WEIGHTS:
            raise ValueError(
                f"out_features × in_features is {shape[0]} × {shape[1]}; expected at most 2**40 weights"
            )
        dtype = check_dtype(dtype)
        # None once the values are the user's own.
        self._recipe: Recipe | None = Recipe(init, resolve_seed(None), 0)
        self.weight = Parameter(self._recipe.weight(shape, dtype))
        self.bias = None
        self._parameters["bias"] = None
        if bias:
            self.bias = Parameter(self._recipe.bias(shape, dtype))
        self._join()

    @property
    def in_features(self) -> int:
        """Number of input features."""
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        """Number of output features."""
        return self.weight.shape[0]

    def config(self) -> dict[str, Any]:
        """Return the sizes, and whether there is a bias."""
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
        }

    def _features_in(self) -> int:
        return self.in_features

    def _features_out(self, width: int) -> int:  # noqa: ARG002
        return self.out_features

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...]:  # noqa: ARG002
        weight, bias = self.weight, self.bias
        where = f" of module {path!r}" if path else ""
        if weight.ndim != 2:
            raise ValueError(f"weight{where} has shape {weight.shape}; expected (out_features, in_features)")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ValueError(
                f"bias{where} has shape {bias.shape}; expected {weight.shape[:1]}, one an output"
            )
        return (
            "linear",
            self.in_features,
            self.out_features,
            weight._offset,
            -1 if bias is None else bias._offset,
            weight.requires_grad,
            bias is not None and bias.requires_grad,
        )

    def _draw(self, seed: int, number: int, dtype: str) -> None:
        """Draw the values from another seed, unless they are no longer those that were drawn."""
        recipe = self._recipe
        if recipe is None:
            return
        shape, has = (self.out_features, self.in_features), self.weight._dtype_name
        drawn = np.array_equal(recipe.weight(shape, has), self.weight.data)
        if not drawn or (
            self.bias is not None and not np.array_equal(recipe.bias(shape, has), self.bias.data)
        ):
            self._recipe = None
            return
        self._recipe = recipe = recipe.at(seed, number)
        self._set(self.weight, recipe.weight(shape, dtype))
        if self.bias is not None:
            self._set(self.bias, recipe.bias(shape, dtype))

    def _set(self, parameter: Parameter, values: Array) -> None:
        if values.dtype == parameter.dtype:
            parameter._data[...] = values
        else:
            # The model is about to join its parameters, which brings these into a buffer of the new dtype.
            parameter._data, parameter._grad, parameter._flat = values, None, None


def check_size(name: str, value: int) -> int:
    """Return a number of features; TypeError for what is no int, ValueError outside 0 … 2**40."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if not 0 <= value <= _MOST_WEIGHTS:
        raise ValueError(f"{name} is {value}; expected 0 to 2**40")
    return int(value)


def check_dtype(dtype: Any) -> str:
    """Return "float32" or "float64"; ValueError for anything else."""
    try:
        name: str = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float64'")
    return name
