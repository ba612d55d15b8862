"""`nnrs info`: versions, instruction sets, threads and why, caches."""

from __future__ import annotations

import argparse
from typing import Any

from nnrs.config import show_config

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "info",
        help="versions, instruction sets, threads and caches",
        description="Print versions, instruction sets in use and available, threads and why, and caches.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:  # noqa: ARG001
    """Print what this process found."""
    show_config()
    return 0
