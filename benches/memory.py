"""What training takes of memory, and how fast rows of a file are learned that need not fit into it.

`python -m benches.memory`. Memory is what a process has of its own, without the pages of files (RssAnon, so
Linux only).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benches.rows import STEPS, TABLE
from benches.training import Data, drawn, targets, trainer
from nnrs import Trainer
from nnrs.cli import options
from nnrs.cli.bench.net import Net
from nnrs.cli.bench.peers import OURS
from nnrs.cli.bench.worker import Workers, cores
from nnrs.cli.report import columns

MIB = 1 << 20
# What stays in memory, to compare the file with.
BESIDE = 512 * MIB


class Cost(NamedTuple):
    """Seconds a row of each epoch, and the most bytes that came to those before them."""

    seconds: list[float]
    added: int


def own() -> int:
    """Return the bytes of memory that this process has of its own."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) * 1024
    raise OSError("this system does not tell RssAnon")


class Watch:
    """The most that `own` returns, asked every 5 ms."""

    def __init__(self) -> None:
        self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._done.wait(0.005):
            self.most = max(self.most, own())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.most = max(self.most, own())


def watched(net: Net, rows: Callable[[], Any], y: Any, epochs: int) -> Cost:
    """Train a new model, each epoch on what `rows` returns."""
    before, seconds = own(), []
    with Watch() as watch:
        ours = trainer(net)
        for _ in range(epochs):
            seconds.append(epoch(ours, rows(), y, net.batch))
            print(f"{net}, {len(y):,} rows: {1e6 * seconds[-1]:,.3f} µs a row", file=sys.stderr, flush=True)
    return Cost(seconds, watch.most - before)


def epoch(ours: Trainer, x: Any, y: Any, batch: int) -> float:
    """Return the seconds that a row takes."""
    begun = time.perf_counter()
    ours.fit(x, y, epochs=1, batch_size=batch, progress=False)
    return (time.perf_counter() - begun) / len(x)


def in_memory(net: Net, rows: int, epochs: int) -> Cost:
    """Train on an array; in a process of its own."""
    x, y = Data(rows, net).arrays()
    return watched(net, lambda: x, targets(net, y), epochs)


def mapped(net: Net, folder: str, epochs: int) -> Cost:
    """Train on a mapped file that the system has not in its memory when an epoch begins."""
    path = Path(folder, "x.npy")

    def rows() -> Any:
        forget(path)
        return np.load(path, mmap_mode="r")

    return watched(net, rows, np.load(Path(folder, "y.npy")), epochs)


def forget(path: Path) -> None:
    """Have the system drop a file's pages; those that are mapped stay."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write(net: Net, rows: int, folder: str) -> None:
    """Write the rows to learn, some at a time."""
    some = max(1, 64 * MIB // (4 * net.sizes[0]))
    shape = rows, net.sizes[0]
    x = np.lib.format.open_memmap(Path(folder, "x.npy"), "w+", np.float32, shape)
    labels = []
    for part, at in enumerate(range(0, rows, some)):
        x[at : at + some], y = drawn(net, min(some, rows - at), part)
        labels.append(targets(net, y))
        if part % 8 == 7:
            x.flush()
            print(f"\rwritten: {100 * at // rows} %", end="", file=sys.stderr, flush=True)
    x.flush()
    np.save(Path(folder, "y.npy"), np.concatenate(labels))
    os.sync()
    print("\rwritten: 100 %", file=sys.stderr)


def read_speed(folder: str) -> float:
    """Return how many bytes a second the file gives that is read in order, 8 MiB at a time, from the disk."""
    path = Path(folder, "x.npy")
    forget(path)
    with path.open("rb", buffering=0) as file:
        begun, count = time.perf_counter(), 0
        while count < 2048 * MIB and (part := file.read(8 * MIB)):
            count += len(part)
        return count / (time.perf_counter() - begun)


def workspace(net: Net, threads: int) -> int:
    """Return the bytes of a batch on its way: rows in two forms for each thread, each layer's in three."""
    rows = -(-net.batch // 16) * 16
    return 4 * rows * (2 * min(threads, 2) * net.sizes[0] + 3 * sum(net.sizes[1:]))


def peaks(workers: Workers, threads: int) -> list[list[str]]:
    lines = []
    for net in STEPS[4:]:
        cost = alone(workers, threads, "in_memory", net, 60_000, 1)
        state = 3 * 4 * sum(p.size for p in net.parameters())
        sizes = state, workspace(net, threads), cost.added
        lines.append([f"{net}, {net.batch}", *(f"{size / MIB:,.0f} MiB" for size in sizes)])
    return lines


def from_file(workers: Workers, args: argparse.Namespace, folder: str) -> dict[str, str]:
    net, threads, epochs = Net(tuple(args.net), args.batch), args.threads, args.epochs
    size = 4 * net.sizes[0]
    rows = max(net.batch, int(args.gigabytes * 1e9) // size)
    write(net, rows, folder)
    speed = read_speed(folder)
    few = min(rows, BESIDE // size)
    beside = [alone(workers, threads, "in_memory", net, few, epochs)]
    cost = alone(workers, threads, "mapped", net, folder, epochs)
    beside.append(alone(workers, threads, "in_memory", net, few, epochs))
    memory, file = median(s for cost in beside for s in cost.seconds), median(cost.seconds)
    return {
        "net, batch": f"{net}, {net.batch}",
        "file": f"{rows:,} rows, {rows * size / 1e9:,.1f} GB",
        "memory of this machine": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:,.1f} GB",
        "the file read in order": f"{speed / 1e6:,.0f} MB/s",
        f"{few:,} rows in memory": f"{memory * 1e6:,.3f} µs a row, {size / memory / 1e6:,.0f} MB/s",
        "the file mapped": f"{file * 1e6:,.3f} µs a row, {size / file / 1e6:,.0f} MB/s",
        "share of the speed in memory": f"{100 * memory / file:,.0f} %",
        "added to the process's own memory": f"{cost.added / MIB:,.0f} MiB",
    }


def alone(workers: Workers, threads: int, name: str, *args: Any) -> Cost:
    """Do something in a process that has done nothing before."""
    found: Cost = workers.get(OURS.name, threads).do("ask", f"benches.memory:{name}", args)
    workers.drop(OURS.name, threads)
    return found


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benches.memory",
        description="Memory that an epoch of fit adds to its data, and epochs over a mapped file.",
    )
    threads = min(2, len(cores()))
    add = parser.add_argument
    add("--gigabytes", type=options.positive, default=2.0, metavar="N", help="size of the file, default 2")
    add("--folder", metavar="FOLDER", help="where the file is made, and removed afterwards")
    add("--net", type=options.sizes, default=list(TABLE.sizes), metavar="WIDTHS", help=f"default {TABLE}")
    add("--batch", type=options.count, default=TABLE.batch, metavar="N", help=f"default {TABLE.batch}")
    add("--epochs", type=options.count, default=3, metavar="N", help="over the file, default 3")
    add("--threads", type=options.count, default=threads, metavar="N", help="default 2")
    add("--file-only", action="store_true", help="only the epochs over the file")
    args = parser.parse_args(argv)
    if args.folder is not None and not Path(args.folder).is_dir():
        parser.error(f"--folder {args.folder}: no such folder")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        own()
    except OSError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    with Workers() as workers:
        if not args.file_only:
            header = ["net, batch", "state", "workspace", "added in all"]
            print(columns(header, peaks(workers, args.threads)) + "\n", flush=True)
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            found = from_file(workers, args, folder)
            print("\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
