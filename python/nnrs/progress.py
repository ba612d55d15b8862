"""A bar of one line on a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from nnrs.history import format_value

__all__ = ["Bar"]

_WIDTH = 10
_SECONDS = 0.05


class Bar:
    """Epoch, share of it done, and the latest results, drawn over itself.

    Parameters
    ----------
    epochs : int
        Epochs of this run.
    rows : int or None
        Rows of an epoch; None where it is not known, then the rows are counted.
    stream : text file, optional
        stderr without it.

    Examples
    --------
    >>> import io
    >>> from nnrs.progress import Bar
    >>> out = io.StringIO()
    >>> bar = Bar(epochs=2, rows=100, stream=out)
    >>> bar.update(50, 0.25)
    >>> bar.close()
    >>> out.getvalue().split()[:3]
    ['epoch', '1/2', '|#####-----|']
    """

    def __init__(self, epochs: int, rows: int | None, stream: TextIO | None = None) -> None:
        self._epochs = epochs
        self._rows = rows
        self._stream = sys.stderr if stream is None else stream
        self._epoch = 1
        self._results = ""
        self._drawn = 0
        self._last = 0.0
        self._begun = time.perf_counter()

    @staticmethod
    def wanted(progress: bool | None) -> bool:
        """Return whether to draw: as told, or on a terminal where nothing is told."""
        if progress is None:
            return sys.stderr is not None and sys.stderr.isatty()
        return bool(progress)

    def update(self, rows: int, loss: float) -> None:
        """Show `rows` of the epoch done, with the mean loss so far; at most every 50 ms."""
        now = time.perf_counter()
        if now - self._last < _SECONDS:
            return
        self._last = now
        if self._rows:
            done = min(_WIDTH, rows * _WIDTH // self._rows)
            share = "|" + "#" * done + "-" * (_WIDTH - done) + "|"
        else:
            share = f"{rows} rows"
        self._draw(f"{share} {self._results or 'loss ' + format_value('loss', loss)}")

    def end_epoch(self, logs: dict[str, float]) -> None:
        """Show the results of a whole epoch."""
        parts = [
            f"{name} {format_value(name, value)}"
            for name, value in logs.items()
            if name not in ("epoch", "seconds")
        ]
        self._results = " ".join(parts)
        self._draw("|" + "#" * _WIDTH + "| " + self._results)
        self._epoch += 1

    def _draw(self, rest: str) -> None:
        seconds = time.perf_counter() - self._begun
        line = f"epoch {min(self._epoch, self._epochs)}/{self._epochs} {rest} {seconds:.1f} s"
        line = line[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + line.ljust(self._drawn))
        self._stream.flush()
        self._drawn = len(line)

    def close(self) -> None:
        """Leave the line as it stands and go on below it."""
        if self._drawn:
            self._stream.write("\n")
            self._stream.flush()
            self._drawn = 0
