"""What every contestant is given: the same network with the same values, and the same batch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core, nn

__all__ = ["Floats", "Net", "Work", "probabilities"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Work:
    """What cannot be saved: operations, bytes that move, and the bytes among which they lie.

    Attributes
    ----------
    flops : float
        Of the matrix products.
    moved : float
        Bytes read and written.
    resident : float
        Bytes that are used again and again; they say in which cache the moved ones lie.

    Examples
    --------
    >>> from nnrs.cli.bench.net import Work
    >>> Work(8, 4, 4).times(3)
    Work(flops=24, moved=12, resident=4)
    """

    flops: float
    moved: float
    resident: float

    def times(self, count: float) -> Work:
        """Return the work of doing this so many times."""
        return Work(self.flops * count, self.moved * count, self.resident)


@dataclass(frozen=True)
class Net:
    """A ReLU network and the rows of a batch.

    With one output the loss is the binary cross-entropy of the logit, else the cross-entropy.

    Parameters
    ----------
    sizes : tuple of int
        Inputs, hidden widths, outputs.
    batch : int

    Examples
    --------
    >>> from nnrs.cli.bench.net import Net
    >>> net = Net((4, 3, 2), 5)
    >>> str(net), [p.shape for p in net.parameters()], net.rows().shape, net.targets()
    ('4-3-2', [(3, 4), (3,), (2, 3), (2,)], (5, 4), array([0, 1, 0, 1, 0]))
    """

    sizes: tuple[int, ...]
    batch: int

    def __str__(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def binary(self) -> bool:
        """Whether there is one output."""
        return self.sizes[-1] == 1

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(in_features, out_features) of every layer."""
        return list(itertools.pairwise(self.sizes))

    def model(self, dropout: float = 0.0) -> nn.Sequential:
        """Return the network in nnrs."""
        return nn.MLP(list(self.sizes), dropout=dropout, seed=0)

    def parameters(self) -> list[Floats]:
        """Return weight (out, in) and bias (out,) of every layer, in turn."""
        return [np.array(p.data) for p in self.model().parameters()]

    def rows(self) -> Floats:
        """Return a batch, (batch, inputs)."""
        x: Floats = _core.random_normal(0, "data", 0, 0, (self.batch, self.sizes[0]), 0.0, 1.0, "float32")
        return x

    def targets(self) -> NDArray[np.int64]:
        """Return class numbers, (batch,)."""
        return np.arange(self.batch) % max(self.sizes[-1], 2)

    def step(self) -> Work:
        """Return the work of a training step.

        Products: forward, gradients of weights, and of the inputs of all layers but the first. Bytes: Adam
        reads and writes parameters and two moments.
        """
        products = [inputs * outputs for inputs, outputs in self.shapes]
        parameters = self._parameter_bytes()
        rows = 4 * self.batch * self.sizes[0]
        flops = 2 * self.batch * (3 * sum(products) - products[0])
        return Work(flops, 6 * parameters + rows, 3 * parameters + rows)

    def prediction(self) -> Work:
        """Return the work of a prediction."""
        moved = self._parameter_bytes() + 4 * self.batch * (self.sizes[0] + self.sizes[-1])
        return Work(2 * self.batch * sum(i * o for i, o in self.shapes), moved, moved)

    def _parameter_bytes(self) -> int:
        return 4 * sum((inputs + 1) * outputs for inputs, outputs in self.shapes)


def probabilities(logits: Any) -> Floats:
    """Return what the logits mean: (batch,) for one output, else (batch, outputs).

    Examples
    --------
    >>> from nnrs.cli.bench.net import probabilities
    >>> probabilities([[0.0], [1.0]]), probabilities([[1.0, 1.0]])
    (array([0.5       , 0.73105858]), array([[0.5, 0.5]]))
    """
    values = np.asarray(logits)
    if values.shape[1] == 1:
        found: Floats = 1 / (1 + np.exp(-values[:, 0]))
        return found
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
