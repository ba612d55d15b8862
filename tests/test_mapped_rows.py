import os
import sys
from contextlib import suppress
from functools import partial
from unittest import mock

import numpy as np
import pytest

from nnrs import mapped_file, mapped_rows
from nnrs.mapped_file import MappedFile
from nnrs.mapped_rows import MappedRows

with suppress(ImportError):  # Windows has none.
    import fcntl

BLOCK = 4096
ROWS = 5 * BLOCK + 77
linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs system linux, which names the file of a mapping"
)


@pytest.fixture
def stored(tmp_path):
    """Rows of 30 numbers, in a file whose header is no whole page; and how it is mapped."""
    x = np.arange(ROWS * 30, dtype=np.float32).reshape(ROWS, 30)
    np.save(tmp_path / "x.npy", x)
    return x, partial(np.load, tmp_path / "x.npy", mmap_mode="r")


def read(x, starts, rows=None, dtype="float32", before=3):
    """Read blocks; whether it was done by way of the file, and how many reads were direct."""
    ways, preadv = [], getattr(os, "preadv", None)  # Windows has none.

    def noting(file, *args):
        ways.append(bool(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT))
        return preadv(file, *args)

    with MappedRows(x, rows, dtype) as file, mock.patch.object(os, "preadv", noting, create=True):
        count = sum(min(BLOCK, len(file) - at) for at in starts)
        space, out = file.space(before, count)
        file.read(starts, space, out[before:])
        by_file = file._file is not None and file._file._file is not None
    return out[before:], by_file, sum(ways)


