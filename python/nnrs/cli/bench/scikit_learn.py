"""scikit-learn: MLPClassifier, whose `partial_fit` of a batch is a step, and of all rows an epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnrs.cli.bench.net import Floats, Net

__all__ = ["classifier", "prediction", "step"]


def classifier(net: Net, lr: float, **options: Any) -> Any:
    """Return a classifier that holds the network's values, and whose Adam has not begun.

    Parameters
    ----------
    net : Net
    lr : float
    **options
        Of MLPClassifier.
    """
    from sklearn.neural_network import MLPClassifier

    found = MLPClassifier(
        net.sizes[1:-1], alpha=0.0, batch_size=net.batch, learning_rate_init=lr, random_state=0, **options
    )
    # Only a first call makes its arrays, and its optimiser keeps moments until it is taken away.
    found.partial_fit(net.rows(), net.targets(), classes=np.arange(max(net.sizes[-1], 2)))
    del found._optimizer
    values = net.parameters()
    for i in range(len(net.shapes)):
        found.coefs_[i][:] = values[2 * i].T
        found.intercepts_[i][:] = values[2 * i + 1]
    return found


def step(net: Net, lr: float) -> Callable[[], float]:
    """Return a training step; each call gives the loss before it."""
    found = classifier(net, lr, shuffle=False)
    x, y = net.rows(), net.targets()

    def run() -> float:
        found.partial_fit(x, y)
        return float(found.loss_)

    return run


def prediction(net: Net) -> tuple[Callable[[], Any], Callable[[Any], Floats]]:
    """Return a prediction of probabilities."""

    def read(found: Any) -> Floats:
        result: Floats = found[:, 1] if net.binary else found
        return result

    return partial(classifier(net, 1e-3).predict_proba, net.rows()), read
