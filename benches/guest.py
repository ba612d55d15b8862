"""How nnrs behaves among others: processor time after a call, and two processes on the same cores."""

from __future__ import annotations

import resource
import time
from statistics import median

from nnrs.cli.bench import peers
from nnrs.cli.bench.contest import Result, Row
from nnrs.cli.bench.floor import Peaks
from nnrs.cli.bench.net import Net
from nnrs.cli.bench.worker import Workers

# Processor time counts from this long after a call, for as long as WATCHED.
GRACE = 0.001
WATCHED = 0.05


def idle_seconds(file: str, net: Net, rounds: int) -> list[float]:
    """Return the processor time used from 1 to 51 ms after a step, beyond that of sleeping so long."""
    call = peers.step(file, net).call
    found = []
    for _ in range(rounds):
        for _ in range(5):
            call()
        after = _used_while_asleep()
        time.sleep(0.2)
        found.append(max(after - _used_while_asleep(), 0.0))
    return found


def _used_while_asleep() -> float:
    time.sleep(GRACE)
    before = _used()
    time.sleep(WATCHED)
    return _used() - before


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def idle(row: Row, workers: Workers, peaks: Peaks | None, rounds: int) -> Result:  # noqa: ARG001
    """Ask every contestant in turn."""
    result = Result(row, {})
    for entry in row.entries:
        if entry.peer.missing:
            result.missing.append(entry.name)
            continue
        worker = workers.get(entry.peer.name, row.threads)
        result.values[entry.name] = worker.do("ask", "benches.guest:idle_seconds", (*entry.args, rounds))
    return result


def together(
    row: Row,
    workers: Workers,
    peaks: Peaks | None,  # noqa: ARG001
    rounds: int,
    seconds: float = 0.3,
) -> Result:
    """Run two processes of each contestant at once; return the share of its lone speed that each keeps."""
    result = Result(row, {})
    for entry in row.entries:
        if entry.peer.missing:
            result.missing.append(entry.name)
            continue
        pair = [workers.get(entry.peer.name, row.threads, number) for number in range(2)]
        for worker in pair:
            worker.do("prepare", entry.name, entry.build, entry.args)
        lone = median(worker.do("speed", entry.name, seconds) for _ in range(5) for worker in pair)
        shares = result.values[entry.name] = []
        for _ in range(rounds):
            for worker in pair:
                worker.send("speed", entry.name, seconds)
            shares += [worker.receive() / lone for worker in pair]
        workers.drop(entry.peer.name, row.threads, 1)
        pair[0].do("forget", entry.name)
    return result
