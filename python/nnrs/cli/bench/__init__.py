"""`nnrs bench`: training steps and predictions, beside the same in NumPy by hand and in other libraries."""

from __future__ import annotations

import argparse
from typing import Any

from nnrs import _core
from nnrs.cli import options
from nnrs.cli.bench import table
from nnrs.cli.bench.contest import measure, prediction_row, step_row
from nnrs.cli.bench.floor import Peaks
from nnrs.cli.bench.net import Net
from nnrs.cli.bench.peers import PEERS
from nnrs.cli.bench.worker import Workers

__all__ = ["add_parser"]

_NETS = (Net((64, 32, 10), 32), Net((784, 128, 64, 10), 64), Net((784, 512, 256, 10), 128))


def add_parser(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "bench",
        help="time training steps and predictions against NumPy and other libraries",
        description="Time a training step (Adam, cross-entropy), and the prediction of one row by one "
        "thread, beside the same in NumPy by hand and in other libraries. They take turns; medians, with the "
        "10th and 90th percentile. The ratio is that of the fastest other to nnrs. The floor is the time "
        "that the operations, or the bytes that must move, take at this machine's peak.",
    )
    parser.add_argument(
        "--peers",
        type=_peers,
        default=["numpy"],
        metavar="NAME,…",
        help=f"of {', '.join(PEERS)}; or all (default numpy)",
    )
    parser.add_argument(
        "--sizes",
        type=options.sizes,
        metavar="64,32,10",
        help="inputs, hidden widths, outputs (default: three nets)",
    )
    parser.add_argument(
        "--batch-size", type=options.count, metavar="N", help="rows in a step (default: by the net)"
    )
    parser.add_argument(
        "--rounds", type=options.count, default=30, metavar="N", help="turns of each (default 30)"
    )
    parser.add_argument(
        "--threads",
        type=options.count,
        default=_core.get_num_threads(),
        metavar="N",
        help=f"of a step (default {_core.get_num_threads()})",
    )
    parser.set_defaults(run=run, usage_error=parser.error)


def _peers(text: str) -> list[str]:
    names = list(PEERS) if text == "all" else text.split(",")
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"expected all, or some of {', '.join(PEERS)}, got {name!r}")
    return names


def run(args: argparse.Namespace) -> int:
    """Measure, and print a table of steps and one of predictions."""
    nets: tuple[Net, ...] = _NETS
    if args.sizes is not None:
        if len(args.sizes) < 2:
            args.usage_error("argument --sizes: expected inputs and outputs at least, such as 64,10")
        nets = (Net(tuple(args.sizes), 32),)
    peers = [PEERS[name] for name in args.peers]
    for peer in peers:
        if peer.missing:
            print(f"{peer.name} is left out: not installed ({', '.join(peer.missing)})")
    rows = [step_row(Net(net.sizes, args.batch_size or net.batch), args.threads, peers) for net in nets]
    rows += [prediction_row(Net(net.sizes, 1), 1, peers) for net in nets]
    print(f"nnrs {_core.__version__} ({_core.isa()})")
    with Workers() as workers:
        peaks = Peaks(workers)
        results = [measure(row, workers, peaks, args.rounds) for row in rows]
    for group in table.by_group(results).values():
        print("\n" + table.text(*table.cells(group)))
    return 0
