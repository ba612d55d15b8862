"""Blocks of rows of a mapped file, read into memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs.mapped_file import PAGE, MappedFile

__all__ = ["MappedRows"]

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64]

# Rows of a block, and the most bytes of it: of longer rows there are fewer.
_ROWS = 4096
_BYTES = 1 << 25


class MappedRows:
    """Rows of an array that lies in a file, read block by block.

    They are read from the file where the system tells which one it is, else copied out of the array.

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
    >>> from nnrs.mapped_rows import MappedRows
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
        whole = self.block * x[:1].nbytes % PAGE == 0
        self._in_place = rows is None and x.dtype == dtype and whole
        # Rows wanted that lie further apart are copied one by one.
        self._span = 2 * self.block
        self._aside = _pages(PAGE if self._in_place else self._span * x[:1].nbytes + 2 * PAGE)
        self._file = MappedFile.behind(x)
        self._phase = self._file.begin % PAGE if self._in_place and self._file is not None else 0

    def __len__(self) -> int:
        return len(self._x) if self._rows is None else len(self._rows)

    def __enter__(self) -> MappedRows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is read from now on is copied out of the array."""
        if self._file is not None:
            self._file.close()

    def keep(self) -> None:
        """Have the system keep what is read from now on, as `MappedFile.keep` says."""
        if self._file is not None:
            self._file.keep()

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
        begin = PAGE + (self._phase - before * row) % PAGE
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
        file = self._file
        # Whole pages are read: with a block come bytes from before it. The block there is read later.
        for place, at in reversed(list(enumerate(starts))):
            part = out[place * self.block :][: min(self.block, len(self) - at)]
            if file is None or not (
                self._read_in_place(file, at, space, part) or self._read_aside(file, at, part)
            ):
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

    def _read_in_place(self, file: MappedFile, at: int, space: Bytes, out: Array) -> bool:
        if not self._in_place:
            return False
        begin = out.ctypes.data - space.ctypes.data - self._phase
        pages, rest = divmod(self._phase + out.nbytes, PAGE)
        end = begin + pages * PAGE
        # The last page, of which the next block has the rest, is read apart.
        if not file.read(at * out[:1].nbytes, out.nbytes, [space[begin:end], self._aside]):
            return False
        space[end : end + rest] = self._aside[:rest]
        return True

    def _read_aside(self, file: MappedFile, at: int, out: Array) -> bool:
        """Read rows that lie otherwise in the file than they are wanted."""
        first, last, named = at, at + len(out) - 1, None
        if self._rows is not None:
            named = self._rows[at : at + len(out)]
            first, last = int(named.min()), int(named.max())
        count = last - first + 1
        if count > self._span:
            return False
        row = self._x[:1].nbytes
        begin = (file.begin + first * row) % PAGE
        pages = self._aside[: -(-(begin + count * row) // PAGE) * PAGE]
        if not file.read(first * row, count * row, [pages]):
            return False
        stored = np.ndarray((count, *self._x.shape[1:]), self._x.dtype, self._aside.data, begin)
        out[...] = stored if named is None else stored[named - first]
        return True


def _pages(size: int) -> Bytes:
    """Return memory that begins with a page."""
    space = np.empty(size + PAGE, np.uint8)
    return space[-space.ctypes.data % PAGE :][:size]
