"""Everything that is measured, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from benches import functions, guest
from benches.training import Data
from nnrs.cli.bench.contest import Entry, Result, Row, measure, prediction_row, step_row
from nnrs.cli.bench.floor import Peaks
from nnrs.cli.bench.net import Net
from nnrs.cli.bench.peers import OURS, PEERS, Peer
from nnrs.cli.bench.worker import Workers

STEPS = (
    Net((2, 8, 1), 32),
    Net((64, 32, 10), 32),
    Net((64, 128, 10), 64),
    Net((784, 128, 64, 10), 64),
    Net((784, 512, 256, 10), 128),
    Net((784, 1024, 1024, 10), 256),
    Net((784, 2048, 2048, 10), 512),
)
SINGLE_ROWS = ((4, 16, 3), (64, 32, 10), (30, 64, 64, 1), (784, 128, 64, 10), (784, 512, 256, 10))
BATCHES = ((784, 512, 256, 10), (784, 1024, 1024, 10), (784, 2048, 2048, 10))
MNIST = Net((784, 512, 512, 10), 128)
DROPOUT = 0.2
TABLE = Net((30, 64, 64, 1), 256)
MILLION = 1_000_000
# Nets whose steps take 50 µs and more, and the rows over which `fit` is compared with them.
LONG_STEPS = STEPS[3:6]
FIT_ROWS = 20_480


class Job(NamedTuple):
    """A row, and how it is measured."""

    row: Row
    run: Callable[[Row, Workers, Peaks | None, int], Result] = measure

    @property
    def name(self) -> str:
        return f"{self.row.group}: {self.row.name}"


def jobs(threads: int, peers: Sequence[Peer], mnist: str | None = None) -> Iterator[Job]:
    """Yield every job.

    Parameters
    ----------
    threads : int
        Of all rows but the predictions of one row.
    peers : sequence of Peer
    mnist : str, optional
        A folder with MNIST's files; random rows of their shape without it.
    """
    for net in STEPS:
        yield Job(step_row(net, threads, peers))
    for sizes in SINGLE_ROWS:
        yield Job(prediction_row(Net(sizes, 1), 1, peers))
    for batch in (64, 1024):
        for sizes in BATCHES:
            yield Job(prediction_row(Net(sizes, batch), threads, peers))
    yield Job(
        _epoch("MNIST" if mnist else "60,000 rows", Data(60_000, MNIST, mnist), DROPOUT, threads, peers)
    )
    yield Job(_million(threads, peers))
    for net in LONG_STEPS:
        yield Job(_overhead(net, threads))
    yield Job(_scale(threads))
    if threads > 1:
        for net in STEPS:
            yield Job(_threads(net, threads))
    for row in functions.rows(threads, peers):
        yield Job(row)
    net = STEPS[5]
    shared = replace(step_row(net, threads, peers), compared=False)
    yield Job(replace(shared, group="processor time 1 to 51 ms after a step", works=()), guest.idle)
    for net in (STEPS[4], STEPS[5]):
        row = replace(step_row(net, threads, peers), group="speed kept by each of two processes at once")
        yield Job(replace(row, works=(), unit="share", compared=False), guest.together)


def _epoch(name: str, data: Data, dropout: float, threads: int, peers: Sequence[Peer]) -> Row:
    entries = [Entry("nnrs", OURS, "benches.training:fit", (data, dropout))]
    if PEERS["torch"] in peers:
        entries.append(Entry("torch", PEERS["torch"], "benches.training:torch_loop", (data, dropout)))
    mark = f", dropout {dropout}" if dropout else ""
    label = f"{name}, {data.net}{mark}, batch {data.net.batch}"
    return Row("epoch", label, threads, tuple(entries), data.epoch())


def _million(threads: int, peers: Sequence[Peer]) -> Row:
    data = Data(MILLION, TABLE)
    row = _epoch(f"{MILLION:,} rows", data, 0.0, threads, peers)
    beside = []
    if PEERS["torch"] in peers:
        build = "benches.training:torch_loader"
        beside.append(Entry("torch, DataLoader", PEERS["torch"], build, (data, 0.0), rarely=True))
    if PEERS["scikit-learn"] in peers:
        build = "benches.training:scikit_learn"
        beside.append(Entry("scikit-learn", PEERS["scikit-learn"], build, (data,), rarely=True))
    return replace(row, entries=row.entries + tuple(beside))


def _overhead(net: Net, threads: int) -> Row:
    data = Data(FIT_ROWS, net)
    count = FIT_ROWS // net.batch
    entries = (
        Entry("fit", OURS, "benches.training:fit", (data, 0.0), per=count),
        Entry("its steps by hand", OURS, "benches.training:steps", (data,), per=count),
    )
    return Row("a step inside fit", f"{net}, batch {net.batch}", threads, entries, (net.step(),))


def _scale(threads: int) -> Row:
    entries = tuple(
        Entry(f"{rows:,} rows", OURS, "benches.training:fit_unchecked", (Data(rows, TABLE), 0.0), per=rows)
        for rows in (1_000_000, 100_000, 10_000)
    )
    work = TABLE.step().times(1 / TABLE.batch)
    return Row("time of a row in an epoch", f"{TABLE}, batch {TABLE.batch}", threads, entries, (work,))


def _threads(net: Net, threads: int) -> Row:
    entries = tuple(
        Entry(
            f"{count} thread{'s' * (count > 1)}", OURS, "nnrs.cli.bench.peers:step", (OURS.file, net), count
        )
        for count in (threads, 1)
    )
    return Row("threads", f"{net}, batch {net.batch}", threads, entries, (net.step(),))
