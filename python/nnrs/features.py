"""Features as an array of real numbers: arrays, lists, memory maps and pandas frames."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs.nn.parameter import real_array

__all__ = ["mapping", "read_features", "read_names"]

Array = NDArray[Any]


def read_names(x: Any) -> list[str] | None:
    """Return the names of the columns of a pandas frame, None for anything else.

    Parameters
    ----------
    x : array, list or pandas frame

    Returns
    -------
    list of str, or None

    Examples
    --------
    >>> from nnrs.features import read_names
    >>> read_names([[1.0]]) is None
    True
    """
    return [str(name) for name in x.columns] if _is_frame(x) else None


def read_features(x: Any, names: list[str] | None = None) -> Array:
    """Return features as an array; a memory map stays one.

    Parameters
    ----------
    x : (batch, …) array, list of rows, or pandas frame
        Real numbers.
    names : list of str, optional
        Which columns of a frame, in which order.

    Returns
    -------
    (batch, …) array
        A frame becomes float64.

    Raises
    ------
    TypeError
        If `x` holds anything but real numbers; a frame's column is named.
    ValueError
        If a frame lacks a column, or `x` has fewer than two axes.

    Examples
    --------
    >>> from nnrs.features import read_features
    >>> read_features([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    if _is_frame(x):
        return _read_frame(x, names)
    array = x if isinstance(x, np.memmap) else np.asarray(x)
    if array.ndim < 2:
        raise ValueError(f"x has shape {array.shape}; expected (batch, features)")
    real_array("x", array)
    return array


def mapping(x: Array) -> mmap.mmap | None:
    """Return the memory-mapped file that an array lies in.

    Parameters
    ----------
    x : array

    Returns
    -------
    mmap.mmap or None
        None for an array in memory, as what is computed from a mapped one is.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.features import mapping
    >>> mapping(np.zeros(3)) is None
    True
    """
    part: Any = x
    while isinstance(part, np.ndarray):
        part = part.base
    return part if isinstance(part, mmap.mmap) else None


def _is_frame(x: Any) -> bool:
    return hasattr(x, "columns") and hasattr(x, "dtypes") and hasattr(x, "to_numpy")


def _read_frame(x: Any, names: list[str] | None) -> Array:
    own = {str(name): name for name in x.columns}
    if names is not None:
        missing = [name for name in names if name not in own]
        if missing:
            raise ValueError(f"x lacks the column {missing[0]!r}; expected the columns {', '.join(names)}")
        x = x[[own[name] for name in names]]
    for name, kind in x.dtypes.items():
        if getattr(kind, "kind", "O") not in "fiub":
            raise TypeError(f"x has the column {str(name)!r} of dtype {kind}; expected real numbers")
    array: Array = x.to_numpy(dtype="float64", na_value=np.nan)
    return array
