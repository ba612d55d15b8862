"""Where the steps of an epoch come from: arrays, or an iterable of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nnrs.epoch import Batch, Progress, cut, run_batches, shuffled_rows
from nnrs.nearby import nearby_parts

__all__ = ["ArraySource", "BatchSource", "Source"]

Array = NDArray[Any]
Rows = NDArray[np.int64]
Current = Callable[[], Any]
OnStep = Callable[[float], None]
Weigh = Callable[[Array, Array | None], float]


class Source(Protocol):
    """Training data.

    Attributes
    ----------
    rows_an_epoch : int or None
        None where it is not known before the end.

    Examples
    --------
    >>> from nnrs.source import BatchSource, Source
    >>> source: Source = BatchSource([], list)
    """

    @property
    def rows_an_epoch(self) -> int | None:
        """Rows of an epoch."""
        ...

    def run(
        self, current: Current, epoch: int, weigh: Weigh, on_step: OnStep | None, progress: Progress | None
    ) -> tuple[float, float]:
        """Do the steps of an epoch; return the sums of weight times loss and of weights."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Arrays: an epoch is one call of the session, or a loop of steps where something must happen between.

    Attributes
    ----------
    x : (batch, …) array
    y : (batch, …) array
        As the loss takes it.
    sample_weight : (batch,) float64 or None
    rows : (n,) int64 or None
        Only these rows.
    batch_size : int
    shuffle : bool
    seed : int
        Of the shuffles.
    by_step : bool
        Whether batches are converted one by one, because `x` lies in a file and has another dtype.
    nearby : str or None
        Shuffle as `nnrs.nearby.nearby_parts` does, because `x` lies in a file; rows become of this dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.source import ArraySource
    >>> ArraySource(np.zeros((5, 2)), np.zeros(5), None, None, 2, True, 0, False).rows_an_epoch
    5
    """

    x: Array
    y: Array
    sample_weight: Array | None
    rows: Rows | None
    batch_size: int
    shuffle: bool
    seed: int
    by_step: bool
    nearby: str | None = None

    @property
    def rows_an_epoch(self) -> int:
        """Rows of an epoch."""
        return len(self.x) if self.rows is None else len(self.rows)

    def run(
        self, current: Current, epoch: int, weigh: Weigh, on_step: OnStep | None, progress: Progress | None
    ) -> tuple[float, float]:
        """Do the steps of an epoch.

        Parameters
        ----------
        current : function () → Session
            Asked before each call: what happens between steps may change it.
        epoch : int
            Numbers the shuffle.
        weigh : function (y, weights) → what a batch counts in the mean
        on_step : function (loss), optional
        progress : function (rows, loss), optional

        Returns
        -------
        (float, float)
            Sum of weight times loss, and sum of weights.
        """
        if self.nearby is not None:
            return self._run_parts(self.nearby, current, epoch, weigh, on_step, progress)
        if on_step is None and not self.by_step:
            total, weight = current().epoch(
                self.x,
                self.y,
                self.sample_weight,
                batch_size=self.batch_size,
                epoch=epoch,
                shuffle=self.shuffle,
                rows=self.rows,
                progress=progress,
            )
            return total, weight
        rows = self.rows
        order = shuffled_rows(self.seed, epoch, len(self.x), rows) if self.shuffle else rows
        batches = cut(self.x, self.y, self.sample_weight, order, self.batch_size)
        return run_batches(_step_of(current), batches, weigh, on_step, progress)

    def _run_parts(
        self,
        dtype: str,
        current: Current,
        epoch: int,
        weigh: Weigh,
        on_step: OnStep | None,
        progress: Progress | None,
    ) -> tuple[float, float]:
        total = weight = 0.0
        done = 0
        data = self.x, self.y, self.sample_weight, self.rows
        for x, y, weights, order in nearby_parts(*data, dtype, self.batch_size, self.seed, epoch):
            source = ArraySource(x, y, weights, order, self.batch_size, False, self.seed, False)
            report = None if progress is None else _after(progress, done, total)
            found = source.run(current, epoch, weigh, on_step, report)
            total, weight, done = total + found[0], weight + found[1], done + len(order)
        return total, weight


def _after(progress: Progress, done: int, total: float) -> Progress:
    """Report rows and mean loss of an epoch from those of a part of it."""

    def report(rows: int, loss: float) -> None:
        progress(done + rows, (total + loss * rows) / (done + rows))

    return report


@dataclass(frozen=True)
class BatchSource:
    """An iterable of batches, gone through once an epoch.

    Attributes
    ----------
    batches : iterable
    read : function (batch) → (x, y, weights or None)
        Checks one and brings it into the form that a step takes.

    Examples
    --------
    >>> from nnrs.source import BatchSource
    >>> BatchSource([], list).rows_an_epoch is None
    True
    """

    batches: Iterable[Any]
    read: Callable[[Any], Batch]

    @property
    def rows_an_epoch(self) -> None:
        """Return None: nobody knows before the end."""
        return

    def run(
        self, current: Current, epoch: int, weigh: Weigh, on_step: OnStep | None, progress: Progress | None
    ) -> tuple[float, float]:
        """Do a step for each batch.

        Parameters
        ----------
        current, epoch, weigh, on_step, progress
            As in `ArraySource.run`.

        Returns
        -------
        (float, float)
            Sum of weight times loss, and sum of weights.

        Raises
        ------
        ValueError
            If there is no batch.
        """
        return run_batches(_step_of(current), self._read_all(epoch), weigh, on_step, progress)

    def _read_all(self, epoch: int) -> Iterator[Batch]:
        empty = True
        for batch in self.batches:
            empty = False
            yield self.read(batch)
        if empty:
            raise ValueError(
                f"x gave no batches in epoch {epoch + 1}; expected an iterable that starts anew in every "
                "epoch, such as nnrs.data.batches (a generator ends with its first pass)"
            )


def _step_of(current: Current) -> Callable[..., float]:
    def step(*batch: Any) -> float:
        loss: float = current().step(*batch)
        return loss

    return step
