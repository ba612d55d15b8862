"""Made-up points whose shape one can see: XOR, two moons, spirals, a sine wave.

Only the noise is random, drawn by the core's generator with the purpose "data": the same seed gives the same
points on every machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core
from nnrs.arguments import check_int, check_number
from nnrs.random import resolve_seed

__all__ = ["moons", "sine", "spirals", "xor"]

Points = tuple[NDArray[np.float32], NDArray[np.int64]]


def _check(n: int, noise: float, least: int) -> None:
    check_int("n", n, least)
    check_number("noise", noise)


def _with_noise(clean: NDArray[np.float64], noise: float, seed: int | None) -> NDArray[Any]:
    if noise:
        seed = resolve_seed(seed)
        clean = clean + _core.random_normal(seed, "data", 0, 0, clean.shape, 0.0, noise, "float64")
    return clean.astype(np.float32)


def xor(n: int = 4, noise: float = 0.0, seed: int | None = 0) -> Points:
    """Return the corners of the unit square, labelled by exclusive or: no line separates them.

    Parameters
    ----------
    n : int
        Points; beyond four the corners come round again.
    noise : float
        Standard deviation added to each coordinate.
    seed : int, optional

    Returns
    -------
    x : (n, 2) float32
    y : (n,) int64
        1 where exactly one coordinate of the corner is 1.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer of at least 1, or `noise` is negative.

    Examples
    --------
    >>> import nnrs
    >>> x, y = nnrs.datasets.xor()
    >>> x.tolist(), y.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    _check(n, noise, 1)
    corner = np.arange(n) % 4
    first, second = corner // 2, corner % 2
    clean = np.stack([first, second], axis=1).astype(np.float64)
    return _with_noise(clean, noise, seed), (first ^ second).astype(np.int64)


def moons(n: int = 200, noise: float = 0.1, seed: int | None = 0) -> Points:
    """Return two half circles that reach into each other, the classes in turn.

    Parameters
    ----------
    n : int
        Points of both together.
    noise : float
        Standard deviation added to each coordinate.
    seed : int, optional

    Returns
    -------
    x : (n, 2) float32
    y : (n,) int64
        0 the upper moon, 1 the lower.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer of at least 2, or `noise` is negative.

    Notes
    -----
    The shape of `sklearn.datasets.make_moons`.

    Examples
    --------
    >>> import nnrs
    >>> x, y = nnrs.datasets.moons(4, noise=0.0)
    >>> x.round(1).tolist(), y.tolist()
    ([[1.0, 0.0], [0.0, 0.5], [-1.0, 0.0], [2.0, 0.5]], [0, 1, 0, 1])
    """
    _check(n, noise, 2)
    place = np.arange(n)
    label = place % 2
    angle = math.pi * (place // 2) / np.maximum(np.array([(n + 1) // 2, n // 2])[label] - 1, 1)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    return _with_noise(np.where(label[:, None] == 1, lower, upper), noise, seed), label.astype(np.int64)


def spirals(n: int = 200, noise: float = 0.1, seed: int | None = 0, *, classes: int = 2) -> Points:
    """Return spiral arms wound round each other, one a class, the classes in turn.

    Parameters
    ----------
    n : int
        Points of all arms together.
    noise : float
        Standard deviation added to the angle, in radians.
    seed : int, optional
    classes : int
        Arms, at least 2.

    Returns
    -------
    x : (n, 2) float32
        Inside the unit circle; each arm makes three quarters of a turn from the middle outwards.
    y : (n,) int64

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer of at least `classes`, or `noise` is negative.

    Examples
    --------
    >>> import nnrs
    >>> x, y = nnrs.datasets.spirals(6, noise=0.0, classes=3)
    >>> y.tolist()
    [0, 1, 2, 0, 1, 2]
    """
    _check(n, noise, check_int("classes", classes, 2))
    place = np.arange(n)
    label = place % classes
    radius = (place // classes + 1) / -(-n // classes)
    angle = 1.5 * math.pi * radius + 2 * math.pi * label / classes
    if noise:
        angle = angle + _core.random_normal(resolve_seed(seed), "data", 0, 0, (n,), 0.0, noise, "float64")
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return x.astype(np.float32), label.astype(np.int64)


def sine(
    n: int = 200, noise: float = 0.0, seed: int | None = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return one wave of the sine, evenly spaced from −π to π.

        y = sin x + noise

    Parameters
    ----------
    n : int
        Points.
    noise : float
        Standard deviation added to y.
    seed : int, optional

    Returns
    -------
    x : (n, 1) float32
    y : (n,) float32

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer of at least 2, or `noise` is negative.

    Examples
    --------
    >>> import nnrs
    >>> x, y = nnrs.datasets.sine(3)
    >>> x.shape, y.shape
    ((3, 1), (3,))
    """
    _check(n, noise, 2)
    x = np.linspace(-math.pi, math.pi, n)
    return x[:, None].astype(np.float32), _with_noise(np.sin(x), noise, seed)
