"""Layers that change no value: Flatten and Identity."""

from __future__ import annotations

from typing import Any

from nnrs.nn.layer import Layer

__all__ = ["Flatten", "Identity"]


class Flatten(Layer):
    """Make one axis of all but the first: (batch, 28, 28) becomes (batch, 784).

    Inputs of one or two axes stay what they are. Where memory allows it the result is a view.

    Notes
    -----
    torch's `torch.nn.Flatten`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.Flatten()(np.zeros((5, 28, 28))).shape
    (5, 784)
    """

    _flattens = True
    _is_nothing = True

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...] | None:  # noqa: ARG002
        return None


class Identity(Layer):
    """Return the inputs as they are: the linear activation, or a place left open.

    Notes
    -----
    torch's `torch.nn.Identity`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> nn.Identity()(np.ones(3))
    array([1., 1., 1.])
    """

    _is_nothing = True

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...] | None:  # noqa: ARG002
        return None
