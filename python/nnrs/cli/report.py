"""Tables of text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["columns", "confusion"]

_MOST_CLASSES = 20
_MOST_PAIRS = 10


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows under their header, every column as wide as its widest cell, aligned on the right.

    Examples
    --------
    >>> from nnrs.cli import report
    >>> print(report.columns(["name", "rows"], [["a", "12"], ["b", "7"]]))
    name  rows
       a    12
       b     7
    """
    table = [header, *rows]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table
    )


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return a confusion matrix with its classes; of very many classes the most frequent confusions alone.

    Parameters
    ----------
    counts : (classes, classes) int64
        Rows are the true classes.
    classes : (classes,) str

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.cli import report
    >>> print(report.confusion(np.array([[3, 1], [0, 4]]), ["cat", "dog"]))
    confusion matrix (rows: true, columns: predicted)
         cat  dog
    cat    3    1
    dog    0    4
    """
    if len(classes) <= _MOST_CLASSES:
        rows = [[name, *map(str, row)] for name, row in zip(classes, counts.tolist(), strict=True)]
        return "confusion matrix (rows: true, columns: predicted)\n" + columns(["", *classes], rows)
    wrong = counts - np.diag(np.diag(counts))
    worst = [
        divmod(int(at), len(classes)) for at in np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    ]
    rows = [[classes[i], classes[j], str(wrong[i, j])] for i, j in worst if wrong[i, j]]
    return "most frequent confusions\n" + columns(["true", "predicted", "rows"], rows)
