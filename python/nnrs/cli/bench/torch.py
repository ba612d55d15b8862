"""torch: fused Adam, tensors in memory, functions in place of modules, no gradient that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnrs.cli.bench.net import Floats, Net, probabilities
from nnrs.config import get_num_threads

__all__ = ["prediction", "step"]


def step(net: Net, lr: float) -> Callable[[], float]:
    """Return a training step; each call gives the loss before it.

    `autograd.grad` costs less than `backward`, which adds into `.grad`.
    """
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(get_num_threads())
    parameters = [torch.from_numpy(value).requires_grad_() for value in net.parameters()]
    layers = [(parameters[i], parameters[i + 1]) for i in range(0, len(parameters), 2)]
    optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
    rows, y = torch.from_numpy(net.rows()), torch.from_numpy(net.targets())
    criterion: Any = F.binary_cross_entropy_with_logits if net.binary else F.cross_entropy
    if net.binary:
        y = y.float()[:, None]

    def run() -> float:
        x = rows
        for weight, bias in layers[:-1]:
            x = F.linear(x, weight, bias).relu_()
        loss = criterion(F.linear(x, *layers[-1]), y)
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
        return float(loss.item())

    return run


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
