"""Arrays cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import _core
from nnrs.arguments import check_int
from nnrs.random import resolve_seed

__all__ = ["Batches", "batches"]

Array = NDArray[Any]


class Batches:
    """Arrays cut into batches; every pass over it shuffles anew.

    Made by `batches`. `len` is the number of batches of a pass.

    Attributes
    ----------
    seed : int
        What the shuffles are drawn from.
    epoch : int
        Passes begun so far.

    Examples
    --------
    >>> from nnrs.data import batches
    >>> parts = batches([[0.0], [1.0], [2.0]], [0, 1, 2], 2, shuffle=False)
    >>> len(parts), [yb.tolist() for _, yb in parts]
    (2, [[0, 1], [2]])
    """

    def __init__(self, arrays: tuple[Array, ...], batch_size: int, shuffle: bool, seed: int) -> None:
        self._arrays = arrays
        self._batch_size = batch_size
        self._shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self._arrays[0]) // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        rows = len(self._arrays[0])
        order = _core.permutation(self.seed, "shuffle", self.epoch, rows) if self._shuffle else None
        self.epoch += 1
        for start in range(0, rows, self._batch_size):
            part: Any = slice(start, start + self._batch_size)
            if order is not None:
                part = order[part]
            yield tuple(array[part] for array in self._arrays)


def batches(
    x: ArrayLike, y: ArrayLike, batch_size: int, shuffle: bool = True, seed: int | None = None
) -> Batches:
    """Cut `x` and `y` into batches of equal rows; the last one may be smaller.

    Parameters
    ----------
    x : (n, …) array
    y : (n, …) array
    batch_size : int
    shuffle : bool
        Draw a new order for every pass, the one that `Trainer.fit` draws for the same seed and epoch.
    seed : int, optional

    Returns
    -------
    Batches
        Iterate over it as often as wanted; it yields `(xb, yb)`.

    Raises
    ------
    TypeError, ValueError
        If lengths differ, or `batch_size` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.data import batches
    >>> [len(xb) for xb, yb in batches(np.zeros((5, 2)), np.zeros(5), 2, seed=0)]
    [2, 2, 1]
    """
    arrays = np.asarray(x), np.asarray(y)
    for name, array in zip("xy", arrays, strict=True):
        if array.ndim == 0:
            raise ValueError(f"{name} has shape (); expected at least one axis, the rows")
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(f"y has {len(arrays[1])} rows; expected {len(arrays[0])}, the rows of x")
    return Batches(arrays, check_int("batch_size", batch_size, 1), bool(shuffle), resolve_seed(seed))
