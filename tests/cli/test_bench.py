from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from nnrs.cli import bench

SIZES = [5, 7, 6, 3]


def parameters(generator):
    found = []
    for inputs, outputs in itertools.pairwise(SIZES):
        found += [generator.normal(size=(outputs, inputs)).astype(np.float32), np.zeros(outputs, np.float32)]
    return found


def loss_in_float64(flat, x, y):
    at = 0
    for inputs, outputs in itertools.pairwise(SIZES):
        weight = flat[at : at + inputs * outputs].reshape(outputs, inputs)
        at += inputs * outputs
        x = x @ weight.T + flat[at : at + outputs]
        at += outputs
        if outputs != SIZES[-1]:
            x = np.maximum(x, 0)
    return float(np.mean(np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(y)), y]))


def test_the_reference_by_hand_has_the_right_gradient():
    """What is timed must be the same arithmetic; central differences say that it is."""
    generator = np.random.default_rng(0)
    by_hand = bench.ByHand(SIZES, parameters(generator))
    x = generator.normal(size=(11, SIZES[0])).astype(np.float32)
    y = generator.integers(0, SIZES[-1], 11)
    start = by_hand.flat.astype(np.float64)
    loss = by_hand.step(x.copy(), y)
    assert loss == pytest.approx(loss_in_float64(start, x.astype(np.float64), y), rel=1e-5)
    expected = np.empty_like(start)
    for i in range(len(start)):
        up, down = start.copy(), start.copy()
        up[i] += 1e-6
        down[i] -= 1e-6
        expected[i] = (loss_in_float64(up, x.astype(np.float64), y) - loss_in_float64(down, x, y)) / 2e-6
    assert np.linalg.norm(by_hand.gradient - expected) <= 1e-4 * np.linalg.norm(expected)


def test_the_first_step_of_adam_by_hand_moves_by_the_learning_rate():
    generator = np.random.default_rng(0)
    by_hand = bench.ByHand(SIZES, parameters(generator), lr=0.01)
    before = by_hand.flat.copy()
    by_hand.step(generator.normal(size=(11, SIZES[0])).astype(np.float32), generator.integers(0, 3, 11))
    moved = np.abs(by_hand.gradient) > 1e-4
    assert moved.sum() > 20
    assert (before - by_hand.flat)[moved] == pytest.approx(0.01 * np.sign(by_hand.gradient[moved]), rel=1e-3)


def test_interleaved_times_both():
    calls = []
    first, second = bench.interleaved(lambda: calls.append("a"), lambda: calls.append("b"), seconds=0.02)
    assert 0 < first < 1e-3
    assert 0 < second < 1e-3
    assert {"a", "b"} == set(calls)


def test_bench_prints_a_step_and_a_row(nnrs):
    result = nnrs("bench", "--sizes", "6,8,3", "--batch-size", 4, "--seconds", 0.02)
    assert result.code == 0
    for name in ("step 6-8-3, batch 4", "one row 6-8-3"):
        found = re.search(rf"^{name} +([\d.]+) µs +([\d.]+) µs +([\d.]+)$", result.out, re.MULTILINE)
        assert found is not None, result.out
        ours, theirs, ratio = map(float, found.groups())
        assert ratio == pytest.approx(theirs / ours, rel=0.1, abs=0.02)


@pytest.mark.parametrize("sizes", ["64", "none", "64,1", "64,x"])
def test_wrong_usage(nnrs, sizes):
    assert nnrs("bench", "--sizes", sizes).code == 2
