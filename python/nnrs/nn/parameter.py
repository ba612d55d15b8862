"""Parameters: handles on segments of one flat buffer.

A model's parameters lie in one aligned buffer, its gradients in a second one of the same layout. A handle
knows its buffers, its offset and its shape; moving a parameter re-points the handle, so whoever holds it
follows.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nnrs import _core

if TYPE_CHECKING:
    from nnrs.nn.registry import Registry

__all__ = ["Flat", "Parameter", "join", "real_array"]

Array = NDArray[Any]

# Segments start at multiples of 64 bytes of float32: every kernel sees aligned rows, gaps stay zero.
_ALIGNMENT = 16
_DTYPE_NAMES = {np.dtype(name): name for name in ("float32", "float64")}


class Flat:
    """One buffer of parameters and one of gradients, of one layout.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    length : int
        Elements, gaps included.
    """

    __slots__ = ("data", "dtype", "grad", "gradients", "parameters")

    def __init__(self, dtype: str, length: int) -> None:
        self.dtype = dtype
        self.parameters = _core.Buffer(dtype, length)
        self.gradients = _core.Buffer(dtype, length)
        self.data = self.parameters.array()
        self.grad = self.gradients.array()


class Parameter:
    """A trained array of a module: a handle, whose arrays are views.

    Parameters
    ----------
    data : array_like
        Initial values, copied. float32 and float64 stay what they are, other numbers become float64; in a
        `Sequential` all parameters take the model's dtype.
    requires_grad : bool
        False skips its gradient and its update.

    Attributes
    ----------
    data : array of the parameter's shape
        Writable view; what is written there takes effect at once. Assigning copies into it.
    grad : array of the parameter's shape
        Writable view of the gradient, zero until a backward adds into it. Assigning copies into it; None
        zeroes it.
    name : str
        Its path in the outermost module, such as "0.weight"; "" while no module has it.
    shape : tuple of int
    requires_grad : bool

    Raises
    ------
    TypeError
        If `data` holds no real numbers.

    Notes
    -----
    torch's `torch.nn.Parameter`. When a parameter joins a model its values move into the model's buffer:
    the handle follows, an array taken from `data` before is a detached copy from then on.

    Examples
    --------
    >>> from nnrs import nn
    >>> layer = nn.Linear(3, 2)
    >>> layer.weight.data[:] = 1.0
    >>> layer.weight.shape, float(layer.weight.data.sum())
    ((2, 3), 6.0)
    """

    __slots__ = ("__weakref__", "_data", "_flat", "_grad", "_offset", "_owner", "_requires_grad")

    def __init__(self, data: ArrayLike, requires_grad: bool = True) -> None:
        array = real_array("data", data)
        native = array.dtype.newbyteorder("=")
        dtype = native if native in (np.float32, np.float64) else np.dtype(np.float64)
        self._data: Array = np.array(array, dtype=dtype, order="C", copy=True)
        self._grad: Array | None = None
        self._flat: Flat | None = None
        self._offset = 0
        self._owner: weakref.ref[Registry] | None = None
        self._requires_grad = bool(requires_grad)

    @property
    def data(self) -> Array:
        """The values: a writable view."""
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        self._data[...] = self._checked("data", value)

    @property
    def grad(self) -> Array:
        """The gradient: a writable view."""
        if self._grad is None:
            self._grad = np.zeros_like(self._data)
        return self._grad

    @grad.setter
    def grad(self, value: ArrayLike | None) -> None:
        self.grad[...] = 0 if value is None else self._checked("grad", value)

    @property
    def requires_grad(self) -> bool:
        """Whether backward computes its gradient and an optimiser updates it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._requires_grad = bool(value)
        self._tell_owner()

    @property
    def name(self) -> str:
        """Path in the outermost module."""
        holder = self._holder()
        return "" if holder is None else holder._path_of(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self._data.shape

    @property
    def size(self) -> int:
        """Number of values."""
        return self._data.size

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._data.dtype

    @property
    def _dtype_name(self) -> str:
        # NumPy takes 2 µs to spell it.
        return _DTYPE_NAMES[self._data.dtype]

    def _holder(self) -> Registry | None:
        """Return the module that holds it."""
        return None if self._owner is None else self._owner()

    def zero_grad(self) -> None:
        """Set the gradient to zero."""
        if self._grad is not None:
            self._grad.fill(0)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) != self._data.dtype:
            if copy is False:
                raise ValueError(f"a {self.dtype} parameter does not become {np.dtype(dtype)} without a copy")
            return self._data.astype(dtype)
        return self._data.copy() if copy else self._data

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        frozen = "" if self._requires_grad else ", requires_grad=False"
        return f"Parameter(name={self.name!r}, shape={self.shape}, dtype={self.dtype}{frozen})"

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self._data.copy(), "requires_grad": self._requires_grad}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Parameter.__init__(self, state["data"], state["requires_grad"])

    def _checked(self, name: str, value: ArrayLike) -> Array:
        array = real_array(name, value)
        if array.shape != self._data.shape:
            where = f" of {self.name!r}" if self.name else ""
            raise ValueError(f"{name}{where} has shape {array.shape}; expected {self._data.shape}")
        return array

    def _tell_owner(self) -> None:
        holder = self._holder()
        if holder is not None:
            holder._changed()

    def _move(self, flat: Flat, offset: int) -> None:
        # Values and gradient go along; handles that others hold see the new place.
        end = offset + self._data.size
        data = flat.data[offset:end].reshape(self._data.shape)
        grad = flat.grad[offset:end].reshape(self._data.shape)
        data[...] = self._data
        # The new gradient is zero, and takes no memory until it is written.
        if self._grad is not None and self._grad.any():
            grad[...] = self._grad
        self._data, self._grad, self._flat, self._offset = data, grad, flat, offset


