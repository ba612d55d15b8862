"""How many times as long as nnrs the others take, a line a row."""

from __future__ import annotations

from collections.abc import Sequence

from nnrs.cli.bench.contest import Result
from nnrs.cli.bench.table import by_group

MARKERS = "osD^vPX*"


def draw(path: str, results: Sequence[Result]) -> None:
    """Draw every row that has a ratio, its group's name above it, on a logarithmic axis."""
    from matplotlib.figure import Figure

    groups = by_group(result for result in results if result.ratio is not None)
    lines: list[tuple[str, Result | None]] = []
    for group, members in groups.items():
        lines.append((group, None))
        lines += [(result.row.name, result) for result in members]
    others = list(
        dict.fromkeys(
            name
            for _, result in lines
            if result is not None
            for name in result.values
            if name != result.subject
        )
    )
    figure = Figure(figsize=(9, 1.2 + 0.26 * len(lines)), layout="constrained")
    ax = figure.add_subplot()
    for at, (_, result) in enumerate(lines):
        if result is None or result.ratio is None:
            continue
        ax.barh(
            at, result.ratio - 1, left=1, height=0.62, color="#4c8c6b" if result.ratio >= 1 else "#b8504a"
        )
        ours = result.quantiles(result.subject)[1]
        for name in result.values:
            if name != result.subject:
                index = others.index(name)
                ratio = result.quantiles(name)[1] / ours
                ax.plot(ratio, at, MARKERS[index % len(MARKERS)], color=f"C{index}", markersize=5)
    for index, name in enumerate(others):
        ax.plot([], [], MARKERS[index % len(MARKERS)], color=f"C{index}", label=name)
    ax.set_xscale("log")
    ax.axvline(1, color="black", linewidth=1)
    ax.set_yticks(
        range(len(lines)),
        [name if result is None else f"{name}   {result.ratio or 0:5.2f}" for name, result in lines],
    )
    for label, (_, result) in zip(ax.get_yticklabels(), lines, strict=True):
        label.set_fontweight("normal" if result else "bold")
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.grid(axis="x", alpha=0.3)
    ax.set_xlabel("time of the others, in times of nnrs; bar and figure: the fastest of them")
    if others:
        figure.legend(loc="outside upper center", ncols=min(5, len(others)), frameon=False)
    figure.savefig(path, dpi=140)
