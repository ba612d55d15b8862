import mmap
import time

import numpy as np
import pytest

from nnrs import _core
from nnrs.epoch import cut, nearby_rows, run_batches, shuffled_rows


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


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="this system takes no advice on files")
def test_the_system_is_told_of_all_rows_in_pieces_that_it_reads(tmp_path):
    told = []

    class Told(mmap.mmap):
        def madvise(self, advice, *part):
            if advice == mmap.MADV_WILLNEED:
                told.append(part)
            super().madvise(advice, *part)

    rows = np.zeros((9000, 250), "float32")
    (tmp_path / "rows").write_bytes(rows)
    with (tmp_path / "rows").open("rb") as file:
        mapped = Told(file.fileno(), 0, access=mmap.ACCESS_READ)
    x = np.ndarray(rows.shape, "float32", mapped)
    assert sum(map(len, nearby_rows(0, 0, x, None, 32))) == 9000
    assert max(length for _, length in told) <= 128 << 10
    pages = np.zeros(rows.nbytes, bool)
    for start, length in told:
        pages[start : start + length] = True
    assert pages.all()


def test_nearby_rows_are_all_rows_once_and_from_few_places():
    x = np.zeros((200_000, 1024), "int8")[:, ::1]
    parts = list(nearby_rows(1, 0, x, None, 100))
    assert [len(part) % 100 for part in parts[:-1]] == [0] * (len(parts) - 1)
    order = np.concatenate(parts)
    np.testing.assert_array_equal(np.sort(order), np.arange(200_000))
    # 1,024 numbers a row: buffers of four blocks, and what a buffer leaves over for the next one.
    assert all(len(np.unique(part // 4096)) <= 8 for part in parts)
    assert not np.array_equal(order, np.concatenate(list(nearby_rows(1, 1, x, None, 100))))
    rows = np.arange(0, 200_000, 7)
    chosen = np.concatenate(list(nearby_rows(1, 0, x, rows, 64)))
    np.testing.assert_array_equal(np.sort(chosen), rows)
    assert [part.tolist() for part in nearby_rows(0, 0, x[:0], None, 5)] == []
