"""Blocks of rows of a mapped file, read into memory."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs.features import mapping

with suppress(ImportError):  # Windows has none, and no /proc either.
    import fcntl

__all__ = ["MappedRows", "memory"]

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64]

# Rows of a block, and the most bytes of it: of longer rows there are fewer.
_ROWS = 4096
_BYTES = 1 << 25
# What direct reads begin and end at, in the file and in memory.
_PAGE = 4096


class MappedRows:
    """Rows of an array that lies in a file, read block by block.

    They are read from the file where the system tells which one it is, else copied out of the array. A file
    larger than memory is read past the system's cache (O_DIRECT): no row would be found there again, and to
    make room for each takes longer than to read it.

    Parameters
    ----------
    x : (batch, …) array
    rows : (n,) int64 or None
        Only these rows.
    dtype : str
        Of the rows wanted.

    Attributes
    ----------
    block : int
        Rows of a block: 4,096, or the power of two below that of which there are no more than 32 MB.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.disk import MappedRows
    >>> with MappedRows(np.array([[1], [2], [3]]), np.array([0, 2]), "float32") as rows:
    ...     space, out = rows.space(0, 2)
    ...     rows.read([0], space, out)
    >>> out.tolist()
    [[1.0], [3.0]]
    """

    def __init__(self, x: Array, rows: Rows | None, dtype: str) -> None:
        self._x, self._rows, self._dtype = x, rows, dtype
        row = max(x[:1].nbytes, x[:1].size * np.dtype(dtype).itemsize)
        self.block = _ROWS
        while self.block > 1 and self.block * row > _BYTES:
            self.block //= 2
        whole = self.block * x[:1].nbytes % _PAGE == 0
        self._in_place = rows is None and str(x.dtype) == dtype and whole
        # Rows wanted that lie further apart are copied one by one.
        self._span = 2 * self.block
        self._aside = _pages(_PAGE if self._in_place else self._span * x[:1].nbytes + 2 * _PAGE)
        self._file, self._begin = None, 0
        if x.flags.c_contiguous and x.flags.aligned and mapping(x) is not None:
            self._file, self._begin = _open_behind(x)
        self._phase = self._begin % _PAGE if self._in_place else 0

    def __len__(self) -> int:
        return len(self._x) if self._rows is None else len(self._rows)

    def __enter__(self) -> MappedRows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is read from now on is copied out of the array."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def space(self, before: int, count: int) -> tuple[Bytes, Array]:
        """Return memory for rows.

        Parameters
        ----------
        before : int
            Rows before those of the first block.
        count : int
            Rows of blocks.

        Returns
        -------
        (bytes,) uint8, (before + count, …) array
            The second lies in the first.
        """
        shape = before + count, *self._x.shape[1:]
        row = self._x[:1].size * np.dtype(self._dtype).itemsize
        # Pages of the file fall on pages of memory, and one lies before the rows.
        begin = _PAGE + (self._phase - before * row) % _PAGE
        space = _pages(begin + shape[0] * row)
        return space, np.ndarray(shape, self._dtype, space.data, begin)

    def read(self, starts: list[int], space: Bytes, out: Array) -> None:
        """Read the blocks that begin with these rows, one behind the other.

        Parameters
        ----------
        starts : list of int
            The block with the last row of all, if it is among them, comes last.
        space : (bytes,) uint8
            From the method of that name. What is there on the page where the blocks begin is lost.
        out : (n, …) array
            Its rows behind the `before`.
        """
        # Whole pages are read: with a block come bytes from before it. The block there is read later.
        for place, at in reversed(list(enumerate(starts))):
            part = out[place * self.block :][: min(self.block, len(self) - at)]
            if not (self._read_in_place(at, space, part) or self._read_aside(at, part)):
                self.copy(self._x, at, part)

    def copy(self, array: Array, at: int, out: Array) -> None:
        """Copy what an array has for rows.

        Parameters
        ----------
        array : (batch, …) array
            Of as many rows as `x`.
        at : int
            The first one.
        out : (n, …) array
            As many as it has.
        """
        rows: Any = slice(at, at + len(out))
        out[...] = array[rows if self._rows is None else self._rows[rows]]

    def _read_in_place(self, at: int, space: Bytes, out: Array) -> bool:
        if not self._in_place:
            return False
        begin = out.ctypes.data - space.ctypes.data - self._phase
        pages, rest = divmod(self._phase + out.nbytes, _PAGE)
        end = begin + pages * _PAGE
        # The last page, of which the next block has the rest, is read apart.
        if not self._fetch(self._begin + at * out[:1].nbytes, out.nbytes, [space[begin:end], self._aside]):
            return False
        space[end : end + rest] = self._aside[:rest]
        return True

    def _read_aside(self, at: int, out: Array) -> bool:
        """Read rows that lie otherwise in the file than they are wanted."""
        first, last, named = at, at + len(out) - 1, None
        if self._rows is not None:
            named = self._rows[at : at + len(out)]
            first, last = int(named.min()), int(named.max())
        count = last - first + 1
        if count > self._span:
            return False
        row = self._x[:1].nbytes
        begin, size = self._begin + first * row, count * row
        if not self._fetch(begin, size, [self._aside[: -(-(begin % _PAGE + size) // _PAGE) * _PAGE]]):
            return False
        stored = np.ndarray((count, *self._x.shape[1:]), self._x.dtype, self._aside.data, begin % _PAGE)
        out[...] = stored if named is None else stored[named - first]
        return True

    def _fetch(self, begin: int, size: int, pages: list[Bytes]) -> bool:
        """Read bytes of the file, the first at its place in a page; whether that could be done."""
        if self._file is None:
            return False
        before = begin % _PAGE
        try:
            if os.preadv(self._file, [part.data for part in pages], begin - before) < before + size:
                raise OSError("the file ends before its rows")
        except OSError:
            # As of a file system without direct reads. If more is wrong, the mapping tells.
            self.close()
            return False
        return True


def _pages(size: int) -> Bytes:
    """Return memory that begins with a page."""
    space = np.empty(size + _PAGE, np.uint8)
    return space[-space.ctypes.data % _PAGE :][:size]


def _open_behind(x: Array) -> tuple[int | None, int]:
    """Open the file that a contiguous array is mapped from; where in the file it begins.

    None where that cannot be known for certain: Linux alone tells.
    """
    begin, end = x.ctypes.data, x.ctypes.data + x.nbytes
    try:
        for line in Path("/proc/self/maps").read_bytes().split(b"\n"):
            span, access, offset, device, inode, *path = line.split(maxsplit=5)
            first, last = (int(address, 16) for address in span.split(b"-"))
            # What is written to a private mapping is not in the file.
            if first <= begin and end <= last and access.endswith(b"s") and path:
                return _open(path[0], device.decode(), int(inode)), int(offset, 16) + begin - first
    except (OSError, ValueError):  # The last line is empty.
        pass
    return None, 0


def _open(path: bytes, device: str, inode: int) -> int:
    """Open a file by its name, if that is the name of the file meant."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    found = os.fstat(file)
    here = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}", found.st_ino
    if here != (device, inode) or not stat.S_ISREG(found.st_mode):
        os.close(file)
        raise OSError(f"{path!r} is the name of another file by now")
    if found.st_size > memory():
        with suppress(OSError):  # Not every file system can.
            fcntl.fcntl(file, fcntl.F_SETFL, os.O_DIRECT)
    return file


def memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's limit.

    Returns
    -------
    int

    Examples
    --------
    >>> from nnrs.disk import memory
    >>> memory() > 1 << 20
    True
    """
    if not hasattr(os, "sysconf"):  # Windows
        return sys.maxsize
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # A container without a limit says "max".
        size = min(size, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return size
