"""Results as text for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean

from nnrs.cli.bench.contest import Result
from nnrs.cli.bench.table import by_group, cells, text


def _mean(results: Sequence[Result]) -> str | None:
    ratios = [result.ratio for result in results if result.ratio is not None]
    return f"geometric mean of the ratios: {geometric_mean(ratios):.2f}" if len(ratios) > 1 else None


def terminal(results: Sequence[Result]) -> str:
    """Return the table of one group."""
    return "\n".join(filter(None, (text(*cells(results)), _mean(results))))


def markdown(machine: dict[str, str], results: Sequence[Result], missing: Sequence[str]) -> str:
    """Return the machine's block and a table for each group."""
    parts = ["\n".join(f"- {name}: {value}" for name, value in machine.items())]
    if missing:
        parts.append(f"**Not installed: {', '.join(missing)}. Rows in which they take part do not count.**")
    for group in by_group(results).values():
        header, rows = cells(group)
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
        mean = _mean(group)
        if mean is not None:
            parts.append(mean[0].upper() + mean[1:] + ".")
    return "\n\n".join(parts)


def write_json(path: str, machine: dict[str, str], results: Sequence[Result], missing: Sequence[str]) -> None:
    """Write everything, each round's value too."""
    rows = []
    for result in results:
        contestants = {}
        for name, values in result.values.items():
            low, middle, high = result.quantiles(name)
            contestants[name] = {"median": middle, "p10": low, "p90": high, "rounds": values}
        rows.append(
            {
                "group": result.row.group,
                "name": result.row.name,
                "threads": result.row.threads,
                "unit": result.row.unit,
                "floor": result.floor,
                "subject": result.subject,
                "fastest_other": result.fastest,
                "ratio": result.ratio,
                "contestants": contestants,
                "not_installed": result.missing,
            }
        )
    found = {"machine": machine, "not_installed": list(missing), "rows": rows}
    Path(path).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
