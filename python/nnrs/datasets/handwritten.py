"""The 8×8 handwritten digits that ship with the package; their source stands in ATTRIBUTION beside them."""

from __future__ import annotations

from importlib import resources

import numpy as np
from numpy.typing import NDArray

__all__ = ["digits"]


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return 1,797 handwritten digits of 8×8 pixels.

    Returns
    -------
    x : (1797, 64) float32
        Grey levels, 0 (white) to 1 (ink), in steps of 1/16; `x.reshape(-1, 8, 8)` are the images.
    y : (1797,) int64
        The digit, 0 to 9.

    Notes
    -----
    Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    CC BY 4.0; the rows and their order are those of `sklearn.datasets.load_digits`.

    Examples
    --------
    >>> import nnrs
    >>> x, y = nnrs.datasets.digits()
    >>> x.shape, y[:5].tolist()
    ((1797, 64), [0, 1, 2, 3, 4])
    """
    with resources.files("nnrs.datasets").joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        return stored["x"].astype(np.float32) / np.float32(16), stored["y"].astype(np.int64)
