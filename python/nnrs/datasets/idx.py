"""MNIST in its own form: IDX files, plain or gzipped, read with suspicion.

An IDX file is big-endian: two zero bytes, a type code (8: unsigned byte), the number of axes, the length of
each axis as a 32-bit integer, then the values (LeCun, "The MNIST database of handwritten digits").
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnrs._core import FileFormatError

__all__ = ["mnist", "read_idx"]

_UNSIGNED_BYTE = 8
# Deflate cannot expand further: a header that claims more than this lies.
_DEFLATE_LIMIT = 1032
_PIXELS = 28


def read_idx(path: str | os.PathLike[str], axes: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped if its name ends in `.gz`.

    Parameters
    ----------
    path : str or path
    axes : int
        How many axes the array must have.

    Returns
    -------
    uint8 array

    Raises
    ------
    FileFormatError
        If the file is no such IDX file, is cut short or goes on after its last value.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from nnrs.datasets.idx import read_idx
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    >>> read_idx(path, axes=1)
    array([7, 9], dtype=uint8)
    """
    path = Path(path)
    size = path.stat().st_size
    if path.suffix != ".gz":
        with path.open("rb") as file:
            return _read(file, path, axes, size)
    try:
        with gzip.open(path, "rb") as file:
            return _read(file, path, axes, size * _DEFLATE_LIMIT)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FileFormatError(f"{path} is damaged: {error}") from None


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _read(file: _Readable, path: Path, axes: int, most: int) -> NDArray[np.uint8]:
    head = file.read(4 + 4 * axes)
    if head[:4] != bytes([0, 0, _UNSIGNED_BYTE, axes]):
        raise FileFormatError(
            f"{path} begins with the bytes {head[:4].hex(' ') or 'nothing'}; expected 00 00 08 {axes:02x}, "
            f"an IDX file of unsigned bytes with {axes} axes"
        )
    if len(head) < 4 + 4 * axes:
        raise FileFormatError(f"{path} ends inside its header")
    shape = tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4))
    values = math.prod(shape)
    if values > most:
        raise FileFormatError(f"{path} claims {values} values, more than a file of its size can hold")
    body = file.read(values)
    if len(body) < values:
        raise FileFormatError(f"{path} claims {values} values and ends after {len(body)}")
    if file.read(1):
        raise FileFormatError(f"{path} goes on after the {values} values that its header claims")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _find(folder: Path, stem: str, kind: str) -> Path:
    names = [f"{stem}{dot}{kind}{end}" for dot in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"no {stem} file of MNIST in {folder}; expected one of {', '.join(names)}")


def _part(folder: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    images_path = _find(folder, f"{name}-images", "idx3-ubyte")
    labels_path = _find(folder, f"{name}-labels", "idx1-ubyte")
    images, labels = read_idx(images_path, axes=3), read_idx(labels_path, axes=1)
    if images.shape[1:] != (_PIXELS, _PIXELS):
        raise FileFormatError(f"{images_path} holds images of {images.shape[1:]} pixels; expected (28, 28)")
    if len(labels) != len(images):
        raise FileFormatError(f"{labels_path} holds {len(labels)} labels; expected {len(images)}, as images")
    if len(labels) and labels.max() > 9:
        raise FileFormatError(f"{labels_path} holds the label {labels.max()}; expected 0 to 9")
    x = images.reshape(-1, _PIXELS * _PIXELS).astype(np.float32)
    x /= np.float32(255)
    return x, labels.astype(np.int64)


def mnist(
    path: str | os.PathLike[str],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Read MNIST, or a set of the same form such as Fashion-MNIST, from a folder. Nothing is downloaded.

    Parameters
    ----------
    path : str or path
        Folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
        `t10k-labels-idx1-ubyte`, each plain or with `.gz`.

    Returns
    -------
    x_train : (n, 784) float32 in 0..1
    y_train : (n,) int64
    x_test : (m, 784) float32 in 0..1
    y_test : (m,) int64

    Raises
    ------
    FileNotFoundError
        If a file is not there, with the names looked for.
    FileFormatError
        If one is damaged, or does not hold 28×28 images and labels 0 to 9 in equal number.

    Examples
    --------
    >>> import nnrs
    >>> try:
    ...     nnrs.datasets.mnist("no such folder")
    ... except FileNotFoundError as error:
    ...     print("missing")
    missing
    """
    folder = Path(path)
    return (*_part(folder, "train"), *_part(folder, "t10k"))
