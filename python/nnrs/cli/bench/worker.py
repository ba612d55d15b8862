"""A process of its own for each contestant, and what it is asked to do.

Number of threads, affinity and environment are set before a contestant's libraries are loaded: some read them
only then. And the threads of one that spin on for a while after a call do not take time from the next one,
because a process answers only when it has come to rest.
"""

from __future__ import annotations

import gc
import importlib
import math
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["Checks", "Prepared", "Worker", "Workers", "cores"]

# What a contestant computed, and how far, relative to the largest value, another one may be from it.
Checks = dict[str, tuple[NDArray[Any], float]]

_BLOCK = 0.005
# Until threads are awake and caches filled again.
_WARMING = 0.01
_LONG = 0.05

# By them a machine's owner holds a library to older instructions or other caches; contestants go without.
_HELD_BACK = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
)


@dataclass
class Prepared:
    """Something to be timed.

    Attributes
    ----------
    call : function without arguments
    checks : Checks
        By which the others know that it does the same work.

    Examples
    --------
    >>> from nnrs.cli.bench.worker import Prepared
    >>> Prepared(list).call()
    []
    """

    call: Callable[[], Any]
    checks: Checks = field(default_factory=dict)


class _Shop:
    """What runs in the process: things prepared, by key."""

    def __init__(self) -> None:
        self.ready: dict[str, tuple[Callable[[], Any], int, int]] = {}

    def prepare(self, key: str, build: str, args: tuple[Any, ...]) -> Checks:
        prepared: Prepared = self.ask(build, args)
        calls, took = _calls_in_a_block(prepared.call)
        # A long call warms itself.
        warming = 0 if took / calls > _LONG else math.ceil(_WARMING * calls / took)
        self.ready[key] = prepared.call, calls, warming
        return prepared.checks

    def block(self, key: str) -> float:
        call, calls, warming = self.ready[key]
        for _ in range(warming):
            call()
        return _seconds(call, calls) / calls

    def speed(self, key: str, seconds: float) -> float:
        """Return calls a second, over so many seconds."""
        call, done = self.ready[key][0], 0
        begun = time.perf_counter()
        while (took := time.perf_counter() - begun) < seconds:
            call()
            done += 1
        return done / took

    def forget(self, key: str) -> None:
        self.ready.pop(key, None)
        gc.collect()

    def ask(self, build: str, args: tuple[Any, ...]) -> Any:
        module, _, name = build.partition(":")
        return getattr(importlib.import_module(module), name)(*args)


def _seconds(call: Callable[[], Any], calls: int) -> float:
    gc.disable()
    try:
        begun = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - begun
    finally:
        gc.enable()


def _calls_in_a_block(call: Callable[[], Any]) -> tuple[int, float]:
    call()  # the first one is slow: it compiles, and fills the caches
    calls = 1
    while (took := _seconds(call, calls)) < _BLOCK:
        calls *= 2
    return calls, took


def _come_to_rest(limit: float = 2.0) -> None:
    """Wait until the threads of this process use no more time."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = time.process_time()
        # The time of a thread that runs is brought up to date at ticks of the clock, every 4 ms or 10.
        time.sleep(0.021)
        if time.process_time() - before < 0.002:
            return


def _serve(connection: Connection) -> None:
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shop = _Shop()
    while True:
        try:
            method, args = connection.recv()
        except EOFError:
            return
        try:
            answer = True, getattr(shop, method)(*args)
        except Exception:
            answer = False, traceback.format_exc()
        _come_to_rest()
        connection.send(answer)


class Worker:
    """A process that prepares and times.

    Parameters
    ----------
    threads : int
        How many it may use, on as many cores.
    """

    def __init__(self, threads: int) -> None:
        # Loaded when it is needed: the other commands do without.
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        with _inherited(threads):
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
        theirs.close()

    def send(self, method: str, *args: Any) -> None:
        """Begin something; `receive` waits for it.

        Parameters
        ----------
        method : {"prepare", "block", "speed", "forget", "ask"}
        *args
            (key, "module:function", arguments), (key,), (key, seconds), (key,), ("module:function",
            arguments).
        """
        self._connection.send((method, args))

    def receive(self) -> Any:
        """Return what was begun.

        Raises
        ------
        RuntimeError
            If it failed there; with the traceback.
        """
        try:
            good, answer = self._connection.recv()
        except EOFError:
            self._process.join(5)
            raise RuntimeError(f"a contestant's process died (exit code {self._process.exitcode})") from None
        if not good:
            raise RuntimeError(f"a contestant failed:\n{answer}")
        return answer

    def do(self, method: str, *args: Any) -> Any:
        """Begin something and wait for it."""
        self.send(method, *args)
        return self.receive()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class Workers:
    """Processes by contestant and number of threads, started when first asked for."""

    def __init__(self) -> None:
        self._workers: dict[tuple[str, int, int], Worker] = {}

    def get(self, peer: str, threads: int, number: int = 0) -> Worker:
        """Return the process of a contestant; another one for another `number`."""
        key = peer, threads, number
        if key not in self._workers or not self._workers[key].alive:
            self._workers[key] = Worker(threads)
        return self._workers[key]

    def drop(self, peer: str, threads: int, number: int = 0) -> None:
        """End a process, if there is one."""
        worker = self._workers.pop((peer, threads, number), None)
        if worker is not None:
            worker.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._workers):
            self.drop(*key)


def cores() -> list[int]:
    """Return the processors that this process may use, those of different cores first.

    Examples
    --------
    >>> from nnrs.cli.bench.worker import cores
    >>> len(cores()) >= 1
    True
    """
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    seen: set[str] = set()
    first: list[int] = []
    second: list[int] = []
    for number in sorted(os.sched_getaffinity(0)):
        path = f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
        try:
            with open(path, encoding="ascii") as file:
                siblings = file.read()
        except OSError:
            siblings = str(number)
        (second if siblings in seen else first).append(number)
        seen.add(siblings)
    return first + second


@contextmanager
def _inherited(threads: int) -> Iterator[None]:
    """Set what a process started inside inherits: so many cores and threads, nothing that holds it back."""
    count = str(threads)
    variables = dict.fromkeys(
        ("NNRS_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count
    )
    variables["CUDA_VISIBLE_DEVICES"] = ""
    before = {name: os.environ.get(name) for name in (*variables, *_HELD_BACK)}
    for name in _HELD_BACK:
        os.environ.pop(name, None)
    pinned = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    os.environ.update(variables)
    if pinned is not None:
        os.sched_setaffinity(0, cores()[:threads])
    try:
        yield
    finally:
        if pinned is not None:
            os.sched_setaffinity(0, pinned)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
