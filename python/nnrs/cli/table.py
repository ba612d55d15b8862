"""Tables from files: named columns of numbers or texts, read from CSV, NPZ and Parquet.

A column's cells are looked at when the file is read; a cell that cannot be used is an error only once the
column is asked for. Rows are counted from 1, the first below the header.
"""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["Column", "DataError", "Table", "read"]

Array = NDArray[Any]

# Rows converted at a time: the cells of a chunk live as Python strings, those of the file never do.
_CHUNK_ROWS = 1 << 16
_DELIMITERS = ",;\t"


class DataError(ValueError):
    """The data or a file is not what it has to be; the message is one line for the person at the terminal."""


@dataclass(frozen=True)
class Flaw:
    """The first cell that keeps a column from being used: its row, counted from 1, and what is wrong."""

    row: int
    text: str


@dataclass
class Column:
    """One named column: either all numbers or all texts, else it says where not.

    Attributes
    ----------
    name : str
    numbers : (n,) float64, or None for a column of texts
    codes : (n,) int64, or None for a column of numbers
        Positions in `categories`.
    categories : list of str
        The different texts in order of appearance.
    flaw : Flaw or None
        With a flaw both arrays are None.
    """

    name: str
    numbers: NDArray[np.float64] | None = None
    codes: NDArray[np.int64] | None = None
    categories: list[str] = field(default_factory=list)
    flaw: Flaw | None = None


@dataclass
class Table:
    """Columns of equal length by name, in the order of the file.

    Attributes
    ----------
    path : Path
    rows : int
    columns : dict of Column by name
    """

    path: Path
    rows: int
    columns: dict[str, Column]

    def __getitem__(self, name: str) -> Column:
        """Return the column called `name`; DataError names the columns there are."""
        if name not in self.columns:
            raise DataError(f"{self.path}: no column {name!r}; it has {_listing(self.columns)}")
        return self.columns[name]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as (rows,) float64; DataError names row and cell where it is not numbers."""
        column = self[name]
        if column.numbers is None:
            flaw = column.flaw or Flaw(1, f"{self.text(column, 0)!r} is not a number")
            raise self.error(name, flaw)
        return column.numbers

    def text(self, column: Column, index: int) -> str:
        """Return the cell of row `index` (from 0) of a column of texts."""
        assert column.codes is not None
        return column.categories[int(column.codes[index])]

    def error(self, name: str, flaw: Flaw) -> DataError:
        """Return the DataError that names the place of `flaw`: file, row, line of a CSV file, and column."""
        line = _line_of_row(self.path, flaw.row) if _is_csv(self.path) else None
        place = f"row {flaw.row}" if line is None else f"row {flaw.row} (line {line})"
        return DataError(f"{self.path}: {place}, column {name!r}: {flaw.text}")


def read(path: str | Path, *, texts: Collection[str] = ()) -> Table:
    """Read a table.

    Parameters
    ----------
    path : str or Path
        `.csv`, `.tsv` or `.txt` (UTF-8, a header, separated by commas, semicolons or tabs), `.npz`
        (an array of shape (n,) is a column, one of (n, k) the columns `name[0]` to `name[k-1]`), or
        `.parquet`.
    texts : collection of str
        Columns of a CSV file that are texts even where their cells look like numbers.

    Returns
    -------
    Table

    Raises
    ------
    DataError
        If the file is not such a table, or Parquet's reader is not installed.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    if _is_csv(path):
        return _read_csv(path, texts)
    if path.suffix.lower() == ".npz":
        return _read_npz(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    raise DataError(
        f"{path}: cannot tell what it is; expected a file named .csv, .tsv, .txt, .npz or .parquet"
    )


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".tsv", ".txt")


def _listing(names: Collection[str]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:8])
    return shown if len(names) <= 8 else f"{shown}, … ({len(names)} columns)"


# ---- CSV


