"""The architecture of a model as text, and a model from such a text, which is read with suspicion.

A text comes from a file, and a file from anywhere: nothing is made, and no memory taken for it, before the
text is seen to be well formed and to fit the tensors that are there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nnrs import nn
from nnrs._core import FileFormatError
from nnrs.nn.layer import Layer

__all__ = ["build", "describe", "parse_json", "registered"]

Array = NDArray[Any]

# Far above any network of dense layers, far below what could hurt.
_LONGEST_TEXT = 1 << 22
_MOST_MODULES = 10_000
_DEEPEST = 32


def describe(module: nn.Module) -> dict[str, Any]:
    """Return what makes another module like this one, without its values, of what JSON knows.

    Parameters
    ----------
    module : Module

    Returns
    -------
    dict
        `type` and the arguments; for a model `modules`; for a module of the user's `name` and `config`.

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.architecture import describe
    >>> describe(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))["modules"][1]
    {'type': 'ReLU'}
    """
    if isinstance(module, nn.Sequential) and module._in_core():
        return {"type": "Sequential", "dtype": module.dtype, "modules": [describe(m) for m in module]}
    kind = next((name for name in _LAYERS if isinstance(module, getattr(nn, name))), None)
    if kind is not None and isinstance(module, Layer) and module._in_core():
        config = {
            name: value for name, value in type(module).config(module).items() if name in _LAYERS[kind][1]
        }
        return {"type": kind, **config}
    return {"type": "user", "name": type(module).__name__, "config": type(module).config(module)}


def parse_json(what: str, text: str) -> Any:
    """Return the value that a JSON text of a file stands for.

    Parameters
    ----------
    what : str
        Name of the text, for the error.
    text : str

    Raises
    ------
    FileFormatError
        If it is no JSON, too long, nested too deeply, or holds a number that is not finite or a key twice.

    Examples
    --------
    >>> from nnrs.architecture import parse_json
    >>> parse_json("task", '"binary"')
    'binary'
    """
    if len(text) > _LONGEST_TEXT:
        raise FileFormatError(f"{what} has {len(text)} characters; expected at most {_LONGEST_TEXT}")
    try:
        return json.loads(
            text,
            parse_constant=_no_number,
            parse_int=_short_integer,
            parse_float=_finite_number,
            object_pairs_hook=_without_doubles,
        )
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileFormatError(f"{what} is no JSON that nnrs wrote: {why}") from None


def registered(
    modules: Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]] | None,
) -> dict[str, Any]:
    """Return the user's modules by name: a mapping as it is, classes by their own names."""
    if modules is None:
        return {}
    named = dict(modules) if isinstance(modules, Mapping) else {kind.__name__: kind for kind in modules}
    for name, kind in named.items():
        if not callable(kind):
            raise TypeError(f"modules[{name!r}] is a {type(kind).__name__}; expected a class or a function")
    return named


def build(
    description: Any, tensors: Mapping[str, Array], modules: Mapping[str, Callable[..., Any]]
) -> nn.Module:
    """Make the module that a description stands for; its values are still to be loaded.

    Parameters
    ----------
    description : any value of JSON
    tensors : dict of str to array
        What the file holds: sizes in the description must be those of tensors.
    modules : dict of str to callable
        The user's modules by name; nothing else is called because a file names it.

    Returns
    -------
    Module

    Raises
    ------
    FileFormatError
        If the description is not sound, or does not fit the tensors.
    ValueError
        If it names a module of the user's that `modules` lacks.
    """
    return _Builder(tensors, modules).build(description, "", 0)


