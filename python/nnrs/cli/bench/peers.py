"""Who takes part, and the two contests of every network: a training step and a prediction."""

from __future__ import annotations

import importlib
import importlib.util
from typing import NamedTuple

import numpy as np

from nnrs.cli.bench.net import Net
from nnrs.cli.bench.worker import Prepared

__all__ = ["OURS", "PEERS", "Peer", "prediction", "step"]


class Peer(NamedTuple):
    """A contestant.

    Attributes
    ----------
    name : str
    file : str
        The module beside this one that holds it.
    needs : tuple of str
        Modules that must be installed.
    trains : bool
        Whether it has a training step.

    Examples
    --------
    >>> from nnrs.cli.bench.peers import Peer
    >>> Peer("one", "one", ("numpy", "no_such_module"), True).missing
    ['no_such_module']
    """

    name: str
    file: str
    needs: tuple[str, ...]
    trains: bool

    @property
    def missing(self) -> list[str]:
        """Modules that it needs and that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


OURS = Peer("nnrs", "ours", (), True)
PEERS = {
    "numpy": Peer("NumPy", "by_hand", ("numpy",), True),
    "torch": Peer("torch", "torch", ("torch",), True),
    "jax": Peer("JAX", "jax", ("jax",), True),
    "scikit-learn": Peer("scikit-learn", "scikit_learn", ("sklearn",), True),
    "onnxruntime": Peer("ONNX Runtime", "onnxruntime", ("onnxruntime", "onnx"), False),
}

_TRIAL_RATE = 1e-3
# So small that the loss stays what it is: a network that has learned its one batch by heart has gradients
# and moments so small that some contestants, not all, slow down.
_TIMED_RATE = 1e-6


def step(file: str, net: Net) -> Prepared:
    """Return a contestant's training step; it is checked by the losses of its first five.

    Examples
    --------
    >>> from nnrs.cli.bench import peers
    >>> from nnrs.cli.bench.net import Net
    >>> sorted(peers.step("by_hand", Net((4, 3, 2), 5)).checks)
    ['loss of the first step', 'losses of five steps']
    """
    contestant = importlib.import_module(f"nnrs.cli.bench.{file}")
    trial = contestant.step(net, _TRIAL_RATE)
    losses = np.array([trial() for _ in range(5)])
    checks = {"loss of the first step": (losses[:1], 1e-4), "losses of five steps": (losses, 1e-2)}
    return Prepared(contestant.step(net, _TIMED_RATE), checks)


def prediction(file: str, net: Net) -> Prepared:
    """Return a contestant's prediction; it is checked by its probabilities.

    Examples
    --------
    >>> from nnrs.cli.bench import peers
    >>> from nnrs.cli.bench.net import Net
    >>> peers.prediction("by_hand", Net((4, 3, 2), 5)).checks["probabilities"][0].shape
    (5, 2)
    """
    call, read = importlib.import_module(f"nnrs.cli.bench.{file}").prediction(net)
    return Prepared(call, {"probabilities": (np.array(read(call())), 1e-4)})