def forget(path):
    """Have the system drop what it has of a file; whether it dropped the fifth block."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    found = MappedFile.behind(np.load(path, mmap_mode="r"))
    return not found._is_cached(4 * BLOCK * 120, BLOCK * 120)


STARTS = [2 * BLOCK, 0, 4 * BLOCK, 5 * BLOCK]


def wanted(x, starts=STARTS, rows=None):
    x = x if rows is None else x[rows]
    return np.concatenate([x[at : at + BLOCK] for at in starts])


@linux
@pytest.mark.parametrize("larger_than_memory", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("part", [slice(None), slice(1, None), slice(5, 4 * BLOCK)])
def test_blocks_are_read_from_the_file(larger_than_memory, dtype, part, stored, monkeypatch):
    x, mapped = stored
    if larger_than_memory:
        monkeypatch.setattr(mapped_file, "memory", lambda: 0)
    x = x[part]
    starts = [at for at in STARTS if at < len(x)]
    found, by_file, direct = read(mapped()[part], starts, dtype=dtype)
    np.testing.assert_array_equal(found, wanted(x, starts))
    assert found.dtype == dtype
    if larger_than_memory and not (by_file and direct):
        pytest.skip("needs files direct")
    assert by_file
    assert direct == larger_than_memory * len(starts)


@linux
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_in_the_cache_is_read_past_it(dtype, stored, tmp_path):
    x, mapped = stored
    if not forget(tmp_path / "x.npy"):
        pytest.skip("needs files direct")
    for _ in range(2):
        found, by_file, direct = read(mapped(), STARTS, dtype=dtype)
        np.testing.assert_array_equal(found, wanted(x))
        if not (by_file and direct):
            pytest.skip("needs files direct")
        assert direct == len(STARTS)
    _ = np.sum(mapped()[:BLOCK])
    assert read(mapped(), STARTS, dtype=dtype)[2] < len(STARTS)


@linux
def test_what_had_to_be_waited_for_is_kept(stored, tmp_path):
    x, mapped = stored
    if not forget(tmp_path / "x.npy"):
        pytest.skip("needs files direct")
    with MappedRows(mapped(), None, "float32") as file:
        space, out = file.space(0, BLOCK)
        file.keep()
        file.read([BLOCK], space, out)
    np.testing.assert_array_equal(out, x[BLOCK : 2 * BLOCK])
    found = MappedFile.behind(mapped())
    assert found._is_cached(BLOCK * 120, BLOCK * 120)
    assert not found._is_cached(4 * BLOCK * 120, BLOCK * 120)


@linux
def test_a_system_without_direct_reads(stored, tmp_path, monkeypatch):
    x, mapped = stored

    def refuses(file, command, *args, call=fcntl.fcntl):
        if command == fcntl.F_SETFL and args[0] & os.O_DIRECT:
            raise OSError("no direct reads")
        return call(file, command, *args)

    monkeypatch.setattr(mapped_file, "memory", lambda: 0)
    monkeypatch.setattr(fcntl, "fcntl", refuses)
    found, by_file, direct = read(mapped(), STARTS)
    np.testing.assert_array_equal(found, wanted(x))
    assert by_file
    assert not direct


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_are_named(step, dtype, stored):
    x, mapped = stored
    rows = np.arange(11, ROWS, step)
    starts = list(range(0, len(rows), BLOCK))[::-1]
    starts = [*starts[1:], starts[0]]
    for order in (rows, np.random.default_rng(0).permutation(rows)):
        found, by_file, _ = read(mapped(), starts, order, dtype)
        np.testing.assert_array_equal(found, wanted(x, starts, order))
        assert by_file or not sys.platform.startswith("linux")


@pytest.mark.parametrize("kind", ["uint8", "bool", "float16", ">f4"])
def test_rows_of_other_types_from_any_place(kind, tmp_path):
    x = (np.arange((BLOCK + 100) * 31) % 251).astype(kind).reshape(-1, 31)
    np.save(tmp_path / "x.npy", x)
    for first in range(4):
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")[first:]
        with MappedRows(mapped, None, "float32") as file:
            space, out = file.space(5, len(mapped))
            assert out.flags.aligned
            file.read([0, BLOCK], space, out[5:])
        np.testing.assert_array_equal(out[5:], x[first:].astype("float32"))


@pytest.mark.parametrize("larger_than_memory", [False, True])
def test_long_rows_make_small_blocks(larger_than_memory, tmp_path, monkeypatch):
    if larger_than_memory:
        monkeypatch.setattr(mapped_file, "memory", lambda: 0)
    monkeypatch.setattr(mapped_rows, "_BYTES", 40_000)
    x = np.arange(100 * 1025, dtype="float32").reshape(100, 1025)
    np.save(tmp_path / "x.npy", x)
    with MappedRows(np.load(tmp_path / "x.npy", mmap_mode="r"), None, "float32") as file:
        assert file.block == 8
        space, out = file.space(2, 28)
        file.read([16, 0, 40, 96], space, out[2:])
    np.testing.assert_array_equal(out[2:], np.concatenate([x[16:24], x[:8], x[40:48], x[96:]]))
    monkeypatch.setattr(mapped_rows, "_BYTES", 100)
    with MappedRows(x, None, "float32") as file:
        assert file.block == 1


@linux
def test_what_is_written_to_a_private_mapping_counts(stored, tmp_path):
    x, _ = stored
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[BLOCK] = x[BLOCK] = -1
    found, by_file, _ = read(private, [BLOCK])
    np.testing.assert_array_equal(found, wanted(x, [BLOCK]))
    assert not by_file


@linux
@pytest.mark.parametrize("larger_than_memory", [False, True])
def test_what_is_written_to_a_shared_mapping_counts(larger_than_memory, stored, tmp_path, monkeypatch):
    x, _ = stored
    if larger_than_memory:
        monkeypatch.setattr(mapped_file, "memory", lambda: 0)
    shared = np.load(tmp_path / "x.npy", mmap_mode="r+")
    shared[0] = x[0] = -1
    np.testing.assert_array_equal(read(shared, [0])[0], wanted(x, [0]))


@linux
def test_another_file_of_the_same_name_is_not_read(stored, tmp_path):
    x, mapped = stored
    array = mapped()
    np.save(tmp_path / "other.npy", x + 1)
    (tmp_path / "other.npy").replace(tmp_path / "x.npy")
    found, by_file, _ = read(array, STARTS)
    np.testing.assert_array_equal(found, wanted(x))
    assert not by_file
    (tmp_path / "x.npy").unlink()
    np.testing.assert_array_equal(read(array, STARTS)[0], wanted(x))


@linux
@pytest.mark.parametrize("fails_at", [0, 1, 3])
def test_reads_that_fail_are_made_through_the_mapping(fails_at, stored, monkeypatch):
    x, mapped = stored
    calls, preadv = [], os.preadv

    def fails(file, parts, begin):
        calls.append(begin)
        if len(calls) > fails_at:
            preadv(file, parts[:1], begin)
            raise OSError("no")
        return preadv(file, parts, begin)

    monkeypatch.setattr(os, "preadv", fails)
    found, by_file, _ = read(mapped(), STARTS)
    np.testing.assert_array_equal(found, wanted(x))
    assert not by_file


def test_arrays_in_memory_and_in_other_orders(stored):
    x, mapped = stored
    for array in (x, np.asfortranarray(x), mapped()[::-1], mapped()[:, ::2]):
        found, by_file, _ = read(array, STARTS)
        np.testing.assert_array_equal(found, wanted(array))
        assert not by_file
