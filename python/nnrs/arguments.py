"""Checks of numbers given as arguments: errors that name the argument, what it is and what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["check_choice", "check_int", "check_number", "check_sample_weight"]


def check_int(name: str, value: object, least: int) -> int:
    """Return `value` as an int of at least `least` that fits in 64 bits.

    Parameters
    ----------
    name : str
        What the argument is called.
    value : int
        Any integer type but bool.
    least : int

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is below `least`, or 2**63 and more.

    Examples
    --------
    >>> from nnrs.arguments import check_int
    >>> check_int("batch_size", 32, 1)
    32
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value >= 2**63:
        raise ValueError(f"{name} must be below 2**63, got {value}")
    return int(value)


def check_number(
    name: str, value: object, *, above: float | None = None, below: float | None = None, none: bool = False
) -> float:
    """Return `value` as a finite float of at least 0, or within the open bounds given.

    Parameters
    ----------
    name : str
        What the argument is called.
    value : float or int
    above, below : float, optional
        The value must be more than `above` (without it: at least 0) and less than `below`.
    none : bool
        Whether the message says that None is allowed as well.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is NaN, infinite or out of bounds.

    Examples
    --------
    >>> from nnrs.arguments import check_number
    >>> check_number("lr", 1)
    1.0
    """
    or_none = " or None" if none else ""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number{or_none}, got {type(value).__name__}")
    number = float(value)
    low = number >= 0 if above is None else number > above
    if not (math.isfinite(number) and low and (below is None or number < below)):
        expected = "at least 0" if above is None else f"more than {above:g}"
        expected += "" if below is None else f" and less than {below:g}"
        raise ValueError(f"{name} must be finite and {expected}{or_none}, got {value}")
    return number


def check_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`.

    Parameters
    ----------
    name : str
        What the argument is called.
    value : str
    choices : str, each one allowed

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If it is another one.

    Examples
    --------
    >>> from nnrs.arguments import check_choice
    >>> check_choice("mode", "min", ("min", "max"))
    'min'
    """
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    return value


def check_sample_weight(weights: ArrayLike, rows: int, name: str = "sample_weight") -> NDArray[np.float64]:
    """Return weights of samples as float64.

    Parameters
    ----------
    weights : (rows,) or (rows, 1) float
    rows : int
    name : str
        What the argument is called.

    Returns
    -------
    (rows,) float64

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If the shape differs, or weights are negative, NaN, infinite or all zero.

    Examples
    --------
    >>> from nnrs.arguments import check_sample_weight
    >>> check_sample_weight([1, 2], 2)
    array([1., 2.])
    """
    raw = np.asarray(weights)
    if raw.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {raw.dtype}; expected real numbers")
    if raw.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{name} has shape {raw.shape}; expected ({rows},), one weight a row")
    values: NDArray[np.float64] = raw.reshape(rows).astype(np.float64)
    if not np.all(values >= 0) or np.any(np.isinf(values)):
        raise ValueError(f"{name} has negative, NaN or infinite entries; expected finite ones of 0 or more")
    if rows and not np.any(values):
        raise ValueError(f"{name} is zero everywhere; expected at least one positive weight")
    return values
