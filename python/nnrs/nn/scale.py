"""Scalers: they learn statistics of the training inputs, and travel inside the model.

A scaler comes first in a model. It learns once, from the training rows alone: at the start of the first
`fit`, or by `model.fit_scalers(x)`. Statistics are float64; applied, they have the model's dtype.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs.nn.layer import Layer
from nnrs.nn.parameter import real_array

__all__ = ["MinMaxScale", "Scaler", "Standardize"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]

# Rows converted to float64 at a time: statistics of a memory map take no more memory than this.
_ROWS = 4096


class Scaler(Layer):
    """Base of the scalers: y = (x − mean) / scale by column; `mean` is what is subtracted."""

    _scales = True
    _resizable = ("mean", "scale")
    mean: Float64 | None
    scale: Float64 | None

    def __init__(self) -> None:
        self.register_buffer("mean", None)
        self.register_buffer("scale", None)

    @property
    def fitted(self) -> bool:
        """Whether the statistics are known."""
        return self._buffers["scale"] is not None

    def register_buffer(self, name: str, array: ArrayLike | None) -> None:
        """Hold a statistic, read-only: writing into it would not reach what is compiled."""
        value = None
        if array is not None:
            value = np.array(real_array(name, array), dtype=np.float64)
            value.setflags(write=False)
        super().register_buffer(name, value)
        self._changed()

    def learn(self, x: ArrayLike, rows: NDArray[np.int64] | None = None) -> None:
        """Learn the statistics of these rows, instead of what was known.

        Parameters
        ----------
        x : (batch, features), or any further axes, real numbers
        rows : (n,) int64, optional
            Only these rows.

        Raises
        ------
        ValueError
            If there are no rows, or a value is not finite.
        TypeError
            If `x` holds no real numbers.
        """
        array = real_array("x", x)
        if array.ndim < 2:
            raise ValueError(f"x has shape {array.shape}; expected (batch, features)")
        count = len(array) if rows is None else len(rows)
        if count == 0:
            raise ValueError(f"x has no rows; {type(self).__name__} learns from at least one")
        with np.errstate(over="ignore", invalid="ignore"):
            shift, scale = self._statistics(array.reshape(len(array), math.prod(array.shape[1:])), rows)
        wide = np.flatnonzero(~np.isfinite(scale))
        if wide.size:
            raise ValueError(f"x spans more than float64 holds in column {wide[0]}; expected a smaller range")
        self._check_width(f"x has {len(shift)} features", len(shift))
        self.register_buffer("mean", shift)
        self.register_buffer("scale", scale)

    def _statistics(self, x: Array, rows: NDArray[np.int64] | None) -> tuple[Float64, Float64]:
        raise NotImplementedError

    def _features_in(self) -> int | None:
        scale = self._buffers["scale"]
        return None if scale is None else len(scale)

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...]:  # noqa: ARG002
        shift, scale = self._buffers["mean"], self._buffers["scale"]
        if shift is None or scale is None:
            raise ValueError(
                f"{type(self).__name__} has not learned its statistics: call fit_scalers(x) of the model "
                "with the training inputs, or train with Trainer.fit on arrays"
            )
        with np.errstate(over="ignore"):
            factor = np.minimum((1.0 / scale).astype(dtype), np.finfo(dtype).max)
            return ("scale", shift.astype(dtype), factor)

    def _check_buffers(self, arrays: dict[str, Array]) -> None:
        if not arrays:
            return
        shift, scale = arrays.get("mean"), arrays.get("scale")
        if shift is None or scale is None:
            raise ValueError(f"state holds only one of 'mean' and 'scale' of {type(self).__name__}")
        for name, array in (("mean", shift), ("scale", scale)):
            real_array(name, array)
            if array.ndim != 1 or array.shape != shift.shape:
                raise ValueError(
                    f"{name} has shape {array.shape}; expected (features,), alike for both statistics"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds a value that is not finite")
        if not (scale > 0).all():
            raise ValueError("scale holds a value that is not positive")
        self._check_width(f"scale has shape {scale.shape}", len(scale))

    def _take_buffer(self, name: str, array: Array) -> None:
        self.register_buffer(name, array)

    def _check_width(self, what: str, width: int) -> None:
        """Refuse statistics of another width than the layers after it take."""
        for _, layer in self._outermost()._leaves():
            wanted = layer._features_in() if isinstance(layer, Layer) and layer is not self else None
            if wanted is not None and wanted != width:
                raise ValueError(f"{what}; expected {wanted}, which the model takes")
            if wanted is not None or not isinstance(layer, Layer):
                return


class Standardize(Scaler):
    """Shift and scale each column to mean 0 and standard deviation 1.

    y = (x − mean) / scale, scale the standard deviation over the training rows (divided by n, not n − 1). A
    column without variance gets scale 1.

    Attributes
    ----------
    mean, scale : (features,) float64, or None while nothing is learned
    fitted : bool

    Notes
    -----
    scikit-learn's `StandardScaler`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> scaler = nn.Standardize()
    >>> scaler.learn(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> scaler.mean, scaler.scale
    (array([2., 5.]), array([1., 1.]))
    >>> scaler(np.array([[3.0, 6.0]]))
    array([[1., 1.]])
    """

    def _statistics(self, x: Array, rows: NDArray[np.int64] | None) -> tuple[Float64, Float64]:
        count = len(x) if rows is None else len(rows)
        low, high = _extremes(x, rows)
        # Sums of what is left over a first guess: a large mean costs no digits, constants have scale 0.
        guess = low + (high - low) / 2
        total = np.zeros(len(low))
        for chunk in _chunks(x, rows):
            total += (chunk - guess).sum(axis=0)
        mean = guess + total / count
        squares = np.zeros(len(low))
        for chunk in _chunks(x, rows):
            squares += np.square(chunk - mean).sum(axis=0)
        scale = np.sqrt(squares / count)
        return mean, np.where(scale == 0, 1.0, scale)


class MinMaxScale(Scaler):
    """Shift and scale each column to 0..1.

    y = (x − min) / scale, scale = max − min over the training rows. A column without variance gets scale 1.

    Attributes
    ----------
    min, scale : (features,) float64, or None while nothing is learned
    fitted : bool

    Notes
    -----
    scikit-learn's `MinMaxScaler`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> scaler = nn.MinMaxScale()
    >>> scaler.learn(np.array([[0.0], [10.0]]))
    >>> scaler(np.array([[5.0]]))
    array([[0.5]])
    """

    @property
    def min(self) -> Float64 | None:
        """Least value of each column; `mean` in `state_dict`, where all scalers have the same names."""
        return self.mean

    def _statistics(self, x: Array, rows: NDArray[np.int64] | None) -> tuple[Float64, Float64]:
        low, high = _extremes(x, rows)
        return low, np.where(high > low, high - low, 1.0)


def _extremes(x: Array, rows: NDArray[np.int64] | None) -> tuple[Float64, Float64]:
    low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    done = 0
    for chunk in _chunks(x, rows):
        if not np.isfinite(chunk).all():
            row, column = np.argwhere(~np.isfinite(chunk))[0]
            number = done + row if rows is None else rows[done + row]
            raise ValueError(
                f"x holds {chunk[row, column]} in row {number}, column {column}; expected finite numbers"
            )
        np.minimum(low, chunk.min(axis=0), out=low)
        np.maximum(high, chunk.max(axis=0), out=high)
        done += len(chunk)
    return low, high


def _chunks(x: Array, rows: NDArray[np.int64] | None) -> Iterator[Float64]:
    count = len(x) if rows is None else len(rows)
    for start in range(0, count, _ROWS):
        part = slice(start, start + _ROWS)
        yield (x[part] if rows is None else x[rows[part]]).astype(np.float64)
