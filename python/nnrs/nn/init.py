"""Initial weights: functions `(shape, generator) -> array`, by which `nn.Linear` draws its weights.

Any function of that form will do in their place; `generator` draws from the core's counter-based stream, so
that the same seed gives the same weights on every machine. `shape` is (out_features, in_features).

Examples
--------
>>> from nnrs import nn
>>> def sparse(shape, generator):
...     return generator.normal(0.0, 1.0, shape) * (generator.uniform(0.0, 1.0, shape) < 0.1)
>>> nn.Linear(100, 50, init=sparse).weight.shape
(50, 100)
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import _core
from nnrs.nn.parameter import real_array

__all__ = [
    "Generator",
    "Init",
    "Recipe",
    "find",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "orthogonal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Array = NDArray[Any]
Shape = tuple[int, ...]


class Generator:
    """Random numbers for one array: Philox4x32-10, keyed by a seed and the number of the array.

    Parameters
    ----------
    seed : int
    layer : int
        Number of the array; each has a stream of its own.
    dtype : {"float32", "float64"}

    Examples
    --------
    >>> from nnrs.nn.init import Generator
    >>> generator = Generator(0, 0, "float32")
    >>> generator.uniform(-1.0, 1.0, (2, 3)).shape
    (2, 3)
    """

    def __init__(self, seed: int, layer: int, dtype: str) -> None:
        self._seed = seed
        self._layer = layer
        self._dtype = dtype
        self._draws = 0

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Shape | int = ()) -> Array:
        """Draw numbers in [low, high)."""
        return _core.random_uniform(
            self._seed, "init", self._next(), self._layer, _shape(size), low, high, self._dtype
        )

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Shape | int = ()) -> Array:
        """Draw from the normal distribution of this mean and standard deviation."""
        return _core.random_normal(
            self._seed, "init", self._next(), self._layer, _shape(size), loc, scale, self._dtype
        )

    def orthogonal(self, size: tuple[int, int]) -> Array:
        """Draw a matrix with orthonormal rows or columns, whichever are fewer."""
        return _core.random_orthogonal(self._seed, self._layer, size, self._dtype)

    def _next(self) -> int:
        self._draws += 1
        return self._draws - 1


def uniform(shape: Shape, generator: Generator) -> Array:
    """Small and even: U(−0.1, 0.1)."""
    return generator.uniform(-0.1, 0.1, shape)


def normal(shape: Shape, generator: Generator) -> Array:
    """Small and normal: N(0, 0.1²)."""
    return generator.normal(0.0, 0.1, shape)


def xavier_uniform(shape: Shape, generator: Generator) -> Array:
    """U(−a, a), a = √(6 / (fan_in + fan_out)): Glorot and Bengio 2010, for tanh and sigmoid."""
    bound = math.sqrt(6.0 / max(1, sum(shape)))
    return generator.uniform(-bound, bound, shape)


def xavier_normal(shape: Shape, generator: Generator) -> Array:
    """N(0, 2 / (fan_in + fan_out)): Glorot and Bengio 2010."""
    return generator.normal(0.0, math.sqrt(2.0 / max(1, sum(shape))), shape)


def kaiming_uniform(shape: Shape, generator: Generator) -> Array:
    """U(−a, a), a = 1 / √fan_in: what torch's `Linear` starts with (He et al. 2015, slope √5)."""
    bound = _bound(shape)
    return generator.uniform(-bound, bound, shape)


def kaiming_normal(shape: Shape, generator: Generator) -> Array:
    """N(0, 2 / fan_in): He, Zhang, Ren and Sun 2015, for ReLU."""
    return generator.normal(0.0, math.sqrt(2.0 / max(1, shape[-1])), shape)


def orthogonal(shape: Shape, generator: Generator) -> Array:
    """Orthonormal rows or columns: Saxe, McClelland and Ganguli 2013."""
    return generator.orthogonal((shape[0], shape[1]))


def zeros(shape: Shape, generator: Generator) -> Array:
    """All zero: every unit of a layer then stays equal to every other."""
    return generator.uniform(0.0, 0.0, shape)


Init = Callable[[Shape, Generator], ArrayLike]

_NAMED: dict[str, Init] = {
    init.__name__: init
    for init in (
        uniform,
        normal,
        xavier_uniform,
        xavier_normal,
        kaiming_uniform,
        kaiming_normal,
        orthogonal,
        zeros,
    )
}


def find(init: str | Init) -> Init:
    """Return the function of a name; ValueError for an unknown one, TypeError for what is no function."""
    if isinstance(init, str):
        if init not in _NAMED:
            raise ValueError(f"init is {init!r}; expected {', '.join(map(repr, _NAMED))} or a function")
        return _NAMED[init]
    if not callable(init):
        raise TypeError(
            f"init must be a name or a function (shape, generator) -> array, got {type(init).__name__}"
        )
    return init


class Recipe:
    """How the values of a layer were drawn, so that they can be drawn again. Immutable.

    Parameters
    ----------
    init : str or function
    seed : int
    number : int
        Of the layer in its model.
    """

    __slots__ = ("_init", "number", "seed")

    def __init__(self, init: str | Init, seed: int, number: int) -> None:
        find(init)
        self._init = init
        self.seed = seed
        self.number = number

    def at(self, seed: int, number: int) -> Recipe:
        """Return the same scheme for another seed and place."""
        return Recipe(self._init, seed, number)

    def weight(self, shape: tuple[int, int], dtype: str) -> Array:
        """Draw weights; ValueError where a function of the user's gives another shape."""
        if self._init == "zeros" or self._init is zeros:
            return np.zeros(shape, dtype)
        drawn = find(self._init)(shape, Generator(self.seed, 2 * self.number, dtype))
        array = real_array("what init returns", drawn)
        if array.shape != shape:
            raise ValueError(f"init returned shape {array.shape}; expected {shape}")
        return array.astype(dtype, copy=False)

    def bias(self, shape: tuple[int, int], dtype: str) -> Array:
        """Draw biases for weights of this shape: zero, but with torch's default even in ±1/√fan_in."""
        if self._init != "kaiming_uniform" and self._init is not kaiming_uniform:
            return np.zeros(shape[0], dtype)
        bound = _bound(shape)
        return Generator(self.seed, 2 * self.number + 1, dtype).uniform(-bound, bound, shape[0])

    def __deepcopy__(self, memo: dict[int, Any]) -> Recipe:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # A function that no name leads to cannot be pickled: the layer's values then count as the user's own.
        init: Any = self._init
        if not isinstance(init, str):
            home = sys.modules.get(getattr(init, "__module__", ""))
            if getattr(home, getattr(init, "__name__", ""), None) is not init:
                return _no_recipe, ()
        return Recipe, (init, self.seed, self.number)


def _no_recipe() -> None:
    return None


def _bound(shape: Shape) -> float:
    return 1.0 / math.sqrt(max(1, shape[-1]))


def _shape(size: Shape | int) -> Shape:
    return (size,) if isinstance(size, int) else tuple(size)
