"""The file that an array is mapped from, read into memory by way of the system's cache or past it."""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs.features import mapping

with suppress(ImportError):  # Windows has none, and no /proc either.
    import fcntl

__all__ = ["PAGE", "MappedFile", "memory"]

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

# What direct reads begin and end at, in the file and in memory.
PAGE = 4096


class MappedFile:
    """The file that a contiguous array is mapped from.

    What is in the system's cache is read from there, and what is not, past it (O_DIRECT), which costs a third
    of the processor's time. A disk may be slower than what is made of its bytes; whoever had to wait for them
    calls `keep`, and the rest is read by way of the cache, to be found there the next time. But a file larger
    than memory never is: to make room for a page takes longer than to read it.

    Parameters
    ----------
    path : bytes
    device, inode : (int, int), int
        By which the file is known.
    begin : int
        Where in it the array begins.
    x : array

    Attributes
    ----------
    begin : int

    Raises
    ------
    OSError
        If the path leads to another file by now.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.mapped_file import MappedFile
    >>> MappedFile.behind(np.zeros(3)) is None
    True
    """

    def __init__(self, path: bytes, device: tuple[int, int], inode: int, begin: int, x: Array) -> None:
        self.begin, self._mapped = begin, x
        self._file: int | None = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        found = os.fstat(self._file)
        here = (os.major(found.st_dev), os.minor(found.st_dev)), found.st_ino
        if here != (device, inode) or not stat.S_ISREG(found.st_mode):
            self.close()
            raise OSError(f"{path!r} is the name of another file by now")
        self._larger_than_memory = found.st_size > memory()
        self._keep = self._direct = False

    @classmethod
    def behind(cls, x: Array) -> MappedFile | None:
        """Open the file of an array, where it can be known for certain; Linux alone tells.

        Parameters
        ----------
        x : array

        Returns
        -------
        MappedFile or None
        """
        if not (x.flags.c_contiguous and x.flags.aligned) or mapping(x) is None:
            return None
        begin, end = x.ctypes.data, x.ctypes.data + x.nbytes
        try:
            for line in Path("/proc/self/maps").read_bytes().split(b"\n"):
                span, access, offset, device, inode, *path = line.split(maxsplit=5)
                first, last = (int(address, 16) for address in span.split(b"-"))
                # What is written to a private mapping is not in the file.
                if first <= begin and end <= last and access.endswith(b"s") and path:
                    major, minor = (int(number, 16) for number in device.split(b":"))
                    return cls(path[0], (major, minor), int(inode), int(offset, 16) + begin - first, x)
        except (OSError, ValueError):  # The last line is empty.
            pass
        return None

    def close(self) -> None:
        """Close it; no more can be read."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def keep(self) -> None:
        """Have the system keep what is read from now on in its cache, if the file has room in memory."""
        self._keep = not self._larger_than_memory

    def read(self, at: int, size: int, pages: list[Bytes]) -> bool:
        """Read bytes of the array.

        Parameters
        ----------
        at, size : int
        pages : list of (bytes,) uint8
            Whole pages of memory. The first byte comes as far behind their begin as it lies behind that of a
            page of the file.

        Returns
        -------
        bool
            Whether that could be done. If not, the file is closed; what is wrong, the mapping tells.
        """
        if self._file is None:
            return False
        direct = self._larger_than_memory or not (self._keep or self._is_cached(at, size))
        done = self._read(self._file, at, size, pages, direct)
        if direct and not done:
            # As of a file system without direct reads.
            self._keep, self._larger_than_memory = True, False
            done = self._read(self._file, at, size, pages, False)
        if not done:
            self.close()
        return done

    def _read(self, file: int, at: int, size: int, pages: list[Bytes], direct: bool) -> bool:
        before = (self.begin + at) % PAGE
        try:
            if direct != self._direct:
                fcntl.fcntl(file, fcntl.F_SETFL, os.O_DIRECT if direct else 0)
                self._direct = direct
            got = os.preadv(file, [part.data for part in pages], self.begin + at - before)
        except OSError:
            return False
        return got >= before + size

    def _is_cached(self, at: int, size: int) -> bool:
        begin = self._mapped.ctypes.data + at
        size += begin % mmap.PAGESIZE
        found = np.empty(-(-size // mmap.PAGESIZE), np.uint8)
        # A system that does not tell counts as one that has it.
        failed = _mincore()(begin - begin % mmap.PAGESIZE, size, found.ctypes.data)
        return bool(failed or (found & 1).all())


@cache
def _mincore() -> Any:
    """Return the system's function that tells which mapped pages are in memory."""
    function = ctypes.CDLL(None).mincore
    function.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
    return function


def memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's limit.

    Returns
    -------
    int

    Examples
    --------
    >>> from nnrs.mapped_file import memory
    >>> memory() > 1 << 20
    True
    """
    if not hasattr(os, "sysconf"):  # Windows
        return sys.maxsize
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # A container without a limit says "max".
        size = min(size, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return size
