"""A row of the benchmark: contestants that do the same work, taking turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnrs.cli.bench.floor import Peaks
from nnrs.cli.bench.net import Net, Work
from nnrs.cli.bench.peers import OURS, Peer
from nnrs.cli.bench.worker import Checks, Worker, Workers

__all__ = ["DisagreementError", "Entry", "Result", "Row", "measure", "prediction_row", "step_row"]


class DisagreementError(RuntimeError):
    """Two contestants that compute different things, so that their times have no ratio."""


@dataclass(frozen=True)
class Entry:
    """One contestant in a row.

    Attributes
    ----------
    name : str
    peer : Peer
        In whose process it runs.
    build : str
        "module:function" that returns a `Prepared`.
    args : tuple
    threads : int, optional
        Other than the row's.
    per : int
        The time of a call is divided by it.
    rarely : bool
        Takes part in every tenth round only.

    Examples
    --------
    >>> from nnrs.cli.bench.contest import Entry
    >>> from nnrs.cli.bench.peers import OURS
    >>> Entry("nnrs", OURS, "nnrs.cli.bench.peers:step").per
    1
    """

    name: str
    peer: Peer
    build: str
    args: tuple[Any, ...] = ()
    threads: int | None = None
    per: int = 1
    rarely: bool = False


@dataclass(frozen=True)
class Row:
    """What is compared.

    Attributes
    ----------
    group : str
        Rows of a group make a table.
    name : str
    threads : int
    entries : tuple of Entry
        The first one is compared with the fastest of the others.
    works : tuple of Work
        Each has a floor; the row's is the highest.
    unit : {"s", "share"}
    compared : bool
        Whether the ratio means anything.

    Examples
    --------
    >>> from nnrs.cli.bench.contest import Row
    >>> Row("step", "4-3-2", 1, ()).unit
    's'
    """

    group: str
    name: str
    threads: int
    entries: tuple[Entry, ...]
    works: tuple[Work, ...] = ()
    unit: str = "s"
    compared: bool = True


@dataclass
class Result:
    """What a row came to.

    Attributes
    ----------
    row : Row
    values : dict of list of float
        By contestant, one a round.
    floor : float or None
    missing : list of str
        Contestants that are not installed.

    Examples
    --------
    >>> from nnrs.cli.bench.contest import Result, Row
    >>> result = Result(Row("step", "4-3-2", 1, ()), {"nnrs": [1.0, 2.0, 3.0], "NumPy": [6.0], "JAX": [5.0]})
    >>> result.quantiles("nnrs"), result.fastest, result.ratio
    ((1.2, 2.0, 2.8), 'JAX', 2.5)
    """

    row: Row
    values: dict[str, list[float]]
    floor: float | None = None
    missing: list[str] = field(default_factory=list)

    def quantiles(self, name: str) -> tuple[float, float, float]:
        """Return 10th percentile, median and 90th percentile."""
        low, middle, high = np.percentile(self.values[name], [10, 50, 90]).tolist()
        return low, middle, high

    @property
    def subject(self) -> str:
        """Who is compared with the others."""
        return next(iter(self.values))

    @property
    def fastest(self) -> str | None:
        """The one of the others with the smallest median."""
        others = list(self.values)[1:] if self.row.compared else []
        return min(others, key=lambda name: self.quantiles(name)[1], default=None)

    @property
    def ratio(self) -> float | None:
        """Median of the fastest other over median of the subject."""
        if self.fastest is None:
            return None
        return self.quantiles(self.fastest)[1] / self.quantiles(self.subject)[1]


def step_row(net: Net, threads: int, peers: Sequence[Peer]) -> Row:
    """Return the row of a training step.

    Examples
    --------
    >>> from nnrs.cli.bench.contest import step_row
    >>> from nnrs.cli.bench.net import Net
    >>> step_row(Net((4, 3, 2), 5), 1, []).name
    '4-3-2, batch 5'
    """
    peers = [OURS, *(peer for peer in peers if peer.trains)]
    entries = tuple(Entry(peer.name, peer, "nnrs.cli.bench.peers:step", (peer.file, net)) for peer in peers)
    return Row("training step", f"{net}, batch {net.batch}", threads, entries, (net.step(),))


def prediction_row(net: Net, threads: int, peers: Sequence[Peer]) -> Row:
    """Return the row of a prediction.

    Examples
    --------
    >>> from nnrs.cli.bench.contest import prediction_row
    >>> from nnrs.cli.bench.net import Net
    >>> prediction_row(Net((4, 3, 2), 1), 1, []).name
    '4-3-2, one row'
    """
    build = "nnrs.cli.bench.peers:prediction"
    entries = tuple(Entry(peer.name, peer, build, (peer.file, net)) for peer in [OURS, *peers])
    rows = "one row" if net.batch == 1 else f"batch {net.batch}"
    return Row("prediction", f"{net}, {rows}", threads, entries, (net.prediction(),))


def measure(row: Row, workers: Workers, peaks: Peaks | None, rounds: int) -> Result:
    """Let the contestants that are installed take turns.

    Parameters
    ----------
    row : Row
    workers : Workers
    peaks : Peaks or None
        For the floor.
    rounds : int

    Raises
    ------
    DisagreementError
        If a contestant computes something else than the first one.
    RuntimeError
        If one fails.
    """
    entries = [entry for entry in row.entries if not entry.peer.missing]
    missing = [entry.name for entry in row.entries if entry.peer.missing]
    floor = None if peaks is None or not row.works else peaks.floor(row.works, row.threads)
    result = Result(row, {entry.name: [] for entry in entries}, floor, missing)
    processes = {entry.name: workers.get(entry.peer.name, entry.threads or row.threads) for entry in entries}
    try:
        _prepare(row, entries, processes)
        for number in range(rounds):
            turn = number % len(entries)
            for entry in entries[turn:] + entries[:turn]:
                if not entry.rarely or number % 10 == 0:
                    seconds = processes[entry.name].do("block", entry.name)
                    result.values[entry.name].append(seconds / entry.per)
    finally:
        for name, process in processes.items():
            if process.alive:
                process.do("forget", name)
    return result


def _prepare(row: Row, entries: list[Entry], processes: dict[str, Worker]) -> None:
    first: Checks | None = None
    for entry in entries:
        found: Checks = processes[entry.name].do("prepare", entry.name, entry.build, entry.args)
        first = found if first is None else first
        for what in first.keys() & found.keys():
            (expected, tolerance), (values, _) = first[what], found[what]
            allowed = tolerance * np.max(np.abs(expected), initial=0.0)
            # Written so that NaN disagrees.
            if values.shape != expected.shape or not np.max(np.abs(values - expected), initial=0) <= allowed:
                raise DisagreementError(
                    f"{row.group} {row.name}: {entry.name} and {entries[0].name} disagree on the {what}: "
                    f"{_some(values)} and {_some(expected)}"
                )


def _some(values: Any) -> str:
    return np.array2string(np.ravel(values)[:5], precision=6, separator=", ")
