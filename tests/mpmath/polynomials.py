"""Finds the polynomials of src/math/: minimax fits (Remez) with coefficients rounded to their format.

    python tests/mpmath/polynomials.py > src/math/coefficients.rs && cargo fmt

writes them with the largest relative error of the function that each stands in. Needs mpmath; takes half a
minute.

A fit is rounded one coefficient at a time, from the lowest power up, and what is left is fitted anew, so that
the later coefficients make up for the rounding of the earlier ones.
"""

from __future__ import annotations

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
    spacing: int = 1


def evaluate(coefficients: list[mpf], variable: mpf) -> mpf:
    return mpmath.polyval([mpf(0), *coefficients[::-1]], variable)


def alternating(errors: list[mpf], count: int) -> list[int]:
    """Where `count` errors of alternating sign are largest; empty if there are fewer."""
    extrema: list[int] = []
    for at, error in enumerate(errors):
        if extrema and error * errors[extrema[-1]] > 0:
            if abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = at
        elif error:
            extrema.append(at)
    while len(extrema) > count:
        extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
    return extrema if len(extrema) == count else []


def minimax(fit: Fit, fixed: list[mpf]) -> tuple[list[mpf], mpf]:
    """The coefficients that follow the fixed ones, and the largest weighted error (Remez's exchange)."""
    unknown = fit.coefficients - len(fixed)
    count = 401
    steps = [((1 - mpmath.cos(mpmath.pi * i / count)) / 2) ** fit.spacing for i in range(count + 1)]
    grid = [fit.low + (fit.high - fit.low) * step for step in steps]
    weights = [fit.weight(x) for x in grid]
    powers = [fit.variable(x) for x in grid]
    rest = [fit.target(x) - evaluate(fixed, v) for x, v in zip(grid, powers, strict=True)]
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
        errors = [
            w * (r - v ** len(fixed) * evaluate(found, v))
            for w, r, v in zip(weights, rest, powers, strict=True)
        ]
        largest = max(abs(e) for e in errors)
        extrema = alternating(errors, unknown + 1)
        if not extrema or largest <= abs(solution[unknown]) * mpf("1.0001"):
            break
        chosen = extrema
    return found, largest


def rounded(value: mpf, bits: int) -> mpf:
    with mpmath.workprec(bits):
        return +value


def solve(fit: Fit) -> tuple[list[mpf], mpf]:
    """Rounded coefficients, lowest power first, and the largest weighted error."""
    fixed: list[mpf] = []
    rest, _ = minimax(fit, fixed)
    while True:
        fixed.append(rounded(rest.pop(0), fit.bits))
        if not rest:
            return fixed, largest_error(fit, fixed)
        anew, _ = minimax(fit, fixed)
        if largest_error(fit, fixed + anew) < largest_error(fit, fixed + rest):
            rest = anew


def largest_error(fit: Fit, coefficients: list[mpf]) -> mpf:
    worst = mpf(0)
    for i in range(1000):
        x = fit.low + (fit.high - fit.low) * (mpf(i) / 999) ** fit.spacing
        worst = max(worst, abs(fit.weight(x) * (fit.target(x) - evaluate(coefficients, fit.variable(x)))))
    return worst


HALF_LN2 = mpmath.log(2) / 2
F32, F64 = 24, 53


def exp_fit(coefficients: int, bits: int) -> Fit:
    """p of exp(r) = 1 + r + r²·p(r), |r| ≤ ln(2)/2; the error is relative to expm1(r)."""
    edge = HALF_LN2 * mpf("1.001")
    return Fit(
        lambda r: (mpmath.expm1(r) - r) / r**2,
        lambda r: abs(r**2 / mpmath.expm1(r)),
        -edge,
        edge,
        coefficients,
        bits,
    )


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


def tanh_fit(coefficients: int, bits: int) -> Fit:
    """p of tanh(r) = r + r³·p(r²), |r| ≤ 3/8·ln 2; the error is relative to tanh(r)."""
    return Fit(
        lambda r: (mpmath.tanh(r) - r) / r**3,
        lambda r: r**3 / mpmath.tanh(r),
        mpf("1e-6"),
        mpmath.log(2) * 3 / 8 * mpf("1.001"),
        coefficients,
        bits,
        lambda r: r**2,
    )


def erf_fit(coefficients: int, bits: int) -> Fit:
    """p of erf(x) = x + x·p(x²), |x| ≤ 7/8; the error is relative to erf(x)."""
    return Fit(
        lambda x: (mpmath.erf(x) - x) / x,
        lambda x: x / mpmath.erf(x),
        mpf("1e-6"),
        mpf("0.875"),
        coefficients,
        bits,
        lambda x: x**2,
    )


