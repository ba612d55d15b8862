"""`nnrs predict`: a model file and a table in, a CSV of predictions out."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core, metrics
from nnrs.cli import report, table
from nnrs.cli.encoding import METADATA_KEY, Encoding
from nnrs.cli.table import DataError, Table
from nnrs.file import load

if TYPE_CHECKING:
    from nnrs.predictor import Predictor

__all__ = ["add_parser"]

Array = NDArray[Any]

_SHOWN_ROWS = 10


def add_parser(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "predict",
        help="apply a model file to a table",
        description="Predict every row of a table, its columns found by name. Writes CSV: for classes the "
        "predicted one and the probability of each, for regression the predicted value.",
    )
    parser.add_argument("model", type=Path, help="a model file, as `nnrs train` or `model.save` writes it")
    parser.add_argument("data", type=Path, help="FILE.csv | FILE.npz | FILE.parquet")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write there, and show the first rows (default: stdout)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Predict and write."""
    predictor, encoding = _open_model(args.model)
    found = table.read(args.data)
    x = (
        encoding.transform(found)
        if encoding is not None
        else _by_position(found, predictor.in_features, args.model)
    )
    header, labels, values = _predictions(predictor, x)
    if args.out is None:
        _write(sys.stdout, header, labels, values)
    else:
        with args.out.open("w", encoding="utf-8", newline="") as file:
            _write(file, header, labels, values)
        shown = slice(_SHOWN_ROWS)
        print(report.columns(header, _cells(labels, values, shown, "{:.3f}")))
        if len(x) > _SHOWN_ROWS:
            print(f"… {len(x) - _SHOWN_ROWS} more rows")
        print(f"wrote {len(x)} rows to {args.out}")
    _compare(found, encoding, labels)
    return 0


def _open_model(path: Path) -> tuple[Predictor, Encoding | None]:
    """Return the frozen model, and how its inputs are made from columns: stored, from names, or unknown."""
    model = load(path)
    predictor = model.freeze()
    if METADATA_KEY not in model.metadata:
        return predictor, None
    encoding = Encoding.from_json(model.metadata[METADATA_KEY])
    if encoding.width != predictor.in_features:
        raise _core.FileFormatError(
            f"{path}: the columns of metadata {METADATA_KEY!r} make {encoding.width} inputs; "
            f"the model has {predictor.in_features}"
        )
    return predictor, encoding


def _by_position(found: Table, inputs: int, model: Path) -> NDArray[np.float32]:
    """Return the columns in the order of the file, for a model that does not know their names."""
    if len(found.columns) != inputs:
        raise DataError(
            f"{found.path}: {len(found.columns)} columns; {model} takes {inputs} inputs and names no columns"
        )
    print(f"nnrs: {model} names no columns; those of {found.path} are taken in their order", file=sys.stderr)
    return np.column_stack([found.numbers(name) for name in found.columns]).astype(np.float32)


def _predictions(predictor: Predictor, x: Array) -> tuple[list[str], Array | None, Array]:
    """Return the header, the predicted classes or None, and the numbers under the other names."""
    if predictor.task in ("multiclass", "binary"):
        probabilities = predictor.predict_proba(x)
        classes = predictor.classes_ if predictor.classes_ is not None else np.arange(probabilities.shape[1])
        return ["prediction", *(f"p({name})" for name in classes)], predictor.predict(x), probabilities
    values = predictor.predict_proba(x) if predictor.task == "multilabel" else predictor(x)
    kind = "p" if predictor.task == "multilabel" else "prediction"
    names = [kind] if values.shape[1] == 1 else [f"{kind}[{j}]" for j in range(values.shape[1])]
    return names, None, values


def _cells(labels: Array | None, values: Array, rows: slice, form: str) -> list[list[str]]:
    cells = [[form.format(value) for value in row] for row in values[rows].tolist()]
    if labels is None:
        return cells
    return [[str(label), *row] for label, row in zip(labels[rows].tolist(), cells, strict=True)]


def _write(file: Any, header: list[str], labels: Array | None, values: Array) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    step = 1 << 14
    for start in range(0, len(values), step):
        writer.writerows(_cells(labels, values, slice(start, start + step), "{:.6g}"))


def _compare(found: Table, encoding: Encoding | None, labels: Array | None) -> None:
    """Where the table holds the true classes as well, say on stderr how many were met."""
    if encoding is None or labels is None or encoding.target not in found.columns:
        return
    column = found[encoding.target]
    true: Array
    if column.codes is not None:
        true = np.array(column.categories)[column.codes]
    elif column.numbers is not None:
        true = column.numbers
    else:
        return
    if (true.dtype.kind == "U") != (labels.dtype.kind == "U"):
        return
    score = metrics.accuracy(true, labels)
    print(
        f"accuracy {score:.4f} on {len(labels)} rows: column {encoding.target!r} holds their classes",
        file=sys.stderr,
    )
