from __future__ import annotations

import os
import re

import numpy as np
import pytest

from nnrs.cli.bench import table, worker
from nnrs.cli.bench.by_hand import ByHand
from nnrs.cli.bench.contest import DisagreementError, Entry, Result, Row, measure
from nnrs.cli.bench.floor import Peaks
from nnrs.cli.bench.net import Net, Work
from nnrs.cli.bench.peers import OURS, PEERS

NET = Net((5, 7, 6, 3), 11)
BINARY = Net((5, 7, 1), 11)


def targets(net):
    return net.targets().astype(np.float32)[:, None] if net.binary else net.targets()


def loss_in_float64(flat, net, x, y):
    at = 0
    for layer, (inputs, outputs) in enumerate(net.shapes):
        weight = flat[at : at + inputs * outputs].reshape(inputs, outputs)
        at += inputs * outputs
        x = x @ weight + flat[at : at + outputs]
        at += outputs
        if layer < len(net.shapes) - 1:
            x = np.maximum(x, 0)
    if net.binary:
        return float(np.mean(np.log1p(np.exp(x)) - x * y))
    return float(np.mean(np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(y)), y]))


@pytest.mark.parametrize("net", [NET, BINARY], ids=str)
def test_the_reference_by_hand_has_the_right_gradient(net):
    """What is timed must be the same arithmetic; central differences say that it is."""
    by_hand = ByHand(net, 1e-3)
    x, y = net.rows().astype(np.float64), targets(net)
    start = by_hand.flat.astype(np.float64)
    loss = by_hand.step(net.rows(), y)
    assert loss == pytest.approx(loss_in_float64(start, net, x, y), rel=1e-5)
    expected = np.empty_like(start)
    for i in range(len(start)):
        up, down = start.copy(), start.copy()
        up[i] += 1e-6
        down[i] -= 1e-6
        expected[i] = (loss_in_float64(up, net, x, y) - loss_in_float64(down, net, x, y)) / 2e-6
    assert np.linalg.norm(by_hand.gradient - expected) <= 1e-4 * np.linalg.norm(expected)


def test_adam_by_hand_is_adam():
    by_hand = ByHand(NET, 0.01)
    flat = by_hand.flat.astype(np.float64)
    m = v = np.zeros_like(flat)
    for t in range(1, 4):
        by_hand.step(NET.rows(), NET.targets())
        gradient = by_hand.gradient.astype(np.float64)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        flat -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(by_hand.flat, flat, rtol=1e-4, atol=1e-6)


def test_work_of_a_network():
    net = Net((4, 3, 2), 5)
    assert net.step() == Work(2 * 5 * (2 * 12 + 3 * 6), 6 * 4 * 23 + 80, 3 * 4 * 23 + 80)
    assert net.prediction() == Work(2 * 5 * 18, 4 * 23 + 4 * 5 * 6, 4 * 23 + 4 * 5 * 6)


def prepared(what):
    return worker.Prepared(lambda: sum(range(100)), {"sum": (np.array([1.0, what]), 1e-4)})


def surroundings():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    held_back = os.environ.get("OPENBLAS_CORETYPE")
    return os.environ["NNRS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"], cores, held_back


@pytest.fixture
def workers(monkeypatch):
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    with worker.Workers() as found:
        yield found


def entry(name, what):
    return Entry(name, OURS, "tests.cli.test_bench:prepared", (what,))


def test_contestants_take_turns(workers):
    result = measure(Row("sum", "100", 1, (entry("a", 1.0), entry("b", 1.00001))), workers, None, 3)
    assert [len(values) for values in result.values.values()] == [3, 3]
    assert all(0 < value < 1e-3 for values in result.values.values() for value in values)
    assert 0.2 < result.ratio < 5


def test_who_computes_something_else_is_not_timed(workers):
    row = Row("sum", "100", 1, (entry("a", 1.0), entry("b", 1.01)))
    with pytest.raises(DisagreementError, match=r"sum 100: b and a disagree on the sum: \[1\.\s*, 1\.01\]"):
        measure(row, workers, None, 3)
    with pytest.raises(DisagreementError):
        measure(Row("sum", "100", 1, (entry("a", 1.0), entry("b", np.nan))), workers, None, 3)


def test_what_fails_in_a_process_is_told(workers):
    row = Row("sum", "100", 1, (Entry("a", OURS, "tests.cli.test_bench:nothing"),))
    with pytest.raises(RuntimeError, match=r"a contestant failed:\n(?s:.*)no attribute 'nothing'"):
        measure(row, workers, None, 3)
    assert workers.get(OURS.name, 1).alive


