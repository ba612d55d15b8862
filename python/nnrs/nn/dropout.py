"""Dropout: units left out at random while training."""

from __future__ import annotations

from typing import Any

from nnrs.nn.layer import Layer

__all__ = ["Dropout"]


class Dropout(Layer):
    """Set each element to zero with probability p, and scale the others by 1 / (1 − p); training mode only.

    Parameters
    ----------
    p : float
        0 ≤ p < 1.

    Attributes
    ----------
    p : float
        May be set later.

    Raises
    ------
    ValueError
        If `p` is outside its range.

    Notes
    -----
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014, "Dropout: a simple way to prevent neural
    networks from overfitting". A mask depends on the model's seed, the number of the training forward, the
    layer, the row and the column: not on threads.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> layer = nn.Dropout(0.5)
    >>> sorted(set(layer(np.ones(1000)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(np.ones(3))
    array([1., 1., 1.])
    """

    _masks = True
    _is_nothing = True

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    @property
    def p(self) -> float:
        """Probability of zero."""
        return self._p

    @p.setter
    def p(self, value: float) -> None:
        if not 0 <= value < 1:
            raise ValueError(f"p is {value}; expected a probability, 0 <= p < 1")
        self._p = float(value)
        self._changed()

    def config(self) -> dict[str, Any]:
        """Return p."""
        return {"p": self.p}

    def _stage(self, path: str, dtype: str, number: int) -> tuple[Any, ...]:  # noqa: ARG002
        return ("dropout", self._p, number)
