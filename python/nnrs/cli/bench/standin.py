"""Both peaks by NumPy, where the core does not measure them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["fma_peak", "read_bandwidth"]


def fma_peak(dtype: str, seconds: float = 0.05) -> float:
    """Return operations a second of one core, from products of 512 × 512 matrices.

    Examples
    --------
    >>> from nnrs.cli.bench.standin import fma_peak
    >>> fma_peak("float32", 0.01) > 1e8
    True
    """
    a = np.ones((512, 512), dtype)
    out = np.empty_like(a)
    threads = int(os.environ.get("OPENBLAS_NUM_THREADS", "1"))
    return 2 * 512**3 / threads / _fastest(lambda: np.dot(a, a, out=out), seconds)


def read_bandwidth(bytes: int, seconds: float = 0.05) -> float:  # noqa: A002
    """Return bytes a second that one core reads from a buffer of so many.

    Examples
    --------
    >>> from nnrs.cli.bench.standin import read_bandwidth
    >>> read_bandwidth(1 << 16, 0.01) > 1e8
    True
    """
    a = np.ones(max(bytes // 4, 1), np.float32)
    return a.nbytes / _fastest(lambda: np.maximum.reduce(a), seconds)


def _fastest(call: Callable[[], Any], seconds: float) -> float:
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begun)
    return best
