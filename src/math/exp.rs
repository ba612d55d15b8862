//! exp and expm1: x = n·ln 2 + r with |r| ≤ ln(2)/2, eˣ = 2ⁿ·eʳ, eʳ = 1 + r + r²·p(r).

use super::coefficients::{EXP_F32, EXP_F64};
use super::{into_exponent, is_float32, polynomial, splat, splat_pattern};
use crate::simd::{Arithmetic, Element};

const LN2_HIGH: f64 = std::f64::consts::LN_2;
/// ln 2 less its nearest float64.
const LN2_LOW: f64 = 2.3190468138462996e-17;

/// ln 2 in two parts.
#[inline(always)]
pub(super) fn ln2<V: Arithmetic>(simd: V::Simd) -> [V; 2] {
    if is_float32::<V>() {
        let high = f64::from(LN2_HIGH as f32);
        [splat(simd, high), splat(simd, LN2_HIGH - high)]
    } else {
        [splat(simd, LN2_HIGH), splat(simd, LN2_LOW)]
    }
}

/// Adding it rounds a small number to an integer, which then stands in the lowest bits, wrapping.
#[inline(always)]
pub(super) fn rounder<V: Arithmetic>() -> f64 {
    if is_float32::<V>() {
        12_582_912.0
    } else {
        6_755_399_441_055_744.0
    }
}

/// n and r of x, the first as the lowest bits of a number, `offset` added. |n| + |offset| must stay below 2⁹ for
/// float32, 2¹² for float64.
#[inline(always)]
fn reduce<V: Arithmetic>(simd: V::Simd, x: V, offset: f64) -> (V, V) {
    let rounder = splat::<V>(simd, rounder::<V>() + offset);
    let [high, low] = ln2::<V>(simd);
    let shifted = x.mul_add(splat(simd, std::f64::consts::LOG2_E), rounder);
    let n = shifted - rounder;
    // The first step is exact: n·high and x are multiples of one power of two, and the difference is small.
    let r = n.mul_add(-high, x);
    let r = n.mul_add(-low, r);
    (shifted, r)
}

/// eʳ.
#[inline(always)]
fn exp_reduced<V: Arithmetic>(simd: V::Simd, r: V) -> V {
    let p = if is_float32::<V>() {
        polynomial(simd, r, EXP_F32)
    } else {
        polynomial(simd, r, EXP_F64)
    };
    let one = splat::<V>(simd, 1.0);
    p.mul_add(r, one).mul_add(r, one)
}

/// expm1(r).
#[inline(always)]
fn expm1_reduced<V: Arithmetic>(simd: V::Simd, r: V) -> V {
    let p = if is_float32::<V>() {
        polynomial(simd, r, EXP_F32)
    } else {
        polynomial(simd, r, EXP_F64)
    };
    (r * r).mul_add(p, r)
}

#[inline(always)]
pub(super) fn exp<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let (low, high) = if is_float32::<V>() {
        (-104.0, 89.0)
    } else {
        (-746.0, 710.0)
    };
    let x = splat::<V>(simd, high).lesser(x);
    let x = splat::<V>(simd, low).greater(x);
    // Both halves of n are biased by an offset of twice the exponent's bias; each is a power of two in range, and
    // only the second multiplication rounds.
    let offset = if is_float32::<V>() { 254.0 } else { 2046.0 };
    let (n, r) = reduce(simd, x, offset);
    let even = n.bit_and(splat_pattern(simd, 0x1fe, 0xffe));
    let half = if is_float32::<V>() {
        even.bit_shl::<22>()
    } else {
        even.bit_shl::<51>()
    };
    let rest = into_exponent(n).bit_sub(half);
    exp_reduced(simd, r) * half * rest
}

/// 2^[`lift`] of the functions that keep a factor out of the subnormal range until their last multiplication.
pub(crate) const fn lift<V: Arithmetic>() -> i32 {
    if is_float32::<V>() { 64 } else { 512 }
}

/// exp(x)·2^lift for −780 ≤ x ≤ 0 (float64) or −120 ≤ x ≤ 0 (float32), or NaN.
#[inline(always)]
pub(crate) fn exp_lifted<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let (n, r) = reduce(simd, x, lifted_bias::<V>());
    exp_reduced(simd, r) * into_exponent(n)
}

/// The exponent's bias + [`lift`].
#[inline(always)]
fn lifted_bias<V: Arithmetic>() -> f64 {
    let bias = if is_float32::<V>() { 127.0 } else { 1023.0 };
    bias + f64::from(lift::<V>())
}

/// The coefficients of ¼·p(−t/2) as a polynomial in t.
#[inline(always)]
pub(super) fn in_minus_half<const N: usize>(coefficients: [f64; N]) -> [f64; N] {
    let mut power = 0.25;
    coefficients.map(|coefficient| {
        let scaled = coefficient * power;
        power *= -0.5;
        scaled
    })
}

/// exp(x)·2^lift for x ≤ 0, however small, or NaN.
#[inline(always)]
fn exp_nonpositive_lifted<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let low = if is_float32::<V>() { -104.0 } else { -746.0 };
    exp_lifted(simd, splat::<V>(simd, low).greater(x))
}

#[inline(always)]
pub(super) fn exp_nonpositive<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    exp_nonpositive_lifted(simd, x) * splat(simd, 2f64.powi(-lift::<V>()))
}

#[inline(always)]
pub(super) fn exp_nonpositive_or_zero<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let lifted = exp_nonpositive_lifted(simd, x);
    let least = V::Element::MIN_POSITIVE.to_f64() * 2f64.powi(lift::<V>());
    let least = splat(simd, least);
    lifted.zero_where_below(lifted, least) * splat(simd, 2f64.powi(-lift::<V>()))
}

#[inline(always)]
pub(super) fn expm1<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let (low, high, tiny) = if is_float32::<V>() {
        (-18.0, 89.0, 2f64.powi(-25))
    } else {
        (-38.0, 710.0, 2f64.powi(-54))
    };
    let clamped = splat::<V>(simd, high).lesser(x);
    let clamped = splat::<V>(simd, low).greater(clamped);
    // Half the result, because 2ⁿ itself may overflow.
    let offset = if is_float32::<V>() { 126.0 } else { 1022.0 };
    let (n, r) = reduce(simd, clamped, offset);
    let power = into_exponent(n);
    let half = power.mul_add(expm1_reduced(simd, r), power - splat(simd, 0.5));
    V::select(x.abs().lt(splat(simd, tiny)), x, half + half)
}

#[inline(always)]
pub(super) fn expm1_nonpositive<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let low = if is_float32::<V>() { -18.0 } else { -38.0 };
    let x = splat::<V>(simd, low).greater(x);
    let offset = if is_float32::<V>() { 127.0 } else { 1023.0 };
    let (n, r) = reduce(simd, x, offset);
    let power = into_exponent(n);
    power.mul_add(expm1_reduced(simd, r), power - splat(simd, 1.0))
}