def scaled_tail(a: mpf) -> mpf:
    """Φ(−a)·exp(a²/2), Φ the normal distribution function."""
    return mpmath.erfc(a / mpmath.sqrt(2)) * mpmath.exp(a**2 / 2) / 2


def monic(coefficients: list[mpf], variable: mpf) -> mpf:
    return evaluate([*coefficients, mpf(1)], variable)


def rational_tail(
    degree: int, high: mpf, bits: int, scale: mpf | None
) -> tuple[list[mpf], list[mpf], mpf, mpf]:
    """p, q, s and the largest relative error of s·p(a)/q(a) ≈ scaled_tail(a), 0 ≤ a ≤ high.

    s is found too, if no `scale` is given. q has `degree`, p one less; their highest coefficients are 1, and
    left out. Remez's exchange on the error multiplied by q, q taken from the step before. Then q and s are
    rounded, and p fitted to scaled_tail·q/s.
    """
    grid = [high * ((1 - mpmath.cos(mpmath.pi * i / 401)) / 2) ** 3 for i in range(402)]
    values = [scaled_tail(a) for a in grid]
    free = degree if scale is None else degree - 1
    unknown = free + degree
    chosen = [round(mpf(401) * i / unknown) for i in range(unknown + 1)]
    denominators = [(1 + a) ** degree for a in grid]
    q: list[mpf] = []
    s = mpf(0)
    for _ in range(40):
        system = mpmath.matrix(unknown + 1, unknown + 1)
        right = mpmath.matrix(unknown + 1, 1)
        for row, at in enumerate(chosen):
            a, weight = grid[at], 1 / (values[at] * denominators[at])
            for power in range(free):
                system[row, power] = weight * a**power
            for power in range(degree):
                system[row, free + power] = -weight * values[at] * a**power
            system[row, unknown] = (-1) ** row
            known = 0 if scale is None else scale * a ** (degree - 1)
            right[row] = weight * (values[at] * a**degree - known)
        solution = mpmath.lu_solve(system, right)
        p, q = list(solution[:free]), list(solution[free:unknown])
        p += [] if scale is None else [scale]
        s = p[-1]
        denominators = [monic(q, a) for a in grid]
        errors = [1 - evaluate(p, a) / (d * v) for a, d, v in zip(grid, denominators, values, strict=True)]
        chosen = alternating(errors, unknown + 1) or chosen
    q, s = [rounded(c, bits) for c in q], rounded(s, bits)
    p, error = solve(
        Fit(
            lambda a: scaled_tail(a) * monic(q, a) / s - a ** (degree - 1),
            lambda a: s / (scaled_tail(a) * monic(q, a)),
            mpf(0),
            high * mpf("1.001"),
            degree - 1,
            bits,
            spacing=3,
        )
    )
    return p, q, s, error


FITS = {
    "EXP": (exp_fit, 5, 10),
    "LOG": (log_fit, 8, 0),
    "LOG_RATIO": (log_ratio_fit, 0, 7),
    "TANH": (tanh_fit, 3, 7),
    "ERF": (erf_fit, 6, 12),
}
TAILS = {
    "F32": (5, mpf("14.7"), F32, None),
    # So that a·φ(a), which a derivative takes away, has no rounded factor.
    "F64": (11, mpf(39), F64, rounded(1 / mpmath.sqrt(2 * mpmath.pi), F64)),
}


def show(name: str, about: str, coefficients: list[mpf]) -> None:
    lines = "".join(f"    {float(c)!r},\n" for c in coefficients)
    print(f"\n/// {about}\npub(super) const {name}: [f64; {len(coefficients)}] = [\n{lines}];")


def main() -> None:
    print("//! Coefficients, lowest power first. Written by tests/mpmath/polynomials.py.")
    for name, (fit, *counts) in FITS.items():
        for bits, count in zip((F32, F64), counts, strict=True):
            if count:
                p, error = solve(fit(count, bits))
                about = f"{(fit.__doc__ or '').split(';')[0]}. Relative error: {mpmath.nstr(error, 2)}."
                show(f"{name}_F{32 if bits == F32 else 64}", about, p)
    for name, (degree, high, bits, given) in TAILS.items():
        p, q, scale, error = rational_tail(degree, high, bits, given)
        about = f"of s·p(a)/q(a) = Φ(−a)·exp(a²/2), 0 ≤ a ≤ {mpmath.nstr(high, 3)}"
        without = "without the highest power, whose coefficient is 1"
        show(f"TAIL_P_{name}", f"p {about}, {without}. Relative error: {mpmath.nstr(error, 2)}.", p)
        show(f"TAIL_Q_{name}", f"q {about}, {without}.", q)
        print(f"\n/// s {about}.\npub(super) const TAIL_S_{name}: f64 = {float(scale)!r};")


if __name__ == "__main__":
    main()
