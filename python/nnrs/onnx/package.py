"""The package `onnx`, imported when a function first needs it."""

from __future__ import annotations

from typing import Any

__all__ = ["import_onnx"]


def import_onnx() -> Any:
    """Return the module `onnx` with its parts `checker`, `helper` and `numpy_helper` loaded.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is not installed; the message names the extra.

    Examples
    --------
    >>> from nnrs.onnx.package import import_onnx
    >>> import_onnx().__name__
    'onnx'
    """
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError(f"nnrs.onnx needs the package onnx ({error}): pip install 'nnrs[onnx]'") from error
    return onnx