def test_a_process_that_dies_is_told_and_replaced(workers):
    first = workers.get("a", 1)
    with pytest.raises(RuntimeError, match=r"process died \(exit code 3\)"):
        first.do("ask", "os:_exit", (3,))
    assert workers.get("a", 1) is not first
    assert workers.get("a", 1).do("ask", "math:sqrt", (4.0,)) == 2.0


def test_a_process_has_its_threads_and_cores_and_all_instructions(workers, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    before = dict(os.environ)
    cores = len(worker.cores())
    for threads in (1, 2):
        found = workers.get("a", threads).do("ask", "tests.cli.test_bench:surroundings", ())
        expected = min(threads, cores) if hasattr(os, "sched_getaffinity") else None
        assert found == (str(threads), str(threads), expected, None)
    assert dict(os.environ) == before
    assert len(worker.cores()) == cores


def test_floor_is_the_higher_of_two():
    peaks = Peaks.__new__(Peaks)
    peaks._fma, peaks._read = {2: 100.0}, {(4096, 2): 10.0, (50000, 2): 1.0}
    assert peaks.floor([Work(500, 10, 100)], 2) == 5
    assert peaks.floor([Work(500, 100, 100)], 2) == 10
    assert peaks.floor([Work(500, 10, 100), Work(0, 6, 100_000)], 2) == 6


def test_table_of_times_and_of_shares():
    row = Row("step", "4-3-2", 2, ())
    results = [
        Result(row, {"nnrs": [2e-4, 3e-4, 4e-4], "NumPy": [6e-4]}, 1.5e-4, ["JAX"]),
        Result(Row("step", "9-3", 2, ()), {"nnrs": [1e-6], "torch": [5e-6]}),
    ]
    header, rows = table.cells(results)
    names = ["nnrs", "NumPy", "JAX", "torch"]
    assert header == ["step", "threads", "unit", "floor", *names, "ratio", "of floor"]
    assert rows[0] == [
        *("4-3-2", "2", "ms", "0.150", "0.300 (0.220–0.380)", "0.600 (0.600–0.600)"),
        *("not installed", "—", "2.00", "50 %"),
    ]
    assert rows[1][2:] == [
        *("µs", "—", "1.00 (1.00–1.00)", "—", "—", "5.00 (5.00–5.00)"),
        *("5.00", "—"),
    ]
    assert len({len(line) for line in table.text(header, rows).splitlines()}) == 1
    shares = Result(Row("together", "4-3-2", 2, (), unit="share", compared=False), {"nnrs": [0.5]})
    assert table.cells([shares]) == (
        ["together", "threads", "unit", "nnrs"],
        [["4-3-2", "2", "%", "50.0 (50.0–50.0)"]],
    )


def test_bench_prints_a_step_and_a_row(nnrs):
    result = nnrs("bench", "--sizes", "6,8,3", "--batch-size", 4, "--rounds", 2, "--threads", 1)
    assert result.code == 0
    value = r"([\d.,]+) \([\d.,]+–[\d.,]+\)"
    for name in ("6-8-3, batch 4", "6-8-3, one row"):
        line = rf"^{name} +1 +µs +[\d.,]+ +{value} +{value} +([\d.]+) +\d+ %$"
        found = re.search(line, result.out, re.MULTILINE)
        assert found is not None, result.out
        ours, theirs, ratio = (float(text.replace(",", "")) for text in found.groups())
        assert ratio == pytest.approx(theirs / ours, rel=0.1, abs=0.02)


def test_bench_names_who_is_not_installed(nnrs, monkeypatch):
    monkeypatch.setitem(PEERS, "torch", PEERS["torch"]._replace(needs=("no_such_module",)))
    result = nnrs("bench", "--sizes", "6,8,1", "--rounds", 1, "--peers", "torch")
    assert result.code == 0
    assert "torch is left out: not installed (no_such_module)" in result.out
    assert "not installed" in result.out.split("training step")[1]


@pytest.mark.parametrize(
    "options",
    [
        *(["--sizes", sizes] for sizes in ("64", "none", "64,x")),
        ["--peers", "numpy,theano"],
        ["--rounds", "0"],
    ],
)
def test_wrong_usage(nnrs, options):
    assert nnrs("bench", *options).code == 2
