"""Writes the values that the float64 functions of src/math/ are held to.

    python tests/mpmath/references.py > tests/reference/math.txt

One row for each value: x and the nearest float64 to f(x), both as bit patterns, and what f(x) has above the
latter, in thousandths of its unit in the last place. Needs mpmath; takes seconds.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

import mpmath
from mpmath import mpf

mpmath.mp.dps = 400

ROWS = 600
# Edges of the ranges that the functions treat apart, and of float64.
EDGES = [
    0.125, 0.1733, 0.25, 0.26, 0.3465, 0.3466, 0.5, 0.6931, 0.875, 1.0, 1.0397, 4.0, 6.0, 20.0, 37.0, 38.0,
    2.0**-27, 2.0**-52, 2.0**-53, 2.0**-54, 2.0**-55, 2.0**-1022, 2.0**-1074, 3e-310, 1e-300, 1e-16, 1e-8,
    708.0, 709.0, 709.78, 709.782712893384, 710.0, 744.0, 745.0, 745.1332, 746.0, 1e10, 1e300,
    1.7976931348623157e308,
]  # fmt: skip
# The functions and the range of the values that are spread evenly; the others are spread over all exponents.
FUNCTIONS: dict[str, tuple[Callable[[mpf], mpf], float, float]] = {
    "exp": (mpmath.exp, -40.0, 40.0),
    "expm1": (mpmath.expm1, -3.0, 3.0),
    "log": (mpmath.log, 0.25, 4.0),
    "log1p": (mpmath.log1p, -0.9, 3.0),
    "tanh": (mpmath.tanh, -4.0, 4.0),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), -20.0, 20.0),
    "erf": (mpmath.erf, -5.0, 5.0),
}


def pattern(value: float) -> str:
    return struct.pack(">d", value).hex()


def values(low: float, high: float) -> Iterator[float]:
    for edge in EDGES:
        for near in (edge, edge * (1 - 2.0**-52), edge * (1 + 2.0**-52)):
            if near != float("inf"):
                yield near
                yield -near
    draw = random.Random(3)
    while True:
        yield draw.uniform(low, high)
        yield draw.choice((-1, 1)) * draw.uniform(1, 2) * 2.0 ** draw.uniform(-60, 10)
        yield draw.choice((-1, 1)) * draw.uniform(1, 2) * 2.0 ** draw.randrange(-1073, 1023)


def row(function: Callable[[mpf], mpf], x: float) -> str | None:
    """None where the function is not defined, or its value is out of float64's range."""
    if (function is mpmath.log and x <= 0) or (function is mpmath.log1p and x <= -1):
        return None
    exact = function(mpf(x))
    nearest = float(exact)
    if abs(nearest) == float("inf"):
        return None
    unit = mpf(2) ** (max(mpmath.frexp(exact)[1], -1021) - 53) if exact else mpf(1)
    return f"{pattern(x)} {pattern(nearest)} {int(mpmath.nint((exact - nearest) / unit * 1000))}"


def main() -> None:
    for name, (function, low, high) in FUNCTIONS.items():
        print(name)
        seen: set[str] = set()
        for x in values(low, high):
            line = row(function, x)
            if line and line not in seen:
                seen.add(line)
                print(line)
            if len(seen) == ROWS:
                break


if __name__ == "__main__":
    main()
