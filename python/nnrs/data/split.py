"""Rows chosen at random, whole or class by class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import _core
from nnrs.random import resolve_seed

__all__ = ["count_part", "split_rows", "train_test_split"]

Array = NDArray[Any]


def count_part(name: str, size: float, rows: int) -> int:
    """Return how many of `rows` rows the part `size` holds, rounded up, leaving at least one on each side.

    Parameters
    ----------
    name : str
        What the argument is called in the error.
    size : float or int
        A share, 0 < size < 1, or a number of rows, 1 ≤ size < rows.
    rows : int

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `size` is not a number.
    ValueError
        If it is neither such a share nor such a number, or leaves one side empty.

    Examples
    --------
    >>> from nnrs.data.split import count_part
    >>> count_part("test_size", 0.25, 10)
    3
    """
    if isinstance(size, bool) or not isinstance(size, int | float | np.integer | np.floating):
        got = type(size).__name__
        raise TypeError(f"{name} must be a float (a share) or an int (a number of rows), got {got}")
    if isinstance(size, int | np.integer):
        count = int(size)
        if not 1 <= count < rows:
            raise ValueError(f"{name}={count} of {rows} rows; expected at least 1 and fewer than all")
        return count
    if not 0 < size < 1:
        raise ValueError(f"{name}={size}; expected a share between 0 and 1, or an int for a number of rows")
    count = math.ceil(size * rows)
    if count >= rows:
        raise ValueError(
            f"{name}={size} of {rows} rows leaves none for the other part; expected a smaller share"
        )
    return count


def split_rows(
    rows: int, size: int, *, seed: int, stratify: Array | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose `size` of `rows` rows at random.

    With `stratify` each class sends its share, rounded by largest remainder; ties go to the class that
    sorts first. A class may be too small to send any.

    Parameters
    ----------
    rows, size : int
        0 < size < rows.
    seed : int
    stratify : (rows,) labels, optional

    Returns
    -------
    (rows - size,) int64, (size,) int64
        The rows left and the rows chosen, both in random order.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.data.split import split_rows
    >>> left, chosen = split_rows(6, 2, seed=0, stratify=np.array([0, 0, 0, 1, 1, 1]))
    >>> sorted((chosen // 3).tolist())
    [0, 1]
    """
    if stratify is None:
        order = _core.permutation(seed, "split", 0, rows)
        return order[size:], order[:size]
    _, number, counts = np.unique(stratify, return_inverse=True, return_counts=True)
    share = counts * (size / rows)
    take = np.floor(share).astype(np.int64)
    take[np.argsort(take - share, kind="stable")[: size - int(take.sum())]] += 1
    order = _core.permutation(seed, "stratify", 0, rows)
    shuffled = number.reshape(-1)[order]
    by_class = np.argsort(shuffled, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(rows, dtype=np.int64)
    rank[by_class] = np.arange(rows) - np.repeat(first, counts)
    chosen = rank < take[shuffled]
    return order[~chosen], order[chosen]


def _check_classes(labels: Array, size: int) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        lonely = classes[counts.argmin()].item()
        raise ValueError(f"stratify has one row only of the class {lonely!r}; expected at least 2 of each")
    for name, part in (("training", len(labels) - size), ("test", size)):
        if part < len(classes):
            raise ValueError(
                f"the {name} part has {part} rows; expected one or more of each of {len(classes)} classes"
            )


def _take(array: Any, rows: NDArray[np.int64]) -> Any:
    return array.iloc[rows] if hasattr(array, "iloc") else np.asarray(array)[rows]


def train_test_split(
    *arrays: Any, test_size: float = 0.25, seed: int | None = None, stratify: ArrayLike | None = None
) -> list[Any]:
    """Split arrays of equal length into a training and a test part, at random.

    Parameters
    ----------
    *arrays : (n, …) array, list, or pandas object
    test_size : float or int
        Share of the rows, rounded up, or their number.
    seed : int, optional
    stratify : (n,) labels, optional
        Keep the share of each class the same in both parts.

    Returns
    -------
    list
        train, test of the first array, then of the second, …: scikit-learn's order.

    Raises
    ------
    TypeError, ValueError
        If there is no array, lengths differ, `test_size` leaves a part empty, or a class has a single row.

    Examples
    --------
    >>> import nnrs
    >>> x, y = nnrs.datasets.digits()
    >>> xt, xv, yt, yv = nnrs.data.train_test_split(x, y, test_size=0.2, seed=0, stratify=y)
    >>> xt.shape, yv.shape
    ((1437, 64), (360,))
    """
    if not arrays:
        raise TypeError("train_test_split needs at least one array")
    rows = len(arrays[0])
    for place, array in enumerate(arrays[1:], 1):
        if len(array) != rows:
            raise ValueError(f"arrays[{place}] has {len(array)} rows; expected {rows}, the rows of arrays[0]")
    size = count_part("test_size", test_size, rows)
    labels = None
    if stratify is not None:
        labels = np.asarray(stratify)
        if labels.shape == (rows, 1):
            labels = labels[:, 0]
        if labels.shape != (rows,):
            raise ValueError(f"stratify has shape {labels.shape}; expected ({rows},), one label a row")
        _check_classes(labels, size)
    train, test = split_rows(rows, size, seed=resolve_seed(seed), stratify=labels)
    parts = []
    for array in arrays:
        parts += [_take(array, train), _take(array, test)]
    return parts
