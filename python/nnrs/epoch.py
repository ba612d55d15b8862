"""An epoch as a loop of steps in Python: the order of its rows, its batches, its mean loss.

`_core.Session.epoch` does the same in one call. The loop here serves what needs Python between steps: modules
of the user's own, callbacks after each step, inputs to convert batch by batch, batches from an iterator.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core
from nnrs.features import mapping
from nnrs.random import derive_seed

__all__ = ["Batch", "cut", "nearby_rows", "run_batches", "shuffled_rows"]

Array = NDArray[Any]
Rows = NDArray[np.int64]
Batch = tuple[Array, Array, Array | None]
Progress = Callable[[int, float], None]

_PROGRESS_SECONDS = 0.05

_BLOCK = 4096
# Numbers of a buffer of blocks, 64 MB of float32, and how many blocks that may be.
_BUFFER = 1 << 24
_FEWEST_BLOCKS, _MOST_BLOCKS = 4, 256
# Bytes of which the system is told at once. Of more it may read no further than it reads ahead, by Linux's
# default 128 KiB, and every page behind them would be waited for.
_PIECE = 128 << 10


def shuffled_rows(seed: int, epoch: int, count: int, rows: Rows | None) -> Rows:
    """Return the order of an epoch's rows, as the core draws it.

    Parameters
    ----------
    seed, epoch : int
    count : int
        Rows of the data.
    rows : (n,) int64 or None
        Only these rows; all of them for None.

    Returns
    -------
    (n,) int64

    Examples
    --------
    >>> from nnrs.epoch import shuffled_rows
    >>> sorted(shuffled_rows(0, 0, 3, None).tolist())
    [0, 1, 2]
    """
    if rows is None:
        return _core.permutation(seed, "shuffle", epoch, count)
    return rows[_core.permutation(seed, "shuffle", epoch, len(rows))]


def nearby_rows(seed: int, epoch: int, x: Array, rows: Rows | None, batch_size: int) -> Iterator[Rows]:
    """Iterate over the order of an epoch in parts, each from few places: for data that lie in a file.

    Blocks of 4,096 rows come in random order; so many as hold 16 million numbers (but 4 to 256 of them) make
    a buffer, the rows of which are shuffled together. So a file is read nearly in order, and an epoch's order
    is never in memory as a whole. The system is told to read a buffer before it is used.

    Parameters
    ----------
    seed, epoch, rows
        As in `shuffled_rows`.
    x : (batch, …) array
    batch_size : int
        All parts but the last are whole batches.

    Yields
    ------
    (n,) int64

    Examples
    --------
    >>> from nnrs.epoch import nearby_rows
    >>> import numpy as np
    >>> parts = list(nearby_rows(0, 0, np.zeros((1_100_001, 1), "int8"), None, 32))
    >>> [len(part) % 32 for part in parts], sum(map(len, parts))
    ([0, 0, 1], 1100001)
    """
    total = len(x) if rows is None else len(rows)
    blocks = _core.permutation(seed, "shuffle", epoch, -(-total // _BLOCK))
    together = _BUFFER // (_BLOCK * max(1, x[:1].size))
    together = min(max(together, _FEWEST_BLOCKS), _MOST_BLOCKS)
    file = _File(x)
    left: Rows = np.empty(0, np.int64)
    with file.in_random_order():
        buffers = [(blocks[at : at + together] * _BLOCK).tolist() for at in range(0, len(blocks), together)]
        for part, starts in enumerate(buffers):
            if rows is None:
                # The first one, and then always the next one, while one is at work.
                for ahead in buffers[part + (part > 0) : part + 2]:
                    file.read_blocks(ahead, total)
            places = np.concatenate([np.arange(at, min(at + _BLOCK, total)) for at in starts])
            # One block alone has the order of rows in memory.
            drawn = derive_seed(seed, part + (len(blocks) > 1))
            places = places[_core.permutation(drawn, "shuffle", epoch, len(places))]
            left = np.concatenate([left, places if rows is None else rows[places]])
            whole = len(left) - len(left) % batch_size
            if whole:
                yield left[:whole]
                left = left[whole:]
        if len(left):
            yield left


class _File:
    """The file behind a mapped array, for advice on what will be read; any other array takes none."""

    def __init__(self, x: Array) -> None:
        mapped = mapping(x) if hasattr(mmap, "MADV_WILLNEED") and x.flags.c_contiguous else None
        self._mapped = mapped
        self._begin = x.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data if mapped else 0
        self._row = x[:1].nbytes

    def read_blocks(self, starts: list[int], count: int) -> None:
        """Have blocks of rows brought into memory."""
        if self._mapped is None:
            return
        for at in starts:
            first = (self._begin + at * self._row) // mmap.PAGESIZE * mmap.PAGESIZE
            last = self._begin + min(at + _BLOCK, count) * self._row
            for piece in range(first, last, _PIECE):
                self._mapped.madvise(mmap.MADV_WILLNEED, piece, min(_PIECE, last - piece))

    @contextmanager
    def in_random_order(self) -> Iterator[None]:
        """Keep the system from reading on where a row is read: the next one lies elsewhere."""
        if self._mapped is None:
            yield
            return
        self._mapped.madvise(mmap.MADV_RANDOM)
        try:
            yield
        finally:
            self._mapped.madvise(mmap.MADV_NORMAL)


def cut(x: Array, y: Array, weights: Array | None, order: Rows | None, batch_size: int) -> Iterator[Batch]:
    """Iterate over the batches of an epoch; views of the data where they are in order.

    Parameters
    ----------
    x, y : (batch, …) arrays
    weights : (batch,) float or None
    order : (n,) int64 or None
        Rows in the order wanted; all as they lie for None.
    batch_size : int

    Yields
    ------
    (xb, yb, weights or None)

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.epoch import cut
    >>> [len(xb) for xb, yb, wb in cut(np.zeros((3, 1)), np.zeros(3), None, None, 2)]
    [2, 1]
    """
    for start in range(0, len(x) if order is None else len(order), batch_size):
        part: Any = slice(start, start + batch_size)
        if order is not None:
            part = order[part]
        yield np.asarray(x[part]), y[part], None if weights is None else weights[part]


def run_batches(
    step: Callable[..., float],
    batches: Iterable[Batch],
    weigh: Callable[[Array, Array | None], float],
    on_step: Callable[[float], None] | None = None,
    progress: Progress | None = None,
) -> tuple[float, float]:
    """Do a step for each batch.

    Parameters
    ----------
    step : function (x, y, weights) → mean loss
    batches : iterable of (x, y, weights or None)
    weigh : function (y, weights) → what a batch counts in the mean over the epoch
    on_step : function (loss), optional
        Called after each step.
    progress : function (rows done, mean loss so far), optional
        Called at most every 50 ms.

    Returns
    -------
    (float, float)
        Sum of weight times loss, and sum of weights.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.epoch import cut, run_batches
    >>> batches = cut(np.zeros((3, 1)), np.zeros(3), None, None, 2)
    >>> run_batches(lambda x, y, weights: 0.5, batches, lambda y, weights: len(y))
    (1.5, 3.0)
    """
    total = weight = 0.0
    rows = 0
    seen = time.monotonic()
    for xb, yb, wb in batches:
        loss = step(xb, yb, wb)
        part = weigh(yb, wb)
        total, weight, rows = total + loss * part, weight + part, rows + len(xb)
        if on_step is not None:
            on_step(loss)
        if progress is not None and time.monotonic() - seen >= _PROGRESS_SECONDS:
            seen = time.monotonic()
            progress(rows, total / weight if weight else loss)
    return total, weight
