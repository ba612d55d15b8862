"""The command `nnrs`: train, predict, bench, info.

Exit codes: 0 done, 1 the data or a file was wrong (one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from nnrs._core import FileFormatError, __version__
from nnrs.cli import bench, info, predict, train
from nnrs.cli.table import DataError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the command's name; those of the process by default.

    Returns
    -------
    int
        The exit code.

    Examples
    --------
    >>> from nnrs.cli import main
    >>> main(["info", "--help"])  # doctest: +ELLIPSIS
    usage: nnrs info ...
    0
    """
    try:
        args = _parser().parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse: 0 after --help, 2 after wrong usage
        return stop.code if isinstance(stop.code, int) else 2
    except BrokenPipeError:
        # The reader, such as `head`, has had enough. Python would complain when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (DataError, FileFormatError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(
            f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        )
    except KeyboardInterrupt:
        print("nnrs: interrupted", file=sys.stderr)
        return 130
    return code


def _fail(message: str) -> int:
    print("nnrs:", " ".join(message.split()), file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nnrs", description="Train and use dense neural networks.")
    parser.add_argument("--version", action="version", version=f"nnrs {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (train, predict, bench, info):
        command.add_parser(commands)
    return parser