@contextmanager
def _csv_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}: {error.reason})") from None
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file: {error}") from None


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row that is not blank, the header first, which tells the delimiter."""
    first = file.readline()
    file.seek(0)
    outside = "".join(first.split('"')[::2])
    delimiter = max(_DELIMITERS, key=outside.count)
    reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t")
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _line_of_row(path: Path, row: int) -> int | None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, (line, _) in enumerate(_rows(file)):
            if number == row:
                return line
    return None


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    numbers = [name for name in names if _is_number(name)]
    # A data frame without names is written with the header 0,1,2,…: numbers, but names all the same.
    if len(numbers) == len(names) and names != [str(i) for i in range(len(names))]:
        raise DataError(
            f"{path}: the first row holds only numbers ({', '.join(names[:4])}…); "
            "expected a header with column names"
        )
    for position, name in enumerate(names, 1):
        if not name:
            raise DataError(
                f"{path}: column {position} has no name (an index that was written along? then leave it out)"
            )
    return names


def _unique(path: Path, names: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if name in seen:
            raise DataError(
                f"{path}: columns {seen[name]} and {position} are both called {name!r}; names must differ"
            )
        seen[name] = position


def _is_number(cell: str) -> bool:
    # float() takes digits grouped by underscores; a data file that holds such a cell means a text.
    try:
        return "_" not in cell and math.isfinite(float(cell))
    except ValueError:
        return False


class _Builder:
    """Collects one column's cells, a chunk at a time."""

    def __init__(self, name: str, as_text: bool) -> None:
        self.name = name
        self.as_text = as_text
        self.numbers: list[NDArray[np.float64]] = []
        self.codes: list[NDArray[np.int64]] = []
        self.categories: dict[str, int] = {}
        self.number: Flaw | None = (
            None  # the first cell that is a number, that is none, and that cannot be used
        )
        self.text: Flaw | None = None
        self.unusable: Flaw | None = None
        self.number_cells = 0
        self.text_cells = 0

    def add(self, cells: Sequence[str], before: int) -> None:
        """Take the cells of rows `before` + 1, `before` + 2, ….

        Most chunks are all numbers or all texts: only a chunk of both is looked at cell by cell.
        """
        if not self.as_text:
            try:
                values = np.fromiter(map(float, cells), np.float64, len(cells))
            except ValueError:
                values = None
            if values is not None and "_" not in "".join(cells):
                finite = np.isfinite(values)
                if not finite.all():
                    at = int(np.argmin(finite))
                    self._unusable(before + at + 1, f"{cells[at].strip()!r} is not a finite number")
                self.number_cells += len(cells)
                self.number = self.number or Flaw(before + 1, cells[0])
                self.numbers.append(values)
                return
        known = self.categories
        codes = np.fromiter(
            (known.setdefault(cell.strip(), len(known)) for cell in cells), np.int64, len(cells)
        )
        if "" in known:
            missing = np.flatnonzero(codes == known[""])
            if len(missing):
                self._unusable(before + int(missing[0]) + 1, "the cell is empty")
        if self.as_text:
            self.text_cells += len(cells)
        else:
            self._count(cells, codes, before)
        self.codes.append(codes)

    def _count(self, cells: Sequence[str], codes: NDArray[np.int64], before: int) -> None:
        """Count numbers and texts among cells of which not all are numbers."""
        kinds = {cell: _is_number(cell) for cell in set(cells)}
        numeric = np.fromiter((kinds[cell] for cell in cells), np.bool_, len(cells))
        filled = codes != self.categories.get("", -1)
        for found, name in ((numeric, "number"), (~numeric & filled, "text")):
            if found.any() and getattr(self, name) is None:
                at = int(np.argmax(found))
                setattr(self, name, Flaw(before + at + 1, cells[at].strip()))
        self.number_cells += int(numeric.sum())
        self.text_cells += int((~numeric & filled).sum())

    def _unusable(self, row: int, text: str) -> None:
        self.unusable = self.unusable or Flaw(row, text)

    def column(self) -> Column:
        """Return the column; of numbers and texts mixed, the rarer kind is the flaw."""
        flaw = self.unusable
        if self.number is not None and self.text is not None:
            if self.number_cells >= self.text_cells:
                other = Flaw(self.text.row, f"{self.text.text!r} is not a number")
            else:
                other = Flaw(self.number.row, f"{self.number.text!r} is a number among texts")
            flaw = other if flaw is None or other.row < flaw.row else flaw
        if flaw is not None:
            return Column(self.name, flaw=flaw)
        if self.codes:
            return Column(self.name, codes=np.concatenate(self.codes), categories=list(self.categories))
        return Column(self.name, numbers=np.concatenate(self.numbers))


