"""Where seeds come from: given, derived from `manual_seed`, or taken from the operating system.

All randomness of the package is Philox4x32-10 in the compiled core, keyed by a seed. This module only
decides which seed that is; it draws nothing itself.
"""

from __future__ import annotations

import itertools
import operator
import os
from collections.abc import Iterator
from functools import partial

__all__ = ["check_seed", "derive_seed", "manual_seed", "resolve_seed"]

_SEED_LIMIT = 1 << 64
_MASK64 = _SEED_LIMIT - 1
# Seeds that nobody chose stay below 2**53: exact in JSON, in a data frame and in a float.
_OWN_BITS = 53

_defaults: Iterator[int] | None = None


def check_seed(seed: object, name: str = "seed") -> int:
    """Return `seed` as a Python int.

    Parameters
    ----------
    seed : int
        Any integer type but bool, 0 ≤ seed < 2**64.
    name : str
        What the argument is called in the error.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `seed` is not an integer.
    ValueError
        If it is negative or does not fit in 64 bits.

    Examples
    --------
    >>> from nnrs.random import check_seed
    >>> check_seed(7)
    7
    """
    if isinstance(seed, bool):
        raise TypeError(f"{name} must be an int, got a bool")
    try:
        value = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an int or None, got {type(seed).__name__}") from None
    if not 0 <= value < _SEED_LIMIT:
        raise ValueError(f"{name} must be at least 0 and below 2**64, got {value}")
    return value


def resolve_seed(seed: int | None) -> int:
    """Return the seed to use: `seed` itself, or a fresh one when it is None.

    Parameters
    ----------
    seed : int or None
        None takes the next seed of the sequence that `manual_seed` started, and entropy of the operating
        system where `manual_seed` was never called.

    Returns
    -------
    int
        What the caller should record, so that the run can be repeated.

    Examples
    --------
    >>> from nnrs.random import resolve_seed
    >>> resolve_seed(3)
    3
    """
    if seed is not None:
        return check_seed(seed)
    if _defaults is not None:
        return next(_defaults)
    return int.from_bytes(os.urandom(8), "little") >> (64 - _OWN_BITS)


def manual_seed(seed: int) -> None:
    """Set the default for everything that is given no seed.

    As in torch, what asks for randomness takes its turn: the same program gives the same numbers, and two
    models built one after the other still differ.

    Parameters
    ----------
    seed : int
        0 ≤ seed < 2**64.

    Raises
    ------
    TypeError, ValueError
        If `seed` is no such integer.

    Notes
    -----
    The k-th seed handed out is SplitMix64's k-th output (Steele, Lea and Flood 2014, "Fast splittable
    pseudorandom number generators"), its upper 53 bits.

    Examples
    --------
    >>> import nnrs
    >>> from nnrs.random import resolve_seed
    >>> nnrs.manual_seed(0)
    >>> first = resolve_seed(None), resolve_seed(None)
    >>> nnrs.manual_seed(0)
    >>> first == (resolve_seed(None), resolve_seed(None))
    True
    """
    global _defaults
    start = check_seed(seed)
    # `map` over `count` advances atomically under the GIL: two threads never get the same seed.
    _defaults = map(partial(_split_mix, start), itertools.count(1))


def derive_seed(seed: int, number: int) -> int:
    """Return one of many seeds that follow from one: the seed itself for number 0.

    Parameters
    ----------
    seed : int
        0 ≤ seed < 2**64.
    number : int
        At least 0.

    Returns
    -------
    int

    Examples
    --------
    >>> from nnrs.random import derive_seed
    >>> derive_seed(7, 0), derive_seed(7, 1) != derive_seed(7, 2)
    (7, True)
    """
    return seed if number == 0 else _split_mix(seed, number)


def _split_mix(start: int, turn: int) -> int:
    z = (start + turn * 0x9E3779B97F4A7C15) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return (z ^ (z >> 31)) >> (64 - _OWN_BITS)