def join(parameters: Sequence[Parameter], dtype: str | None = None) -> Flat:
    """Bring parameters into one pair of buffers, in the given order, and return the pair.

    Where they lie in one pair already, nothing moves. Modules whose parameters moved compile anew at their
    next call.

    Parameters
    ----------
    parameters : sequence of Parameter
    dtype : {"float32", "float64"}, optional
        What they become; None keeps the dtype that they have in common.

    Returns
    -------
    Flat

    Raises
    ------
    ValueError
        If `dtype` is None and they have two.

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.nn.parameter import join
    >>> first, second = nn.Parameter([1.0, 2.0]), nn.Parameter([3.0])
    >>> join([first, second]).data.tolist()[:2]
    [1.0, 2.0]
    """
    if dtype is None:
        found = sorted({p._dtype_name for p in parameters}) or ["float32"]
        if len(found) > 1:
            raise ValueError(f"parameters have dtypes {' and '.join(found)}; expected one dtype for all")
        dtype = found[0]
    flat = parameters[0]._flat if parameters else None
    if flat is not None and flat.dtype == dtype and all(p._flat is flat for p in parameters):
        return flat
    offsets, length = layout(parameters)
    flat = Flat(dtype, length)
    for parameter, offset in zip(parameters, offsets, strict=True):
        parameter._move(flat, offset)
    for parameter in parameters:
        parameter._tell_owner()
    return flat


def layout(parameters: Sequence[Parameter]) -> tuple[list[int], int]:
    """Return the offset of each parameter in a buffer of their own, and that buffer's length."""
    offsets, end = [], 0
    for parameter in parameters:
        offsets.append(end)
        end += math.ceil(parameter.size / _ALIGNMENT) * _ALIGNMENT
    return offsets, end


def real_array(name: str, value: ArrayLike) -> Array:
    """Return `value` as an array of real numbers.

    Raises
    ------
    TypeError
        If it holds anything else: complex numbers, objects, strings, or numbers wider than float64.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers (float32 or float64)")
    return array
