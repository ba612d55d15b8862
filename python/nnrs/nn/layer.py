"""One layer that the core knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from nnrs.nn.compiled import Compiled
from nnrs.nn.module import Module

__all__ = ["Layer"]


class Layer(Compiled):
    """Base of the layers that the core knows; each says which stage of a network it is."""

    # Works on each element alone, so that the order against Flatten does not matter.
    _elementwise: ClassVar[bool] = True
    # Takes more than 2 axes and leaves 2.
    _flattens: ClassVar[bool] = False
    # Draws a mask in training mode.
    _masks: ClassVar[bool] = False
    # Learns statistics of the inputs, and comes first.
    _scales: ClassVar[bool] = False
    # Changes no value in evaluation mode.
    _is_nothing: ClassVar[bool] = False
    # Has a derivative.
    _trains: ClassVar[bool] = True
    # What it makes of scores, where predictions must know.
    _ends_in: ClassVar[str | None] = None

    def _features_in(self) -> int | None:
        """Width of the inputs, or None for any."""
        return None

    def _features_out(self, width: int) -> int:
        """Width of the outputs for inputs of this width."""
        return width

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...] | None:
        """Stage of the core's network, or None where nothing is computed; `number` counts masks."""
        raise NotImplementedError

    def _leaves(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
