"""Results as tables of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nnrs.cli.bench.contest import Result
from nnrs.cli.report import columns

__all__ = ["by_group", "cells", "text"]

Rows = list[list[str]]

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_NONE = "—"


def by_group(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the results of each group, in order.

    Examples
    --------
    >>> from nnrs.cli.bench.contest import Result, Row
    >>> from nnrs.cli.bench.table import by_group
    >>> list(by_group([Result(Row("step", "4-3-2", 1, ()), {"nnrs": [1.0]})]))
    ['step']
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.row.group, []).append(result)
    return groups


def cells(results: Sequence[Result]) -> tuple[list[str], Rows]:
    """Return header and rows of the table of one group.

    A contestant's cell is its median with the 10th and 90th percentile; the ratio is that of the fastest
    other's median to the first one's; the last column is the floor's share of the first one's median.

    Examples
    --------
    >>> from nnrs.cli.bench.contest import Result, Row
    >>> from nnrs.cli.bench.table import cells
    >>> result = Result(Row("step", "4-3-2", 1, ()), {"nnrs": [2e-6], "NumPy": [9e-6]}, 1e-6)
    >>> for line in cells([result]):
    ...     print(line)
    ['step', 'threads', 'unit', 'floor', 'nnrs', 'NumPy', 'ratio', 'of floor']
    [['4-3-2', '1', 'µs', '1.00', '2.00 (2.00–2.00)', '9.00 (9.00–9.00)', '4.50', '50 %']]
    """
    names = list(dict.fromkeys(name for result in results for name in [*result.values, *result.missing]))
    compared = any(result.ratio is not None for result in results)
    floors = any(result.floor is not None for result in results)
    header = [results[0].row.group, "threads", "unit", *["floor"] * floors, *names]
    header += ["ratio"] * compared + ["of floor"] * floors
    rows = []
    for result in results:
        scale, unit = _unit(result)
        row = [result.row.name, str(result.row.threads), unit]
        if floors:
            row.append(_NONE if result.floor is None else _number(result.floor / scale))
        row += [_contestant(result, name, scale) for name in names]
        if compared:
            row.append(_NONE if result.ratio is None else f"{result.ratio:.2f}")
        if floors:
            middle = result.quantiles(result.subject)[1]
            row.append(_NONE if result.floor is None else f"{100 * result.floor / middle:.0f} %")
        rows.append(row)
    return header, rows


def text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is aligned on the left, the others on the right.

    Examples
    --------
    >>> from nnrs.cli.bench import table
    >>> print(table.text(["step", "ratio"], [["4-3-2", "4.50"]]))
    step   ratio
    4-3-2   4.50
    """
    width = max(len(row[0]) for row in (header, *rows))
    first, *aligned = ([row[0].ljust(width), *row[1:]] for row in (header, *rows))
    return columns(first, aligned)


def _unit(result: Result) -> tuple[float, str]:
    if result.row.unit != "s":
        return 0.01, "%"
    medians = (result.quantiles(name)[1] for name in result.values)
    smallest = min((value for value in medians if value > 0), default=1e-6)
    return next((unit for unit in _UNITS if smallest >= 0.1 * unit[0]), _UNITS[-1])


def _contestant(result: Result, name: str, scale: float) -> str:
    if name in result.missing:
        return "not installed"
    if name not in result.values:
        return _NONE
    low, middle, high = (_number(value / scale) for value in result.quantiles(name))
    return f"{middle} ({low}–{high})"


def _number(value: float) -> str:
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if value >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"
