"""Models in files: safetensors with the architecture beside the tensors.

A file holds the tensors by torch's names, `0.weight`, `0.bias`, scalers as `0.mean` and `0.scale`, and as
metadata `nnrs_format` and, as JSON, `architecture`, `task`, `classes` and `feature_names`; `checksum` is the
CRC-32 of all of these.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core
from nnrs._core import FileFormatError
from nnrs.architecture import build, describe, parse_json, registered
from nnrs.task import TASKS

if TYPE_CHECKING:
    from nnrs import nn

__all__ = ["load", "save"]

Array = NDArray[Any]

_FORMAT = 1
_KEYS = ("nnrs_format", "architecture", "task", "classes", "feature_names", "checksum")


def save(model: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write a model to a file; `Module.save` is this function.

    Parameters
    ----------
    model : Module
    path : path-like
    metadata : dict of str to str, optional
        Further texts for the file, besides those in `model.metadata`.

    Raises
    ------
    ValueError
        If a value is not finite, or a name of `metadata` is one of nnrs's own.
    TypeError
        If a module's `config` holds what JSON does not know.
    OSError
        If the file cannot be written; what was there before is untouched.
    """
    tensors = model.state_dict()
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are not finite; a file of them could not be loaded")
    texts = {**_checked_metadata({**model.metadata, **(metadata or {})}), "nnrs_format": str(_FORMAT)}
    classes = None if model.classes_ is None else model.classes_.tolist()
    texts["architecture"] = _json("architecture", describe(model))
    texts["task"] = _json("task", model.task)
    texts["classes"] = _json("classes", classes)
    texts["feature_names"] = _json("feature_names", model.feature_names_)
    texts["checksum"] = _checksum(tensors, texts)
    _core.save_safetensors(os.fsdecode(path), tensors, texts)


def load(
    path: str | os.PathLike[str],
    *,
    modules: Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]] | None = None,
) -> Any:
    """Read a model from a file, in evaluation mode.

    The file is read with suspicion: nothing is run or imported because it says so, and nothing comes back
    unless all of it is sound.

    Parameters
    ----------
    path : path-like
        Of a file that `model.save` wrote.
    modules : list of classes, or dict of str to callable, optional
        The modules of your own in the model, by name. Each is called with what its `config` returned.

    Returns
    -------
    Module
        A `Sequential`, or what was saved.

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged, hostile, of a newer format, or not nnrs's.
    ValueError
        If it holds a module of the user's that `modules` lacks.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import nnrs
    >>> from nnrs import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), task="multiclass")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     model.save(path)
    ...     again = nnrs.load(path)
    >>> again.task, bool((again[0].weight.data == model[0].weight.data).all())
    ('multiclass', True)
    """
    named = registered(modules)
    path = os.fsdecode(path)
    tensors, texts = _core.load_safetensors(path)
    try:
        return _model(tensors, texts, named)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error.__cause__


def _model(tensors: dict[str, Array], texts: dict[str, str], modules: Mapping[str, Any]) -> nn.Module:
    _check_format(texts)
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FileFormatError(f"tensor {name!r} holds values that are not finite")
    if texts.get("checksum") not in (None, _checksum(tensors, texts)):
        raise FileFormatError("its checksum does not fit: the file is damaged")
    missing = [key for key in _KEYS[1:-1] if key not in texts]
    if missing:
        raise FileFormatError(f"metadata lacks {', '.join(missing)}")
    description = parse_json("architecture", texts["architecture"])
    task = _task(parse_json("task", texts["task"]))
    classes = _classes(parse_json("classes", texts["classes"]))
    names = _names(parse_json("feature_names", texts["feature_names"]))
    model = _filled(description, tensors, modules)
    outputs = getattr(model, "out_features", None)
    count = {"multiclass": outputs, "binary": 2}.get(task or "")
    if classes is not None and count is not None and len(classes) != count:
        raise FileFormatError(f"classes holds {len(classes)} labels; expected {count}")
    model.task, model.classes_, model.feature_names_ = task, classes, names
    model.metadata.update({key: text for key, text in texts.items() if key not in _KEYS})
    return model.eval()


def _filled(description: Any, tensors: dict[str, Array], modules: Mapping[str, Any]) -> nn.Module:
    model = build(description, tensors, modules)
    try:
        for name, parameter in model.named_parameters():
            if name in tensors and tensors[name].dtype != parameter.dtype:
                raise TypeError(
                    f"tensor {name!r} has dtype {tensors[name].dtype}; expected {parameter.dtype}"
                )
        model.load_state_dict(tensors)
    except (ValueError, TypeError) as error:
        raise FileFormatError(str(error).replace("state ", "the file ", 1)) from None
    return model


def _json(what: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} of the model holds what JSON does not know: {error}") from None


def _check_format(texts: Mapping[str, str]) -> None:
    number = texts.get("nnrs_format")
    if number is None:
        raise FileFormatError("metadata has no 'nnrs_format'; expected a file that nnrs wrote")
    if not (number.isascii() and number.isdigit()) or len(number) > 9 or int(number) < 1:
        raise FileFormatError(f"nnrs_format is {number[:40]!r}; expected a number from 1 on")
    if int(number) > _FORMAT:
        raise FileFormatError(
            f"nnrs_format is {int(number)}; this version of nnrs reads formats up to {_FORMAT}: upgrade nnrs"
        )


def _checksum(tensors: Mapping[str, Array], texts: Mapping[str, str]) -> str:
    code = 0
    for key in sorted(texts):
        if key != "checksum":
            code = zlib.crc32(f"{key}={texts[key]}\n".encode("utf-8", "surrogatepass"), code)
    for name in sorted(tensors):
        array = tensors[name]
        code = zlib.crc32(f"{name} {array.dtype.name} {array.shape}\n".encode("utf-8", "surrogatepass"), code)
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        code = zlib.crc32(little.reshape(-1).view(np.uint8).data, code)
    return f"crc32 {code:08x}"


def _checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, text in metadata.items():
        if not all(isinstance(part, str) for part in (key, text)):
            raise TypeError(f"metadata[{key!r}] is a {type(text).__name__}; expected strings for strings")
        if key in _KEYS:
            raise ValueError(f"metadata names {key!r}, which is nnrs's own; expected another name")
    return dict(metadata)


def _task(value: Any) -> str | None:
    if value is not None and value not in TASKS:
        raise FileFormatError(f"task is {str(value)[:40]!r}; expected {', '.join(TASKS)} or null")
    task: str | None = value
    return task


def _classes(value: Any) -> Array | None:
    if value is None:
        return None
    for kind in (bool, int, str, float):
        if isinstance(value, list) and value and all(type(label) is kind for label in value):
            try:
                labels = np.array(value)
            except OverflowError:
                break
            if labels.dtype.kind == "O" or len(np.unique(labels)) != len(labels):
                break
            return labels
    raise FileFormatError("classes is not a list of distinct labels of one kind")


def _names(value: Any) -> list[str] | None:
    if value is not None and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise FileFormatError("feature_names is not a list of strings")
    names: list[str] | None = value
    return names