def _read_csv(path: Path, texts: Collection[str]) -> Table:
    with path.open(encoding="utf-8-sig", newline="") as file, _csv_errors(path):
        rows = _rows(file)
        _, header = next(rows, (0, []))
        if not header:
            raise DataError(f"{path}: the file is empty; expected a header and rows")
        names = _header(path, header)
        _unique(path, names)
        builders = [_Builder(name, name in texts) for name in names]
        count = 0
        chunk: list[list[str]] = []
        for line, cells in rows:
            if len(cells) != len(names):
                raise DataError(
                    f"{path}: row {count + len(chunk) + 1} (line {line}) has {len(cells)} cells; "
                    f"expected {len(names)}, as the header"
                )
            chunk.append(cells)
            if len(chunk) == _CHUNK_ROWS:
                _take(builders, chunk, count)
                count += len(chunk)
                chunk.clear()
        if chunk:
            _take(builders, chunk, count)
            count += len(chunk)
    if not count:
        raise DataError(f"{path}: there are no rows below the header")
    return Table(path, count, {builder.name: builder.column() for builder in builders})


def _take(builders: list[_Builder], chunk: list[list[str]], before: int) -> None:
    for builder, cells in zip(builders, zip(*chunk, strict=True), strict=True):
        builder.add(cells, before)


# ---- arrays: NPZ and Parquet


def _number_column(name: str, values: Array) -> Column:
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    if finite.all():
        return Column(name, numbers=numbers)
    at = int(np.argmin(finite))
    return Column(name, flaw=Flaw(at + 1, f"{float(numbers[at])!r} is not a finite number"))


def _text_column(name: str, values: Sequence[str]) -> Column:
    known: dict[str, int] = {}
    codes = np.fromiter(
        (known.setdefault(value.strip(), len(known)) for value in values), np.int64, len(values)
    )
    if "" in known:
        return Column(name, flaw=Flaw(int(np.argmax(codes == known[""])) + 1, "the cell is empty"))
    return Column(name, codes=codes, categories=list(known))


def _read_npz(path: Path) -> Table:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays: dict[str, Array] = {name: archive[name] for name in archive.files}
    except (
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        AttributeError,
        TypeError,
    ) as error:
        raise DataError(f"{path}: not an NPZ file of plain arrays: {_one_line(error)}") from None
    if not arrays:
        raise DataError(f"{path}: the file is empty; expected arrays")
    columns: list[Column] = []
    first, rows = "", -1
    for name, array in arrays.items():
        if array.ndim == 0:
            raise DataError(f"{path}: array {name!r} is a single value; expected one entry a row")
        if rows < 0:
            first, rows = name, len(array)
        if len(array) != rows:
            raise DataError(
                f"{path}: array {name!r} has {len(array)} rows, array {first!r} has {rows}; expected as many"
            )
        if array.dtype.kind in "US" and array.ndim == 1:
            columns.append(_text_column(name, [str(value) for value in array.astype(np.str_)]))
            continue
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"{path}: array {name!r} holds {array.dtype}; expected numbers, or texts of shape (n,)"
            )
        if array.ndim == 1:
            columns.append(_number_column(name, array))
        elif rows:
            flat = np.ascontiguousarray(array.reshape(rows, -1).T)
            columns += [_number_column(f"{name}[{j}]", values) for j, values in enumerate(flat)]
    if not rows:
        raise DataError(f"{path}: the arrays have no rows")
    _unique(path, [column.name for column in columns])
    return Table(path, rows, {column.name: column for column in columns})


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow: pip install 'nnrs[parquet]'") from None
    with path.open("rb") as file:
        try:
            found = pq.read_table(file)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: not a Parquet file: {_one_line(error)}") from None
    names = [str(name) for name in found.column_names]
    _unique(path, names)
    if not found.num_rows:
        raise DataError(f"{path}: there are no rows")
    columns = {name: _arrow_column(name, found.column(i)) for i, name in enumerate(names)}
    return Table(path, int(found.num_rows), columns)


def _arrow_column(name: str, values: Any) -> Column:
    import pyarrow as pa

    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if values.null_count:
        missing = values.is_null().to_numpy()
        return Column(name, flaw=Flaw(int(np.argmax(missing)) + 1, "the cell is empty"))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text_column(name, values.to_pylist())
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        return _number_column(name, np.asarray(values.to_numpy()))
    return Column(name, flaw=Flaw(1, f"the column holds {values.type}; expected numbers or texts"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
