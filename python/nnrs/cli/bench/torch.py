"""torch: fused Adam, tensors in memory, functions in place of modules, no gradient that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnrs.cli.bench.net import Floats, Net, probabilities
from nnrs.config import get_num_threads

__all__ = ["Training", "prediction", "step"]


class Training:
    """A network with its loss and Adam; called with a batch it does a step and returns the loss, a tensor.

    `autograd.grad` costs less than `backward`, which adds into `.grad`.

    Parameters
    ----------
    net : Net
    lr : float
    dropout : float
        After every hidden layer.
    """

    def __init__(self, net: Net, lr: float, dropout: float = 0.0) -> None:
        import torch
        import torch.nn.functional as F

        torch.set_num_threads(get_num_threads())
        self.torch, self.F, self.net, self.dropout = torch, F, net, dropout
        self.parameters = [torch.from_numpy(value).requires_grad_() for value in net.parameters()]
        self.layers = list(zip(self.parameters[::2], self.parameters[1::2], strict=True))
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr, fused=True)
        self.criterion: Any = F.binary_cross_entropy_with_logits if net.binary else F.cross_entropy

    def targets(self, y: Any) -> Any:
        """Return class numbers as the loss takes them."""
        tensor = self.torch.from_numpy(y)
        return tensor.float()[:, None] if self.net.binary else tensor

    def loss(self, x: Any, y: Any, dropout: float = 0.0) -> Any:
        """Return the mean loss."""
        F = self.F
        for weight, bias in self.layers[:-1]:
            x = F.linear(x, weight, bias).relu_()
            if dropout:
                x = F.dropout(x, dropout, training=True)
        return self.criterion(F.linear(x, *self.layers[-1]), y)

    def __call__(self, x: Any, y: Any) -> Any:
        """Do a step."""
        loss = self.loss(x, y, self.dropout)
        gradients = self.torch.autograd.grad(loss, self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        return loss


def step(net: Net, lr: float) -> Callable[[], float]:
    """Return a training step; each call gives the loss before it."""
    train = Training(net, lr)
    x, y = train.torch.from_numpy(net.rows()), train.targets(net.targets())
    return lambda: float(train(x, y).item())


def prediction(net: Net) -> tuple[Callable[[], Any], Callable[[Any], Floats]]:
    """Return a prediction into tensors made beforehand, and what turns its result into probabilities."""
    import torch

    torch.set_num_threads(get_num_threads())
    values = [torch.from_numpy(np.ascontiguousarray(value.T)) for value in net.parameters()]
    outputs = [torch.empty(net.batch, width) for width in net.sizes[1:]]
    layers = list(zip(values[1::2], values[::2], outputs, strict=True))
    addmm, relu_ = torch.addmm, torch.relu_

    def run(x: Any) -> Any:
        for bias, weight, output in layers[:-1]:
            x = relu_(addmm(bias, x, weight, out=output))
        bias, weight, output = layers[-1]
        return addmm(bias, x, weight, out=output)

    return partial(run, torch.from_numpy(net.rows())), lambda logits: probabilities(logits.numpy())
