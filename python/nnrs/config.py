"""Settings of the whole process: threads, matrix-product precision, and what this build found."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from nnrs import _core
from nnrs.arguments import check_choice, check_int

__all__ = [
    "get_float32_matmul_precision",
    "get_num_threads",
    "set_float32_matmul_precision",
    "set_num_threads",
    "show_config",
    "threads",
]

_PRECISIONS = ("highest", "high", "medium")


def set_num_threads(n: int) -> None:
    """Set how many threads one call may use, for the whole process.

    Results do not depend on it: every sum has one order, whatever the number of threads.

    Parameters
    ----------
    n : int
        At least 1. It takes precedence over `NNRS_NUM_THREADS`, `RAYON_NUM_THREADS` and `OMP_NUM_THREADS`.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer of at least 1.

    See Also
    --------
    threads : the same for the calling thread alone, and only for a while.

    Examples
    --------
    >>> import nnrs
    >>> nnrs.set_num_threads(2)
    >>> nnrs.get_num_threads()
    2
    """
    _core.set_num_threads(check_int("n", n, 1))


def get_num_threads() -> int:
    """Return how many threads a call made from this thread would use.

    Returns
    -------
    int
        The number set by `threads` or `set_num_threads`, else by the environment, else the cores that this
        process may really use (affinity, cgroup quota).

    Examples
    --------
    >>> import nnrs
    >>> nnrs.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


def threads(n: int) -> AbstractContextManager[None]:
    """Use `n` threads for calls that the calling thread makes inside the `with` block.

    Parameters
    ----------
    n : int
        At least 1.

    Returns
    -------
    context manager
        Blocks may be nested; leaving one, by an exception too, restores what was set before.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer of at least 1.

    Examples
    --------
    >>> import nnrs
    >>> with nnrs.threads(1):
    ...     nnrs.get_num_threads()
    1
    """
    return _local_threads(check_int("n", n, 1))


@contextmanager
def _local_threads(n: int) -> Iterator[None]:
    before = _core.set_local_num_threads(n)
    try:
        yield
    finally:
        _core.set_local_num_threads(before)


def set_float32_matmul_precision(mode: str) -> None:
    """Set how float32 matrix products are computed, by torch's names.

    Parameters
    ----------
    mode : {"highest", "high", "medium"}
        *highest*, the default, is plain float32 with fused multiply-add. *high* is as accurate and may use
        bf16 matrix units where the machine has them. *medium* multiplies in bf16 and sums in float32.
        A model reads the mode at each call, a frozen predictor keeps the one it was frozen under.

    Raises
    ------
    ValueError
        If `mode` is another word.

    Examples
    --------
    >>> import nnrs
    >>> nnrs.set_float32_matmul_precision("highest")
    >>> nnrs.get_float32_matmul_precision()
    'highest'
    """
    _core.set_float32_matmul_precision(check_choice("mode", mode, _PRECISIONS))


def get_float32_matmul_precision() -> str:
    """Return the mode set by `set_float32_matmul_precision`.

    Returns
    -------
    str

    Examples
    --------
    >>> import nnrs
    >>> nnrs.get_float32_matmul_precision() in ("highest", "high", "medium")
    True
    """
    return _core.get_float32_matmul_precision()


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show versions, instruction sets, threads and caches, as `numpy.show_config` does.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print a line each, or return a dict.

    Returns
    -------
    dict or None
        With `mode="dicts"`: `nnrs`, `python`, `numpy` and `machine` (str), `isa` (str, in use),
        `available_isas` (list), `num_threads` (int), `num_threads_source` (str), `cache_sizes` (dict of
        bytes), `float32_matmul_precision` (str).

    Raises
    ------
    ValueError
        If `mode` is another word.

    Examples
    --------
    >>> import nnrs
    >>> nnrs.show_config(mode="dicts")["num_threads"] == nnrs.get_num_threads()
    True
    """
    check_choice("mode", mode, ("stdout", "dicts"))
    found: dict[str, Any] = {
        "nnrs": _core.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "isa": _core.isa(),
        "available_isas": _core.available_isas(),
        "num_threads": _core.get_num_threads(),
        "num_threads_source": _core.num_threads_source(),
        "cache_sizes": _core.cache_sizes(),
        "float32_matmul_precision": _core.get_float32_matmul_precision(),
    }
    if mode == "dicts":
        return found
    width = max(map(len, found))
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {size // 1024} KiB" for key, size in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        print(f"{name:<{width}}  {value}")
    return None
