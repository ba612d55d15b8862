"""Categories as columns of 0 and 1, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs.arguments import check_choice

__all__ = ["OneHotEncoder", "one_hot"]

Array = NDArray[Any]


def one_hot(y: ArrayLike, num_classes: int | None = None) -> NDArray[np.int64]:
    """Class numbers as rows of 0 with a single 1.

    Parameters
    ----------
    y : (n,) or (n, 1) int
        0 ≤ y < num_classes.
    num_classes : int, optional
        The largest label plus one without it.

    Returns
    -------
    (n, num_classes) int64

    Raises
    ------
    TypeError
        If `y` does not hold integers.
    ValueError
        If a label is negative or not below `num_classes`.

    Notes
    -----
    `torch.nn.functional.one_hot`. Back again: `.argmax(axis=1)`. For strings see `OneHotEncoder`.

    Examples
    --------
    >>> from nnrs.data import one_hot
    >>> one_hot([0, 2])
    array([[1, 0, 0],
           [0, 0, 1]])
    """
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"y has shape {labels.shape}; expected (n,) class numbers")
    if labels.dtype.kind not in "iub" and len(labels):
        raise TypeError(f"y has dtype {labels.dtype}; expected integers (OneHotEncoder takes strings)")
    labels = labels.astype(np.int64)
    if len(labels) and labels.min() < 0:
        raise ValueError(f"y has the label {labels.min()}; expected class numbers from 0")
    classes = (int(labels.max()) + 1 if len(labels) else 0) if num_classes is None else num_classes
    if len(labels) and labels.max() >= classes:
        raise ValueError(f"y has the label {labels.max()}; expected labels below num_classes={classes}")
    rows = np.zeros((len(labels), classes), dtype=np.int64)
    rows[np.arange(len(labels)), labels] = 1
    return rows


class OneHotEncoder:
    """Columns of categories as columns of 0 and 1, and back.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Of what `transform` returns.

    Attributes
    ----------
    categories_ : list of (k,) arrays
        Sorted categories of each column, after `fit`.

    Notes
    -----
    `sklearn.preprocessing.OneHotEncoder` with `handle_unknown="error"`.

    Examples
    --------
    >>> from nnrs.data import OneHotEncoder
    >>> encoder = OneHotEncoder().fit(["red", "green", "red"])
    >>> encoder.transform(["green", "red"])
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    >>> encoder.inverse_transform([[1, 0], [0, 1]]).tolist()
    ['green', 'red']
    """

    categories_: list[Array]

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype = check_choice("dtype", dtype, ("float32", "float64"))

    def _columns(self, x: Any) -> tuple[list[Array], list[str], bool]:
        """Return the columns of `x`, their names for messages, and whether `x` has one axis only."""
        if hasattr(x, "columns") and hasattr(x, "iloc"):
            return [np.asarray(x[name]) for name in x.columns], [repr(name) for name in x.columns], False
        array = np.asarray(x)
        if array.ndim == 1:
            return [array], ["0"], True
        if array.ndim != 2:
            raise ValueError(f"x has shape {array.shape}; expected (n,) or (n, columns)")
        return list(array.T), [str(place) for place in range(array.shape[1])], False

    def fit(self, x: Any) -> OneHotEncoder:
        """Learn the categories of each column.

        Parameters
        ----------
        x : (n,) or (n, columns) of strings, integers or bool; list, array or pandas frame

        Returns
        -------
        OneHotEncoder
            itself

        Raises
        ------
        ValueError
            If there are no rows, or a cell is missing (None, NaN).

        Examples
        --------
        >>> from nnrs.data import OneHotEncoder
        >>> OneHotEncoder().fit([["a", 1], ["b", 1]]).categories_
        [array(['a', 'b'], dtype='<U21'), array(['1'], dtype='<U21')]
        """
        columns, names, self._flat = self._columns(x)
        if not columns or not len(columns[0]):
            raise ValueError("x has no rows or no columns; expected at least one of each")
        categories = []
        for column, name in zip(columns, names, strict=True):
            missing = [row for row, value in enumerate(column.tolist()) if value is None or value != value]
            if missing:
                where = f"column {name}, row {missing[0]}"
                raise ValueError(f"x has a missing value in {where}; expected a category")
            try:
                categories.append(np.unique(column))
            except TypeError:
                message = f"x mixes types that do not sort in column {name}; expected one type a column"
                raise TypeError(message) from None
        self.categories_ = categories
        return self

    def transform(self, x: Any) -> Array:
        """Turn categories into columns of 0 and 1.

        Parameters
        ----------
        x : (n,) or (n, columns), as in `fit`

        Returns
        -------
        (n, total of categories) array of `dtype`

        Raises
        ------
        RuntimeError
            Before `fit`.
        ValueError
            If a category was not seen by `fit`, with its column and row; if the columns are not as many.

        Examples
        --------
        >>> from nnrs.data import OneHotEncoder
        >>> OneHotEncoder().fit(["a", "b"]).transform(["b"])
        array([[0., 1.]], dtype=float32)
        """
        known = self._fitted()
        columns, names, _ = self._columns(x)
        if len(columns) != len(known):
            raise ValueError(f"x has {len(columns)} columns; expected {len(known)}, as in fit")
        parts = []
        for column, name, categories in zip(columns, names, known, strict=True):
            number = {value: place for place, value in enumerate(categories.tolist())}
            values = column.tolist()
            places = [number.get(value, -1) for value in values]
            if -1 in places:
                row = places.index(-1)
                raise ValueError(
                    f"x has the unknown category {values[row]!r} in column {name}, row {row}; "
                    f"expected one of {categories.tolist()}"
                )
            part = np.zeros((len(column), len(categories)), dtype=self.dtype)
            part[np.arange(len(column)), places] = 1
            parts.append(part)
        return np.concatenate(parts, axis=1)

    def fit_transform(self, x: Any) -> Array:
        """`fit`, then `transform` of the same rows.

        Parameters
        ----------
        x : (n,) or (n, columns), as in `fit`

        Returns
        -------
        (n, total of categories) array of `dtype`

        Raises
        ------
        TypeError, ValueError
            As `fit`.

        Examples
        --------
        >>> from nnrs.data import OneHotEncoder
        >>> OneHotEncoder().fit_transform(["a", "b"]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        return self.fit(x).transform(x)

    def inverse_transform(self, encoded: ArrayLike) -> Array:
        """Turn columns of 0 and 1, or of scores, back into categories: the largest of each column's group.

        Parameters
        ----------
        encoded : (n, total of categories) float

        Returns
        -------
        (n,) or (n, columns) array
            The form that `fit` was given.

        Raises
        ------
        RuntimeError
            Before `fit`.
        ValueError
            If the columns are not as many as the categories.

        Examples
        --------
        >>> from nnrs.data import OneHotEncoder
        >>> OneHotEncoder().fit(["a", "b"]).inverse_transform([[0.1, 0.9]]).tolist()
        ['b']
        """
        known = self._fitted()
        scores = np.asarray(encoded)
        total = sum(map(len, known))
        if scores.ndim != 2 or scores.shape[1] != total:
            raise ValueError(f"encoded has shape {scores.shape}; expected (n, {total}), a column a category")
        columns: list[Array] = []
        start = 0
        for categories in known:
            columns.append(categories[scores[:, start : start + len(categories)].argmax(axis=1)])
            start += len(categories)
        if self._flat:
            return columns[0]
        kinds = {column.dtype.kind for column in columns}
        return np.stack([column if len(kinds) == 1 else column.astype(object) for column in columns], axis=1)

    def _fitted(self) -> list[Array]:
        if not hasattr(self, "categories_"):
            raise RuntimeError("this OneHotEncoder has learned no categories yet; call fit first")
        return self.categories_
