"""nnrs itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnrs import nn, optim
from nnrs.cli.bench.net import Floats, Net, probabilities
from nnrs.trainer import Trainer

__all__ = ["prediction", "step"]


def step(net: Net, lr: float) -> Callable[[], float]:
    """Return a training step; each call gives the loss before it.

    Examples
    --------
    >>> from nnrs.cli.bench import ours
    >>> from nnrs.cli.bench.net import Net
    >>> ours.step(Net((4, 3, 2), 5), 1e-3)() > 0
    True
    """
    model = net.model()
    loss = nn.BCEWithLogitsLoss() if net.binary else nn.CrossEntropyLoss()
    y: Any = net.targets()
    trainer = Trainer(model, loss, optim.Adam(model.parameters(), lr=lr), seed=0)
    return partial(trainer.step, net.rows(), y.astype(np.float32)[:, None] if net.binary else y)


def prediction(net: Net) -> tuple[Callable[[], Any], Callable[[Any], Floats]]:
    """Return a prediction of a frozen model, and what turns its result into probabilities.

    Examples
    --------
    >>> from nnrs.cli.bench import ours
    >>> from nnrs.cli.bench.net import Net
    >>> call, read = ours.prediction(Net((4, 3, 2), 5))
    >>> read(call()).shape
    (5, 2)
    """
    return partial(net.model().eval().freeze(), net.rows()), probabilities
