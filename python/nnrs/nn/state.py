"""State of a module as a dict of arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs.nn.parameter import Parameter, real_array

if TYPE_CHECKING:
    from nnrs.nn.module import Module

__all__ = ["load_state", "state_of"]

Array = NDArray[Any]


def state_of(module: Module) -> dict[str, Array]:
    """Return copies of the parameters and of the buffers that hold an array, by their paths."""
    return {
        path: (held.data if isinstance(held, Parameter) else held).copy()
        for path, _, _, held in _slots(module)
        if held is not None
    }


def load_state(module: Module, state: Mapping[str, ArrayLike]) -> None:
    """Check a whole state against the module, then write it."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a dict of arrays, got {type(state).__name__}")
    slots = _slots(module)
    _check_paths(state, slots)
    ready: list[tuple[Module, str, Parameter | Array | None, Array]] = []
    for path, part, name, held in slots:
        if path in state:
            ready.append((part, name, held, _checked(path, part, name, held, state[path])))
    for part in module.modules():
        part._check_buffers({name: array for at, name, _, array in ready if at is part})
    for part, name, held, array in ready:
        if isinstance(held, Parameter):
            held._data[...] = array
        else:
            part._take_buffer(name, array)


def _slots(module: Module) -> list[tuple[str, Module, str, Parameter | Array | None]]:
    """Every place for an array: its path, its module, its name there, and what it holds now."""
    found: list[tuple[str, Module, str, Parameter | Array | None]] = []
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        for name, parameter in part._parameters.items():
            if parameter is not None:
                found.append((prefix + name, part, name, parameter))
        found += [(prefix + name, part, name, array) for name, array in part._buffers.items()]
    return found


def _check_paths(
    state: Mapping[str, ArrayLike], slots: list[tuple[str, Module, str, Parameter | Array | None]]
) -> None:
    paths = {path for path, *_ in slots}
    unknown = [path for path in state if path not in paths]
    if unknown:
        raise ValueError(f"state holds {_names(unknown)}, for which the model has no place")
    missing = [path for path, _, _, held in slots if held is not None and path not in state]
    if missing:
        raise ValueError(f"state lacks {_names(missing)}")


def _checked(path: str, part: Module, name: str, held: Parameter | Array | None, value: ArrayLike) -> Array:
    array = real_array(path, value) if isinstance(held, Parameter) else np.asarray(value)
    if array.dtype.kind == "O":
        raise TypeError(f"{path} has dtype object; expected an array of numbers")
    if held is None or name in part._resizable:
        return array
    if array.shape != held.shape:
        raise ValueError(f"{path} has shape {array.shape}; expected {held.shape}")
    with np.errstate(over="ignore"):
        return array.astype(held.dtype, copy=False)


def _names(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