class _Builder:
    def __init__(self, tensors: Mapping[str, Array], modules: Mapping[str, Callable[..., Any]]) -> None:
        self.tensors = tensors
        self.modules = modules
        self.count = 0

    def build(self, description: Any, path: str, depth: int) -> nn.Module:
        self.count += 1
        if self.count > _MOST_MODULES or depth > _DEEPEST:
            _refuse(
                path, f"there are more than {_MOST_MODULES} modules, or they are more than {_DEEPEST} deep"
            )
        if not isinstance(description, dict) or not isinstance(description.get("type"), str):
            _refuse(path, f"it is {_shown(description)}; expected an object with a type")
        kind = description["type"]
        arguments = {name: value for name, value in description.items() if name != "type"}
        if kind == "Sequential":
            return self.sequential(arguments, path, depth)
        if kind == "user":
            return self.user(arguments, path)
        if kind not in _LAYERS:
            _refuse(path, f"its type is {_shown(kind)}, which this nnrs does not know")
        return self.layer(kind, arguments, path)

    def sequential(self, arguments: dict[str, Any], path: str, depth: int) -> nn.Module:
        _check_names(path, arguments, ("dtype", "modules"))
        dtype, inside = arguments["dtype"], arguments["modules"]
        if dtype not in ("float32", "float64", None) or not isinstance(inside, list):
            _refuse(path, f"dtype is {_shown(dtype)}, modules {_shown(inside)}; expected a dtype and a list")
        children = [
            self.build(child, _join(path, str(number)), depth + 1) for number, child in enumerate(inside)
        ]
        try:
            return nn.Sequential(*children, dtype=dtype)
        except (ValueError, TypeError) as error:
            _refuse(path, str(error))

    def user(self, arguments: dict[str, Any], path: str) -> nn.Module:
        _check_names(path, arguments, ("name", "config"))
        name, config = arguments["name"], arguments["config"]
        if not isinstance(name, str) or not isinstance(config, dict):
            _refuse(path, f"name is {_shown(name)}, config {_shown(config)}; expected a string and an object")
        if name not in self.modules:
            raise ValueError(
                f"module {path!r} is one of your own: pass its class to load, modules=[{name[:40]}]"
            )
        try:
            module = self.modules[name](**config)
        except Exception as error:
            raise FileFormatError(
                f"module {path!r}: {name} cannot be made from its config {_shown(config)}: {error}"
            ) from error
        if not isinstance(module, nn.Module):
            raise TypeError(f"modules[{name!r}] returned {type(module).__name__}; expected an nn.Module")
        return module

    def layer(self, kind: str, arguments: dict[str, Any], path: str) -> nn.Module:
        make, fields = _LAYERS[kind]
        _check_names(path, arguments, tuple(fields))
        for name, check in fields.items():
            if not check(arguments[name]):
                _refuse(path, f"{name} of {kind} is {_shown(arguments[name])}")
        if kind != "Linear":
            layer: nn.Module = make(**arguments)
            return layer
        shape = (arguments["out_features"], arguments["in_features"])
        weight = self.tensor(_join(path, "weight"), shape, None)
        if arguments["bias"]:
            self.tensor(_join(path, "bias"), shape[:1], weight.dtype)
        return nn.Linear(**arguments, init="zeros", dtype=str(weight.dtype))

    def tensor(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any] | None) -> Array:
        if name not in self.tensors:
            raise FileFormatError(f"tensor {name!r} is missing")
        found = self.tensors[name]
        if found.shape != shape:
            raise FileFormatError(f"tensor {name!r} has shape {found.shape}; expected {shape}")
        if found.dtype not in (np.float32, np.float64) or dtype not in (None, found.dtype):
            raise FileFormatError(
                f"tensor {name!r} has dtype {found.dtype}; expected {dtype or 'float32 or float64'}"
            )
        return found


def _size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _truth(value: Any) -> bool:
    return type(value) is bool


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value < 1


def _form(value: Any) -> bool:
    return value in ("none", "tanh")


_LAYERS: dict[str, tuple[Callable[..., Any], dict[str, Callable[[Any], bool]]]] = {
    "Linear": (nn.Linear, {"in_features": _size, "out_features": _size, "bias": _truth}),
    "ReLU": (nn.ReLU, {}),
    "LeakyReLU": (nn.LeakyReLU, {"negative_slope": _number}),
    "ELU": (nn.ELU, {"alpha": _number}),
    "SELU": (nn.SELU, {}),
    "GELU": (nn.GELU, {"approximate": _form}),
    "SiLU": (nn.SiLU, {}),
    "Mish": (nn.Mish, {}),
    "Softplus": (nn.Softplus, {"beta": _positive}),
    "Sigmoid": (nn.Sigmoid, {}),
    "Tanh": (nn.Tanh, {}),
    "Step": (nn.Step, {}),
    "Softmax": (nn.Softmax, {}),
    "LogSoftmax": (nn.LogSoftmax, {}),
    "Dropout": (nn.Dropout, {"p": _share}),
    "Flatten": (nn.Flatten, {}),
    "Identity": (nn.Identity, {}),
    "Standardize": (nn.Standardize, {}),
    "MinMaxScale": (nn.MinMaxScale, {}),
}


def _check_names(path: str, arguments: dict[str, Any], wanted: tuple[str, ...]) -> None:
    if set(arguments) != set(wanted):
        _refuse(
            path,
            f"it has {_shown(sorted(arguments))}; expected {', '.join(wanted) or 'nothing'} besides its type",
        )


def _refuse(path: str, why: str) -> NoReturn:
    raise FileFormatError(f"architecture of {f'module {path!r}' if path else 'the model'}: {why}")


def _shown(value: Any) -> str:
    """Return a value as text that is short, whatever it is."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if type(value) is int and value.bit_length() > 128:
        return "a huge number"
    text = repr(value[:40] if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:80] + "…"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"it holds {text}")


def _short_integer(text: str) -> int:
    # Reading an integer takes time that grows with the square of its digits.
    if len(text) > 40:
        raise ValueError(f"it holds an integer of {len(text)} digits")
    return int(text)


def _finite_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {text[:40]}, which is not finite")
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
