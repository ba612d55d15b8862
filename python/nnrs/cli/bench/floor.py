"""The floor of a row: no contestant can need less time than its operations or its bytes.

max(FLOPs / FMA peak, bytes that must move / bandwidth of the cache level where they live), both peaks
measured in the same run, on as many cores as the row has threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from nnrs.cli.bench.net import Work
from nnrs.cli.bench.peers import OURS
from nnrs.cli.bench.worker import Workers

try:
    from nnrs._core import fma_peak, read_bandwidth
except ImportError:
    from nnrs.cli.bench.standin import fma_peak, read_bandwidth

__all__ = ["Peaks", "fma", "read"]

_SMALLEST = 4096


def fma(threads: int) -> float:
    """Return float32 operations a second, of all threads together.

    Examples
    --------
    >>> from nnrs.cli.bench import floor
    >>> floor.fma(1) > 1e8
    True
    """
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda _: fma_peak("float32"), range(threads)))


def read(size: int, threads: int) -> float:
    """Return bytes read a second, of all threads together, each with a buffer of `size` bytes.

    Examples
    --------
    >>> from nnrs.cli.bench import floor
    >>> floor.read(1 << 14, 1) > 1e8
    True
    """
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda _: read_bandwidth(size), range(threads)))


class Peaks:
    """Peaks of this machine, measured when first asked for.

    Parameters
    ----------
    workers : Workers
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._fma: dict[int, float] = {}
        self._read: dict[tuple[int, int], float] = {}

    def fma(self, threads: int) -> float:
        """Return operations a second: the best of five measurements."""
        if threads not in self._fma:
            self._fma[threads] = max(self._ask("fma", threads, threads=threads) for _ in range(5))
        return self._fma[threads]

    def read(self, resident: float, threads: int) -> float:
        """Return bytes a second where `resident` bytes lie, of which each core has its share."""
        key = max(int(resident / threads), _SMALLEST), threads
        if key not in self._read:
            self._read[key] = max(self._ask("read", *key, threads=threads) for _ in range(3))
        return self._read[key]

    def floor(self, works: Sequence[Work], threads: int) -> float:
        """Return the seconds below which no work of a row can be."""
        return max(
            max(work.flops / self.fma(threads), work.moved / self.read(work.resident, threads))
            for work in works
        )

    def _ask(self, function: str, *args: int, threads: int) -> float:
        found: float = self._workers.get(OURS.name, threads).do(
            "ask", f"nnrs.cli.bench.floor:{function}", args
        )
        return found
