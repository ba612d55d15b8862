"""An epoch as a loop of steps in Python: the order of its rows, its batches, its mean loss.

`_core.Session.epoch` does the same in one call. The loop here serves what needs Python between steps: modules
of the user's own, callbacks after each step, inputs to convert batch by batch, batches from an iterator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core

__all__ = ["Batch", "cut", "run_batches", "shuffled_rows"]

Array = NDArray[Any]
Rows = NDArray[np.int64]
Batch = tuple[Array, Array, Array | None]
Progress = Callable[[int, float], None]

_PROGRESS_SECONDS = 0.05


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
