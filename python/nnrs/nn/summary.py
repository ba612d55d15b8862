"""A model as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnrs.nn.compiled import Compiled
from nnrs.nn.layer import Layer

if TYPE_CHECKING:
    from nnrs.nn.module import Module

__all__ = ["summarize"]


def summarize(module: Module) -> str:
    """Return the modules below `module`: path and kind, shape of the outputs, number of parameters."""
    rows = [("module", "outputs", "parameters")]
    width = module.in_features if isinstance(module, Compiled) else None
    for path, part in module.named_modules():
        if path and next(part.children(), None) is not None:
            rows.append((f"{path} {type(part).__name__}", "", ""))
            continue
        if path or next(part.children(), None) is None:
            width = _width_after(part, width)
            shape = "" if width is None else f"(batch, {width})"
            rows.append((f"{path} {type(part).__name__}".strip(), shape, _count(part)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
    total = sum(p.size for p in module.parameters())
    trained = sum(p.size for p in module.parameters() if p.requires_grad)
    size = sum(p.data.nbytes for p in module.parameters())
    frozen = "" if trained == total else f", {trained:,} of them trained"
    lines.insert(1, "-" * max(map(len, lines)))
    lines.append(f"{total:,} parameters{frozen}, {size / 1024:,.1f} KiB")
    return "\n".join(lines)


def _width_after(part: Module, width: int | None) -> int | None:
    if not isinstance(part, Layer):
        return None
    wanted = part._features_in()
    if wanted is not None:
        return part._features_out(wanted)
    return None if part._flattens else width


def _count(part: Module) -> str:
    sizes = sum(p.size for p in part.parameters())
    kept = sum(array.size for array in part.buffers())
    if kept:
        return f"{sizes + kept:,} fixed" if not sizes else f"{sizes:,} + {kept:,} fixed"
    return f"{sizes:,}" if sizes else ""
