"""NumPy by hand: every array made beforehand, every operation in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs.cli.bench.net import Floats, Net, probabilities

__all__ = ["ByHand", "prediction", "step"]


class ByHand:
    """A ReLU network with its loss and Adam, as one would write it in NumPy with care.

    float32 throughout. Parameters and gradients lie in one flat array each, so that Adam is one pass of
    operations. Weights are (in, out), the faster way round; `numpy.dot` costs less a call than
    `numpy.matmul`, and a product with ones less than a sum over the batch.

    Parameters
    ----------
    net : Net
    lr : float

    Examples
    --------
    >>> from nnrs.cli.bench.by_hand import ByHand
    >>> from nnrs.cli.bench.net import Net
    >>> net = Net((4, 3, 2), 5)
    >>> by_hand = ByHand(net, 1e-3)
    >>> losses = [by_hand.step(net.rows(), net.targets()) for _ in range(3)]
    >>> losses[2] < losses[0]
    True
    """

    def __init__(self, net: Net, lr: float) -> None:
        self.lr = lr
        values = net.parameters()
        self.flat = np.concatenate([value.T.ravel() for value in values])
        self.gradient = np.zeros_like(self.flat)
        self.weights, self.biases = self._views(self.flat, net)
        self.dweights, self.dbiases = self._views(self.gradient, net)
        self.outputs = [np.empty((net.batch, width), np.float32) for width in net.sizes[1:]]
        self.douts = [np.empty_like(output) for output in self.outputs]
        self.masks = [np.empty(output.shape, bool) for output in self.outputs[:-1]]
        self.binary = net.binary
        self.ones = np.ones(net.batch, np.float32)
        self.rows = np.arange(net.batch) * net.sizes[-1]
        self.picks = np.empty_like(self.rows)
        self.column = np.empty((net.batch, 1), np.float32)
        # The moments without their factors 1 − β, which the last factors of the update take in.
        self.m = np.zeros_like(self.flat)
        self.v = np.zeros_like(self.flat)
        self.scratch = np.empty_like(self.flat)
        self.power1 = self.power2 = 1.0

    @staticmethod
    def _views(flat: Floats, net: Net) -> tuple[list[Floats], list[Floats]]:
        weights, biases, at = [], [], 0
        for inputs, outputs in net.shapes:
            weights.append(flat[at : at + inputs * outputs].reshape(inputs, outputs))
            at += inputs * outputs
            biases.append(flat[at : at + outputs])
            at += outputs
        return weights, biases

    def predict(self, x: Floats) -> Floats:
        """Return the logits, (batch, outputs), in an array that the next call writes."""
        last = len(self.weights) - 1
        for i, (weight, bias, output) in enumerate(zip(self.weights, self.biases, self.outputs, strict=True)):
            np.dot(x, weight, out=output)
            np.add(output, bias, out=output)
            if i < last:
                np.maximum(output, 0, out=output)
            x = output
        return x

    def step(self, x: Floats, y: NDArray[Any]) -> float:
        """Take one step of Adam on the mean loss; return the loss before it.

        Parameters
        ----------
        x : (batch, inputs) float32
        y : (batch,) int64 or, for one output, (batch, 1) float32
        """
        logits = self.predict(x)
        loss = self._binary_loss(logits, y) if self.binary else self._loss(logits, y)
        for i in range(len(self.weights) - 1, -1, -1):
            dout = self.douts[i]
            inputs = self.outputs[i - 1] if i else x
            np.dot(inputs.T, dout, out=self.dweights[i])
            np.dot(self.ones, dout, out=self.dbiases[i])
            if i:
                below, mask = self.douts[i - 1], self.masks[i - 1]
                np.dot(dout, self.weights[i].T, out=below)
                np.greater(inputs, 0, out=mask)
                np.multiply(below, mask, out=below)
        self._adam()
        return loss

    def _loss(self, logits: Floats, y: NDArray[Any]) -> float:
        dout, column, count = self.douts[-1], self.column, len(y)
        np.add(self.rows, y, out=self.picks)
        np.maximum.reduce(logits, axis=1, keepdims=True, out=column)
        np.subtract(logits, column, out=logits)
        picked = logits.ravel().take(self.picks)
        np.exp(logits, out=dout)
        np.add.reduce(dout, axis=1, keepdims=True, out=column)
        np.divide(dout, column, out=dout)
        flat = dout.ravel()
        flat[self.picks] -= 1
        np.divide(dout, count, out=dout)
        np.log(column, out=column)
        return float(np.add.reduce(column, axis=None) - np.add.reduce(picked)) / count

    def _binary_loss(self, logits: Floats, y: NDArray[Any]) -> float:
        """Return the mean of log(1 + exp(z)) − z y, and write (sigmoid(z) − y) / batch."""
        dout, column, count = self.douts[-1], self.column, len(y)
        np.logaddexp(logits, 0, out=column)
        np.subtract(logits, column, out=dout)
        np.exp(dout, out=dout)
        np.subtract(dout, y, out=dout)
        np.divide(dout, count, out=dout)
        return float(np.add.reduce(column, axis=None) - np.dot(logits.ravel(), y.ravel())) / count

    def _adam(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        m, v, scratch = self.m, self.v, self.scratch
        self.power1 *= beta1
        self.power2 *= beta2
        root = ((1 - self.power2) / (1 - beta2)) ** 0.5
        np.multiply(m, beta1, out=m)
        np.add(m, self.gradient, out=m)
        np.multiply(v, beta2, out=v)
        np.multiply(self.gradient, self.gradient, out=scratch)
        np.add(v, scratch, out=v)
        np.sqrt(v, out=scratch)
        np.add(scratch, eps * root, out=scratch)
        np.divide(m, scratch, out=scratch)
        np.multiply(scratch, self.lr * (1 - beta1) * root / (1 - self.power1), out=scratch)
        np.subtract(self.flat, scratch, out=self.flat)


def step(net: Net, lr: float) -> Callable[[], float]:
    """Return a training step; each call gives the loss before it.

    Examples
    --------
    >>> from nnrs.cli.bench import by_hand
    >>> from nnrs.cli.bench.net import Net
    >>> by_hand.step(Net((4, 3, 2), 5), 1e-3)() > 0
    True
    """
    y = net.targets()
    targets: Any = y.astype(np.float32)[:, None] if net.binary else y
    return partial(ByHand(net, lr).step, net.rows(), targets)


def prediction(net: Net) -> tuple[Callable[[], Any], Callable[[Any], Floats]]:
    """Return a prediction, and what turns its result into probabilities.

    Examples
    --------
    >>> from nnrs.cli.bench import by_hand
    >>> from nnrs.cli.bench.net import Net
    >>> call, read = by_hand.prediction(Net((4, 3, 2), 5))
    >>> read(call()).shape
    (5, 2)
    """
    return partial(ByHand(net, 0.0).predict, net.rows()), probabilities
