"""Small data to try things on: digits that ship with the package, MNIST from a folder, and made-up shapes.

Each returns arrays ready for `Trainer.fit`: features (n, features) float32, labels (n,) int64.
"""

from __future__ import annotations

from nnrs.datasets.handwritten import digits
from nnrs.datasets.idx import mnist
from nnrs.datasets.shapes import moons, sine, spirals, xor

__all__ = ["digits", "mnist", "moons", "sine", "spirals", "xor"]
