"""Rules for the whole test run.

A test is skipped for one reason only: the machine lacks something. The reason says what, as
`needs <kind> <name>` with a kind of `_HAVE`, and a skip of something that is there is a failure.
"""

from __future__ import annotations

import functools
import importlib.util
import mmap
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator

import hypothesis
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# Machines of any speed run the same examples.
hypothesis.settings.register_profile("nnrs", deadline=None, derandomize=True)
hypothesis.settings.load_profile("nnrs")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _isas() -> list[str]:
    from nnrs import _core

    return _core.available_isas()


@functools.cache
def _reads_past_the_cache() -> bool:
    """Return whether the file system of temporary files can, and drops a file that was just written."""
    with tempfile.NamedTemporaryFile() as file, mmap.mmap(-1, mmap.PAGESIZE) as page:
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
        os.fsync(file.fileno())
        try:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            try:
                os.preadv(file.fileno(), [page], 0, os.RWF_NOWAIT)
            except BlockingIOError:
                direct = os.open(file.name, os.O_RDONLY | os.O_DIRECT)
            else:
                return False
            try:
                return os.preadv(direct, [page], 0) == mmap.PAGESIZE
            finally:
                os.close(direct)
        except (AttributeError, OSError):
            return False


_HAVE: dict[str, Callable[[str], bool]] = {
    "module": lambda name: importlib.util.find_spec(name) is not None,
    "program": lambda name: shutil.which(name) is not None,
    "isa": lambda name: name in _isas(),
    "cores": lambda name: _cores() >= int(name),
    "system": sys.platform.startswith,
    "files": lambda name: name == "direct" and _reads_past_the_cache(),
    "environment": lambda name: name in os.environ,
}


def _complaint(reason: str) -> str | None:
    """Return why a test must not be skipped for this reason, None where it may."""
    found = re.match(r"needs (\w+) ([\w.]+)", reason) or re.match(r"(could not import) '([\w.]+)'", reason)
    kind = found and found[1].replace("could not import", "module")
    if found is None or kind not in _HAVE:
        return f"skipped for {reason!r}; expected 'needs <kind> <name>' with a kind of {', '.join(_HAVE)}"
    return f"skipped for {reason!r}, but this machine has it" if _HAVE[kind](found[2]) else None


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        path, line, text = report.longrepr
        complaint = _complaint(text.removeprefix("Skipped: "))
        if complaint is not None:
            report.outcome = "failed"
            report.longrepr = f"{path}:{line}: {complaint}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _judge(report)
    return report
