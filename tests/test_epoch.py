import time

import numpy as np

from nnrs import _core
from nnrs.epoch import cut, run_batches, shuffled_rows


def test_rows_are_those_of_the_core():
    np.testing.assert_array_equal(shuffled_rows(3, 2, 10, None), _core.permutation(3, "shuffle", 2, 10))
    rows = np.array([5, 7, 9])
    np.testing.assert_array_equal(shuffled_rows(3, 2, 10, rows), rows[_core.permutation(3, "shuffle", 2, 3)])


def test_batches_hold_their_rows():
    x, y, w = np.arange(10).reshape(5, 2), np.arange(5), np.arange(5.0)
    parts = list(cut(x, y, w, np.array([4, 0, 2]), 2))
    assert [part[1].tolist() for part in parts] == [[4, 0], [2]]
    assert [part[2].tolist() for part in parts] == [[4.0, 0.0], [2.0]]
    assert parts[0][0].tolist() == [[8, 9], [0, 1]]
    assert all(np.shares_memory(part[0], x) for part in cut(x, y, None, None, 2))


def test_means_are_weighted():
    batches = cut(np.zeros((3, 1)), np.array([1.0, 1.0, 4.0]), None, None, 2)
    total, weight = run_batches(lambda _x, y, _w: float(y[0]), batches, lambda y, _w: len(y))
    assert (total, weight) == (6.0, 3.0)


def test_hooks_and_progress():
    losses, seen = [], []

    def step(x, y, w):
        time.sleep(0.02)
        return 2.0

    batches = cut(np.zeros((10, 1)), np.zeros(10), None, None, 1)
    run_batches(
        step, batches, lambda y, _w: len(y), losses.append, lambda rows, loss: seen.append((rows, loss))
    )
    assert losses == [2.0] * 10
    assert 1 <= len(seen) <= 5
    assert all(loss == 2.0 for _, loss in seen)
    assert [rows for rows, _ in seen] == sorted(rows for rows, _ in seen)
