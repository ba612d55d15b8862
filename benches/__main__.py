"""Time nnrs against NumPy by hand, torch, JAX, scikit-learn and ONNX Runtime: `python -m benches`."""

from __future__ import annotations

import argparse
import re
import sys

from benches import machine, plot, report
from benches.rows import jobs
from nnrs.cli import options
from nnrs.cli.bench.contest import Result
from nnrs.cli.bench.floor import Peaks
from nnrs.cli.bench.peers import PEERS
from nnrs.cli.bench.worker import Workers, cores


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benches",
        description="Time nnrs against NumPy by hand, torch, JAX, scikit-learn and ONNX Runtime, each in its "
        "best form and in a process of its own. They take turns; what is printed are medians, with the 10th "
        "and 90th percentile in brackets. The ratio is that of the fastest other to nnrs.",
    )
    default = min(2, len(cores()))
    parser.add_argument("--only", type=re.compile, metavar="REGEX", help="rows whose 'group: name' has this")
    parser.add_argument("--list", action="store_true", help="print the names of the rows, and no more")
    parser.add_argument("--rounds", type=options.count, default=30, metavar="N", help="default 30")
    parser.add_argument("--threads", type=options.count, default=default, metavar="N", help="default 2")
    parser.add_argument("--mnist", metavar="FOLDER", help="MNIST's four files; random rows without it")
    parser.add_argument("--json", metavar="FILE", help="write everything, every round's value too")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios (needs matplotlib)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown at the end")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    found = [
        job
        for job in jobs(args.threads, list(PEERS.values()), args.mnist)
        if args.only is None or args.only.search(job.name)
    ]
    if args.list or not found:
        print("\n".join(job.name for job in found) or "no row has this name; --list prints them")
        return 0 if found else 2
    missing = [f"{peer.name} ({', '.join(peer.missing)})" for peer in PEERS.values() if peer.missing]
    if missing:
        print(f"not installed: {', '.join(missing)}")
    block = machine.describe(args.threads, args.rounds)
    results: list[Result] = []
    failures: list[str] = []
    with Workers() as workers:
        peaks = Peaks(workers)
        block |= machine.peaks(peaks, args.threads)
        print("\n".join(f"{name:<16}{value}" for name, value in block.items()), flush=True)
        try:
            for number, job in enumerate(found, 1):
                print(f"[{number}/{len(found)}] {job.name}", file=sys.stderr, flush=True)
                try:
                    results.append(job.run(job.row, workers, peaks, args.rounds))
                except RuntimeError as error:
                    failures.append(f"{job.name}: {error}")
                    print(failures[-1], file=sys.stderr, flush=True)
                last = number == len(found) or found[number].row.group != job.row.group
                members = [result for result in results if result.row.group == job.row.group]
                if last and members:
                    print("\n" + report.terminal(members), flush=True)
        finally:
            # What has been measured is kept, even of a run that was interrupted.
            if args.json:
                report.write_json(args.json, block, results, missing)
    if args.plot:
        plot.draw(args.plot, results)
    if args.markdown:
        print("\n" + report.markdown(block, results, missing))
    if failures:
        print(f"\n{len(failures)} rows failed:\n" + "\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
