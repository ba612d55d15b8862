import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from nnrs import mapped_file, nearby
from nnrs.nearby import nearby_parts


@pytest.fixture
def small(monkeypatch):
    """Buffers of four blocks, whatever their width."""
    monkeypatch.setattr(nearby, "_NUMBERS", 1)


def gone_through(x, y, weights, rows, batch_size, epoch=0, seed=1):
    """An epoch's rows in their order, part by part, and how many they are; a part goes together."""
    orders, sizes = [], []
    for part in nearby_parts(x, y, weights, rows, "float32", batch_size, seed, epoch):
        np.testing.assert_array_equal(part.x[:, 0], part.y)
        if weights is not None:
            np.testing.assert_array_equal(part.sample_weight, part.y / 2)
        orders.append(part.y[part.order].copy())
        sizes.append(len(part.order))
    return orders, sizes


@pytest.mark.parametrize("in_file", [None, "cached", "direct"])
@pytest.mark.parametrize("batch_size", [1, 32, 100, 30_000])
def test_all_rows_come_once_from_few_places(in_file, batch_size, small, tmp_path, monkeypatch):
    if in_file == "direct":
        monkeypatch.setattr(mapped_file, "memory", lambda: 0)
    count = 70_001
    x = np.repeat(np.arange(count, dtype="float32")[:, None], 7, axis=1)
    y = np.arange(count)
    if in_file is not None:
        np.save(tmp_path / "x.npy", x)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    orders, sizes = gone_through(x, y, y / 2, None, batch_size)
    order = np.concatenate(orders)
    np.testing.assert_array_equal(np.sort(order), y)
    assert all(size % batch_size == 0 for size in sizes[:-1])
    if batch_size <= 100:
        # Four blocks, and what a buffer leaves over for the next one.
        assert [len(np.unique(part // 4096)) for part in orders[:1]] == [4]
        assert all(len(np.unique(part // 4096)) <= 8 for part in orders)
    other = np.concatenate(gone_through(x, y, y / 2, None, batch_size, epoch=1)[0])
    assert not np.array_equal(order, other)
    np.testing.assert_array_equal(np.sort(other), y)


def test_an_order_depends_on_seed_and_epoch_alone(small, tmp_path):
    y = np.arange(50_000)
    x = np.repeat(y.astype("float32")[:, None], 3, axis=1)
    np.save(tmp_path / "x.npy", x)
    once, again = (
        gone_through(array, y, None, None, 64)[0] for array in (x, np.load(tmp_path / "x.npy", "r"))
    )
    np.testing.assert_array_equal(np.concatenate(once), np.concatenate(again))


def test_named_rows(small, tmp_path):
    y = np.arange(60_000)
    np.save(tmp_path / "x.npy", np.repeat(y.astype("float32")[:, None], 3, axis=1))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    for step in (1, 3):
        rows = np.flatnonzero(y % 10 < 7)[::step]
        order = np.concatenate(gone_through(x, y, y / 2, rows, 64)[0])
        np.testing.assert_array_equal(np.sort(order), rows)


@pytest.mark.parametrize("slow", [False, True])
def test_a_disk_slower_than_the_steps_is_asked_only_once(slow, small, monkeypatch):
    read, kept = nearby.MappedRows.read, []

    def reads(*args):
        if slow and threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)
        read(*args)

    monkeypatch.setattr(nearby.MappedRows, "read", reads)
    monkeypatch.setattr(nearby.MappedRows, "keep", lambda self: kept.append(self))
    y = np.arange(50_000)
    for _ in nearby_parts(y.astype("float32")[:, None], y, None, None, "float32", 64, 0, 0):
        if not slow:
            for thread in threading.enumerate():
                if thread.name == "nnrs-file":
                    thread.join()
    assert bool(kept) == slow


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs system linux, which tells the files that are open"
)
def test_an_epoch_that_ends_early_leaves_nothing_open(small, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((40_000, 3), "float32"))
    x, y = np.load(tmp_path / "x.npy", mmap_mode="r"), np.zeros(40_000)

    def open_files():
        return sum(str(path.resolve()).startswith(str(tmp_path)) for path in Path("/proc/self/fd").iterdir())

    before = open_files()
    parts = nearby_parts(x, y, None, None, "float32", 32, 0, 0)
    next(parts)
    assert open_files() == before + 1
    parts.close()
    assert open_files() == before


def test_two_buffers_are_all_the_memory_it_takes(small, tmp_path):
    rows, width = 200_000, 50
    np.save(tmp_path / "x.npy", np.zeros((rows, width), "uint8"))
    x, y = np.load(tmp_path / "x.npy", mmap_mode="r"), np.zeros(rows, "float32")
    buffer = 4 * 4096 * (width + 1) * 4
    tracemalloc.start()
    for _ in nearby_parts(x, y, None, None, "float32", 64, 0, 0):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Beside them an order, rows as the file has them, and what Python keeps for itself.
    assert 2 * buffer < peak < 2 * buffer + 4 * 4096 * 8 * 3 + 2 * 4096 * width + 500_000
