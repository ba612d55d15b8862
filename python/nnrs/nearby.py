"""An epoch over a file that need not fit into memory, shuffled so that it is read in large pieces.

Blocks of rows come in random order; some of them make a buffer, the rows of which are shuffled together.
While steps are made over one buffer, a thread fills another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnrs import _core
from nnrs.mapped_rows import MappedRows
from nnrs.random import derive_seed

__all__ = ["Part", "nearby_parts"]

Array = NDArray[Any]
Rows = NDArray[np.int64]

# Numbers of a buffer, 32 MB of float32, and how many blocks that may be.
_NUMBERS = 1 << 23
_FEWEST_BLOCKS, _MOST_BLOCKS = 4, 256


class Part(NamedTuple):
    """Rows that are in memory together.

    Attributes
    ----------
    x, y : (rows, …) arrays
    sample_weight : (rows,) float64 or None
    order : (n,) int64
        The rows to learn now, in this order.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.nearby import Part
    >>> Part(np.zeros((2, 3)), np.zeros(2), None, np.array([1, 0])).order
    array([1, 0])
    """

    x: Array
    y: Array
    sample_weight: Array | None
    order: Rows


class _Buffer:
    """Memory for the rows of some blocks, and before them for rows left over from another buffer."""

    def __init__(self, data: list[Array], file: MappedRows, room: int, count: int) -> None:
        self._data, self._file, self._room, self._rows = data, file, room, slice(room, room)
        self._space, x = file.space(room, count)
        self._all = [x, *(np.empty((room + count, *other.shape[1:]), other.dtype) for other in data[1:])]

    def fill(self, starts: list[int]) -> None:
        """Read the blocks that begin with these rows, in place of all rows that were here."""
        total, block, room = len(self._file), self._file.block, self._room
        # The block with the last row of all may have fewer: behind the others.
        starts = sorted(starts, key=lambda at: at + block > total)
        self._rows = slice(room, room + sum(min(block, total - at) for at in starts))
        x, *others = self.arrays
        self._file.read(starts, self._space, x)
        for array, out in zip(self._data[1:], others, strict=True):
            for place, at in enumerate(starts):
                self._file.copy(array, at, out[place * block :][:block])

    def put_before(self, left: list[Array]) -> None:
        """Put rows before those of the blocks."""
        begin = self._room - len(left[0])
        for array, rows in zip(self._all, left, strict=True):
            array[begin : self._room] = rows
        self._rows = slice(begin, self._rows.stop)

    @property
    def arrays(self) -> list[Array]:
        """All rows that are here, of x, y and sample_weight."""
        return [array[self._rows] for array in self._all]


class _Filling(threading.Thread):
    """A buffer being filled, while its maker does something else."""

    def __init__(self, buffer: _Buffer, starts: list[int]) -> None:
        super().__init__(name="nnrs-file")
        self._buffer, self._starts = buffer, starts
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Fill it."""
        try:
            self._buffer.fill(self._starts)
        except BaseException as error:
            self._error = error

    def result(self) -> _Buffer:
        """Wait for the buffer."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._buffer


def nearby_parts(
    x: Array,
    y: Array,
    sample_weight: Array | None,
    rows: Rows | None,
    dtype: str,
    batch_size: int,
    seed: int,
    epoch: int,
) -> Iterator[Part]:
    """Iterate over an epoch in parts, each of rows from few places.

    Blocks of 4,096 rows (of long rows fewer: 32 MB) come in random order; so many as hold 8 million numbers
    (but 4 to 256 of them, or a batch) make a buffer. There are two of those. An epoch's order is never in
    memory as a whole.

    Parameters
    ----------
    x, y : (batch, …) arrays
    sample_weight : (batch,) float64 or None
    rows : (n,) int64 or None
        Only these rows; all of them for None.
    dtype : str
        What `x` becomes.
    batch_size : int
        All parts but the last are whole batches.
    seed, epoch : int

    Yields
    ------
    Part
        Whose arrays are overwritten after the next one.

    Examples
    --------
    >>> from nnrs.nearby import nearby_parts
    >>> import numpy as np
    >>> x, y = np.zeros((1_100_001, 1), "int8"), np.zeros(1_100_001, "int8")
    >>> parts = [len(part.order) for part in nearby_parts(x, y, None, None, "float32", 1000, 0, 0)]
    >>> parts, [part % 1000 for part in parts]
    ([1046000, 54001], [0, 1])
    """
    data = [x, y] if sample_weight is None else [x, y, sample_weight]
    with MappedRows(x, rows, dtype) as file:
        total, block = len(file), file.block
        blocks = _core.permutation(seed, "shuffle", epoch, -(-total // block))
        together = min(max(_NUMBERS // (block * max(1, x[:1].size)), _FEWEST_BLOCKS), _MOST_BLOCKS)
        together = max(together, -(-batch_size // block))
        groups = [(blocks[at : at + together] * block).tolist() for at in range(0, len(blocks), together)]
        room, count = min(batch_size - 1, total), min(together * block, total)
        buffers = [_Buffer(data, file, room, count) for _ in groups[:2]]
        buffer, filling = buffers[0], None
        buffer.fill(groups[0])
        left = [array[:0] for array in data]
        try:
            for part in range(len(groups)):
                if filling is not None:
                    if filling.is_alive():
                        # The disk is slower than the steps: the next epoch need not wait for it again.
                        file.keep()
                    buffer = filling.result()
                new, old = len(buffer.arrays[0]), len(left[0])
                buffer.put_before(left)
                last = part + 1 == len(groups)
                filling = None if last else _Filling(buffers[(part + 1) % 2], groups[part + 1])
                # One block alone has the order of rows in memory.
                drawn = derive_seed(seed, part + (len(blocks) > 1))
                order = old + _core.permutation(drawn, "shuffle", epoch, new)
                order = np.concatenate([np.arange(old), order])
                now = len(order) if last else len(order) // batch_size * batch_size
                if now:
                    rows_x, rows_y, *weights = buffer.arrays
                    yield Part(rows_x, rows_y, weights[0] if weights else None, order[:now])
                left = [array[order[now:]] for array in buffer.arrays]
        finally:
            # It works with the file.
            if filling is not None:
                filling.join()
