"""What `nnrs train` learns from: the digits, an MNIST folder or a table, as arrays with a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs import data, datasets
from nnrs.cli import table
from nnrs.cli.encoding import Encoding, Feature
from nnrs.cli.table import DataError, Flaw, Table

__all__ = ["Problem", "open_problem"]

Array = NDArray[Any]

# Column names that say which column is to be predicted, where --target does not.
_USUAL_TARGETS = ("target", "label", "class", "y")
# Whole numbers with more different values than this are taken for amounts, not for classes.
_MOST_NUMBERED_CLASSES = 30


@dataclass
class Problem:
    """Arrays to learn from, and how they came about.

    Attributes
    ----------
    name : str
        Stem of the files written.
    x : (n, inputs) float32
    y : (n,) int64 or str labels, or float64 for regression
    task : {"classification", "regression"}
    reason : str
        Why this task.
    encoding : Encoding
    test : (x, y) or None
        Rows that training does not see.
    source : str
        A line about the rows.
    standardize : bool
        Whether the model should begin with a scaler.
    image : (height, width) or None
        The shape of a row, where it is a picture.
    """

    name: str
    x: NDArray[np.float32]
    y: Array
    task: str
    reason: str
    encoding: Encoding
    source: str
    test: tuple[NDArray[np.float32], Array] | None = None
    standardize: bool = True
    image: tuple[int, int] | None = None
    classes: Array = field(init=False)

    def __post_init__(self) -> None:
        self.classes = np.unique(self.y) if self.task == "classification" else np.empty(0)


def open_problem(source: str, target: str | None, task: str | None) -> Problem:
    """Read what `nnrs train SOURCE` names.

    Parameters
    ----------
    source : str
        `digits`, a folder with MNIST's files, or a table's file.
    target : str, optional
        The column to predict; by default the one with a usual name, else the last.
    task : {"classification", "regression"}, optional
        By default found from the target.

    Returns
    -------
    Problem

    Raises
    ------
    DataError, FileFormatError, OSError
        If it cannot be read or learned from.
    """
    if source == "digits":
        return _digits(task)
    path = Path(source)
    if path.is_dir():
        return _mnist(path, task)
    return _from_table(table.read(path), target, task)


def _pixels(count: int) -> tuple[Feature, ...]:
    return tuple(Feature(f"pixel{i}") for i in range(count))


def _only_classes(source: str, task: str | None) -> None:
    if task == "regression":
        raise DataError(
            f"{source}: the labels are classes; --task regression needs a table with a number to predict"
        )


def _digits(task: str | None) -> Problem:
    _only_classes("digits", task)
    x, y = datasets.digits()
    x_train, x_test, y_train, y_test = data.train_test_split(x, y, test_size=0.2, seed=0, stratify=y)
    return Problem(
        name="digits",
        x=x_train,
        y=y_train,
        task="classification",
        reason="the labels are the digits 0 to 9",
        encoding=Encoding(_pixels(x.shape[1]), "label"),
        source=f"digits: {len(y_train)} rows to train on, {len(y_test)} held out (20 %, stratified, seed 0)",
        test=(x_test, y_test),
        image=(8, 8),
    )


def _mnist(path: Path, task: str | None) -> Problem:
    _only_classes(str(path), task)
    x, y, x_test, y_test = datasets.mnist(path)
    if not len(x) or not len(x_test):
        raise DataError(f"{path}: the MNIST files hold no images")
    return Problem(
        name=path.resolve().name,
        x=x,
        y=y,
        task="classification",
        reason="the labels are the digits 0 to 9",
        encoding=Encoding(_pixels(x.shape[1]), "label"),
        source=f"{path}: {len(y)} rows to train on, {len(y_test)} to test on",
        test=(x_test, y_test),
        # Already 0 to 1; dividing by its deviation would blow up a pixel that is nearly always blank.
        standardize=False,
        image=(28, 28),
    )


def _from_table(found: Table, target: str | None, task: str | None) -> Problem:
    if target is None:
        usual = [name for name in _USUAL_TARGETS if name in found.columns]
        target = usual[0] if usual else list(found.columns)[-1]
        chosen = (
            f", target {target!r} ({'by its name' if usual else 'the last column'}; --target names another)"
        )
    else:
        chosen = f", target {target!r}"
    y, task, reason = _target(found, target, task)
    encoding = Encoding.fit(found, target)
    x = encoding.transform(found)
    if found.rows < 2:
        raise DataError(f"{found.path}: there is 1 row; training needs at least 2")
    text_columns = sum(feature.categories is not None for feature in encoding.features)
    encoded = (
        f", {text_columns} of texts one-hot encoded into {encoding.width} inputs" if text_columns else ""
    )
    return Problem(
        name=found.path.stem,
        x=x,
        y=y,
        task=task,
        reason=reason,
        encoding=encoding,
        source=f"{found.path}: {found.rows} rows, {len(encoding.features)} feature columns{encoded}{chosen}",
    )


def _target(found: Table, name: str, task: str | None) -> tuple[Array, str, str]:
    """Return the target, the task and the reason for it."""
    column = found[name]
    if column.flaw is not None and task == "classification":
        # Classes such as 1, 2, 3+ are numbers to some cells and texts to others.
        found = table.read(found.path, texts={name})
        column = found[name]
    if column.flaw is not None:
        raise found.error(name, column.flaw)
    if column.codes is not None:
        if task == "regression":
            raise found.error(
                name, Flaw(1, f"{found.text(column, 0)!r} is not a number, which regression needs")
            )
        y: Array = np.array(column.categories)[column.codes]
        return y, *_classes(found, name, y, "it holds texts")
    numbers = found.numbers(name)
    different = np.unique(numbers)
    whole = bool(np.all(different == np.floor(different))) and bool(np.all(np.abs(different) < 2**53))
    if task == "classification" or (task is None and whole and len(different) <= _MOST_NUMBERED_CLASSES):
        y = numbers.astype(np.int64) if whole else np.array([f"{value:g}" for value in numbers])
        kind = "whole numbers" if whole else "numbers"
        why = "asked for by --task" if task else f"it holds {len(different)} different {kind}"
        return y, *_classes(found, name, y, why)
    if len(different) < 2:
        raise DataError(
            f"{found.path}: target {name!r} is {different[0]:g} in every row; there is nothing to learn"
        )
    why = "asked for by --task" if task else f"it holds {len(different)} different numbers"
    return numbers, "regression", why


def _classes(found: Table, name: str, y: Array, reason: str) -> tuple[str, str]:
    different = np.unique(y)
    if len(different) < 2:
        raise DataError(
            f"{found.path}: target {name!r} is {str(different[0])!r} in every row; there is nothing to learn"
        )
    if len(different) > max(2, len(y) // 2):
        raise DataError(
            f"{found.path}: target {name!r} has {len(different)} classes in {len(y)} rows; "
            "expected two rows or more of a class (for amounts: --task regression)"
        )
    return "classification", reason
