"""How the columns of a table become the inputs of a model; saved with the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs._core import FileFormatError
from nnrs.cli.table import DataError, Flaw, Table

__all__ = ["METADATA_KEY", "Encoding", "Feature"]

METADATA_KEY = "nnrs_table"

# A column with more different texts than this is a name or a number of something, not a category.
_MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Feature:
    """A column that feeds the model: one input for a number, one for each of the categories of a text."""

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        """Number of model inputs."""
        return 1 if self.categories is None else len(self.categories)

    def input_names(self) -> list[str]:
        """Return the names of its model inputs: `age`, or `city=Paris` and `city=Rome`."""
        return [self.name] if self.categories is None else [f"{self.name}={text}" for text in self.categories]


@dataclass(frozen=True)
class Encoding:
    """The features in the order of the model's inputs, and the column that the model predicts."""

    features: tuple[Feature, ...]
    target: str

    @classmethod
    def fit(cls, table: Table, target: str) -> Encoding:
        """Choose numbers and categories from a table: every column but the target becomes a feature.

        Raises
        ------
        DataError
            If there is no column `target` or no other, a cell is missing or of another kind than its column,
            or a column of texts has too many different ones.
        """
        _ = table[target]
        features = []
        for name, column in table.columns.items():
            if name == target:
                continue
            if column.flaw is not None:
                raise table.error(name, column.flaw)
            if column.codes is None:
                features.append(Feature(name))
                continue
            if len(column.categories) > _MOST_CATEGORIES:
                raise DataError(
                    f"{table.path}: column {name!r} has {len(column.categories)} different texts; at most "
                    f"{_MOST_CATEGORIES} become categories (an identifier? then leave the column out)"
                )
            features.append(Feature(name, tuple(sorted(column.categories))))
        if not features:
            raise DataError(
                f"{table.path}: {target!r} is the only column; expected others to predict it from"
            )
        return cls(tuple(features), target)

    @property
    def width(self) -> int:
        """Number of model inputs."""
        return sum(feature.width for feature in self.features)

    def input_names(self) -> list[str]:
        """Return the name of every model input."""
        return [name for feature in self.features for name in feature.input_names()]

    def transform(self, table: Table) -> NDArray[np.float32]:
        """Return the model's inputs for the rows of a table, its columns found by name.

        Returns
        -------
        (rows, width) float32

        Raises
        ------
        DataError
            If a column is missing, a cell is not a number where numbers are needed, does not fit in float32,
            or is a text not seen in training.
        """
        missing = [repr(feature.name) for feature in self.features if feature.name not in table.columns]
        if missing:
            raise DataError(f"{table.path}: no column {', '.join(missing)}, which the model was trained on")
        x = np.zeros((table.rows, self.width), np.float32)
        at = 0
        for feature in self.features:
            if feature.categories is None:
                self._numbers(table, feature.name, x[:, at])
            else:
                x[np.arange(table.rows), at + self._positions(table, feature)] = 1.0
            at += feature.width
        return x

    @staticmethod
    def _numbers(table: Table, name: str, out: NDArray[np.float32]) -> None:
        values = table.numbers(name)
        with np.errstate(over="ignore"):
            out[:] = values
        finite = np.isfinite(out)
        if not finite.all():
            at = int(np.argmin(finite))
            raise table.error(name, Flaw(at + 1, f"{values[at]:g} is too large for float32"))

    @staticmethod
    def _positions(table: Table, feature: Feature) -> NDArray[np.int64]:
        assert feature.categories is not None
        column = table[feature.name]
        if column.flaw is not None:
            raise table.error(feature.name, column.flaw)
        known = {text: position for position, text in enumerate(feature.categories)}
        shown = ", ".join(map(repr, feature.categories[:6])) + (", …" if len(feature.categories) > 6 else "")
        if column.codes is None:
            assert column.numbers is not None
            flaw = Flaw(1, f"the number {column.numbers[0]:g} stands where the model knows the texts {shown}")
            raise table.error(feature.name, flaw)
        positions = np.fromiter(
            (known.get(text, -1) for text in column.categories), np.int64, len(column.categories)
        )
        found = positions[column.codes]
        if found.size and found.min() < 0:
            at = int(np.argmax(found < 0))
            flaw = Flaw(
                at + 1, f"{table.text(column, at)!r} was not seen in training; the model knows {shown}"
            )
            raise table.error(feature.name, flaw)
        return found

    def to_json(self) -> str:
        """Return the text stored in a model file under `METADATA_KEY`."""
        columns: list[dict[str, Any]] = []
        for feature in self.features:
            column: dict[str, Any] = {"name": feature.name}
            if feature.categories is not None:
                column["categories"] = list(feature.categories)
            columns.append(column)
        return json.dumps({"target": self.target, "columns": columns}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Encoding:
        """Return the encoding that `to_json` wrote; FileFormatError for any other text."""
        try:
            found = json.loads(text)
            target, columns = found["target"], found["columns"]
            features = tuple(cls._feature(column) for column in columns)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise FileFormatError(
                f"metadata {METADATA_KEY!r} does not describe the columns of a table"
            ) from None
        names = {feature.name for feature in features}
        if not isinstance(target, str) or not features or len(names) != len(features):
            raise FileFormatError(f"metadata {METADATA_KEY!r} does not describe the columns of a table")
        return cls(features, target)

    @staticmethod
    def _feature(column: dict[str, Any]) -> Feature:
        name, categories = column["name"], column.get("categories")
        if not isinstance(name, str):
            raise TypeError("name")
        if categories is None:
            return Feature(name)
        if (
            not isinstance(categories, list)
            or not categories
            or not all(isinstance(t, str) for t in categories)
        ):
            raise TypeError("categories")
        if len(set(categories)) != len(categories):
            raise ValueError("categories")
        return Feature(name, tuple(categories))
