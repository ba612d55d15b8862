"""What a model knows besides its layers, as the strings of an ONNX file's `metadata_props`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnrs import nn
from nnrs._core import FileFormatError
from nnrs.nn.scale import Scaler

__all__ = ["read_metadata", "write_metadata"]

_LABEL_TYPES = (
    "str",
    "bool",
    *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
    "float32",
    "float64",
)

_KEYS = ("nnrs_task", "nnrs_classes", "nnrs_feature_names", "nnrs_scaler")


def write_metadata(model: nn.Module) -> dict[str, str]:
    """Return task, classes, feature names and the kind of scaler as JSON strings, with `model.metadata`.

    The graph holds a scaler's shift and factor alone, the same for every kind.

    Parameters
    ----------
    model : nn.Module

    Returns
    -------
    dict of str to str

    Raises
    ------
    TypeError
        If the classes are neither numbers nor strings.

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.onnx.metadata import write_metadata
    >>> write_metadata(nn.MLP([4, 1], task="regression"))
    {'nnrs_task': '"regression"'}
    """
    found: dict[str, Any] = {}
    if model.task is not None:
        found["nnrs_task"] = model.task
    if model.classes_ is not None:
        labels = np.asarray(model.classes_)
        kind = "str" if labels.dtype.kind == "U" else labels.dtype.name
        if kind not in _LABEL_TYPES:
            raise TypeError(f"classes_ has dtype {labels.dtype}; expected numbers or strings")
        found["nnrs_classes"] = {"dtype": kind, "labels": labels.tolist()}
    if model.feature_names_ is not None:
        found["nnrs_feature_names"] = model.feature_names_
    scaler = next((part for part in model.modules() if isinstance(part, Scaler)), None)
    if scaler is not None:
        found["nnrs_scaler"] = type(scaler).__name__
    return {**model.metadata, **{key: json.dumps(value) for key, value in found.items()}}


def read_metadata(model: nn.Module, metadata: Mapping[str, str], path: str) -> None:
    """Set task, classes, feature names and `metadata` of `model` from what `write_metadata` wrote.

    Parameters
    ----------
    model : nn.Module
    metadata : mapping of str to str
        Keys that are none of nnrs's own become `model.metadata`.
    path : str
        Of the file, for errors.

    Raises
    ------
    FileFormatError
        If an entry is malformed or does not fit the model.

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.onnx.metadata import read_metadata
    >>> model = nn.MLP([4, 1])
    >>> read_metadata(model, {"nnrs_task": '"regression"'}, "model.onnx")
    >>> model.task
    'regression'
    """
    outputs = getattr(model, "out_features", None)
    inputs = getattr(model, "in_features", None)
    try:
        if "nnrs_task" in metadata:
            model.task = json.loads(metadata["nnrs_task"])
        if "nnrs_classes" in metadata:
            held = json.loads(metadata["nnrs_classes"])
            if held["dtype"] not in _LABEL_TYPES:
                raise ValueError(
                    f"nnrs_classes has dtype {held['dtype']!r}; expected one of {', '.join(_LABEL_TYPES)}"
                )
            classes = np.asarray(held["labels"], dtype=held["dtype"])
            wanted = 2 if model.task == "binary" else outputs
            if classes.ndim != 1 or wanted not in (None, len(classes)):
                raise ValueError(f"nnrs_classes has shape {classes.shape}; expected ({wanted},)")
            model.classes_ = classes
        if "nnrs_feature_names" in metadata:
            names = json.loads(metadata["nnrs_feature_names"])
            if not isinstance(names, list) or inputs not in (None, len(names)):
                raise ValueError(f"nnrs_feature_names is no list of {inputs} names")
            model.feature_names_ = names
        model.metadata.update({key: text for key, text in metadata.items() if key not in _KEYS})
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise FileFormatError(f"{path}: its metadata is malformed ({error!r:.300})") from error
