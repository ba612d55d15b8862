"""Finds the polynomials of src/math/: minimax fits (Remez) with coefficients rounded to their format.

    python tests/mpmath/polynomials.py [name ...]

prints, for every fit, the largest relative error of the function that the polynomial stands in and the
coefficients, lowest power first, as they are written in src/math/. Needs mpmath.

A fit is rounded one coefficient at a time, from the lowest power up, and what is left is fitted anew, so that the
later coefficients make up for the rounding of the earlier ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath
from mpmath import mpf

mpmath.mp.dps = 60

Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Fit:
    """`target` ≈ sum of c[i]·variable(x)^i for low ≤ x ≤ high, the error weighted by `weight`."""

    target: Function
    weight: Function
    low: mpf
    high: mpf
    coefficients: int
    bits: int
    variable: Function = lambda x: x


def evaluate(coefficients: list[mpf], variable: mpf) -> mpf:
    return mpmath.polyval([mpf(0), *coefficients[::-1]], variable)


def minimax(fit: Fit, fixed: list[mpf]) -> tuple[list[mpf], mpf]:
    """The coefficients that follow the fixed ones, and the largest weighted error (Remez's exchange)."""
    unknown = fit.coefficients - len(fixed)
    count = 401
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    grid = [middle - half * mpmath.cos(mpmath.pi * i / count) for i in range(count + 1)]
    weights = [fit.weight(x) for x in grid]
    powers = [fit.variable(x) for x in grid]
    rest = [fit.target(x) - evaluate(fixed, v) for x, v in zip(grid, powers)]
    chosen = [round(mpf(count) * i / unknown) for i in range(unknown + 1)]
    for _ in range(60):
        system = mpmath.matrix(unknown + 1, unknown + 1)
        right = mpmath.matrix(unknown + 1, 1)
        for row, at in enumerate(chosen):
            for column in range(unknown):
                system[row, column] = weights[at] * powers[at] ** (len(fixed) + column)
            system[row, unknown] = (-1) ** row
            right[row] = weights[at] * rest[at]
        solution = mpmath.lu_solve(system, right)
        found = list(solution[:unknown])
        errors = [w * (r - v ** len(fixed) * evaluate(found, v))
                  for w, r, v in zip(weights, rest, powers)]
        extrema: list[int] = []
        for at, error in enumerate(errors):
            if extrema and error * errors[extrema[-1]] > 0:
                if abs(error) > abs(errors[extrema[-1]]):
                    extrema[-1] = at
            elif error:
                extrema.append(at)
        while len(extrema) > unknown + 1:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        largest = max(abs(e) for e in errors)
        if len(extrema) < unknown + 1 or largest <= abs(solution[unknown]) * mpf("1.0001"):
            break
        chosen = extrema
    return found, largest


def rounded(value: mpf, bits: int) -> mpf:
    with mpmath.workprec(bits):
        return +value


def solve(fit: Fit) -> tuple[list[mpf], mpf]:
    """Rounded coefficients, lowest power first, and the largest weighted error."""
    fixed: list[mpf] = []
    while len(fixed) < fit.coefficients:
        found, _ = minimax(fit, fixed)
        fixed.append(rounded(found[0], fit.bits))
    worst = mpf(0)
    for i in range(2000):
        x = fit.low + (fit.high - fit.low) * i / 1999
        error = fit.weight(x) * (fit.target(x) - evaluate(fixed, fit.variable(x)))
        worst = max(worst, abs(error))
    return fixed, worst


HALF_LN2 = mpmath.log(2) / 2
F32, F64 = 24, 53


def exp_fit(coefficients: int, bits: int) -> Fit:
    """p of exp(r) = 1 + r + r²·p(r), |r| ≤ ln(2)/2; the error is relative to expm1(r)."""
    edge = HALF_LN2 * mpf("1.001")
    return Fit(lambda r: (mpmath.expm1(r) - r) / r**2, lambda r: abs(r**2 / mpmath.expm1(r)), -edge, edge, coefficients, bits)


def log_fit(coefficients: int, bits: int) -> Fit:
    """p of log(1 + f) = f − f²/2 + f³·p(f), √½ ≤ 1 + f ≤ √2; the error is relative to log(1 + f)."""
    low, high = mpmath.sqrt(mpf(1) / 2) - 1, mpmath.sqrt(2) - 1
    return Fit(
        lambda f: (mpmath.log1p(f) - f + f**2 / 2) / f**3,
        lambda f: abs(f**3 / mpmath.log1p(f)),
        low * mpf("1.001"),
        high * mpf("1.001"),
        coefficients,
        bits,
    )


def log_ratio_fit(coefficients: int, bits: int) -> Fit:
    """p of log((1 + s)/(1 − s)) = 2s + s³·p(s²), s = f/(2 + f); the error is relative to the logarithm."""
    high = (mpmath.sqrt(2) - 1) / (mpmath.sqrt(2) + 1) * mpf("1.001")
    return Fit(
        lambda s: (2 * mpmath.atanh(s) - 2 * s) / s**3,
        lambda s: s**3 / mpmath.atanh(s) / 2,
        mpf("1e-6"),
        high,
        coefficients,
        bits,
        lambda s: s**2,
    )


FITS = {
    "exp float32": exp_fit(5, F32),
    "exp float64": exp_fit(10, F64),
    "log float32 a": log_fit(7, F32),
    "log float32 b": log_fit(8, F32),
    "log float32": log_fit(9, F32),
    "log float64": log_ratio_fit(7, F64),
}


def main(names: list[str]) -> None:
    for name, fit in FITS.items():
        if names and name not in names:
            continue
        coefficients, error = solve(fit)
        print(f"{name}: relative error {mpmath.nstr(error, 3)}")
        for coefficient in coefficients:
            print(f"    {float(coefficient)!r},")


if __name__ == "__main__":
    main(sys.argv[1:])
