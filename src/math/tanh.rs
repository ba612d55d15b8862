//! tanh and sigmoid, each with one division.

use super::coefficients::{TANH_F32, TANH_F64};
use super::{exp, is_float32, polynomial, splat, splat_pattern};
use crate::simd::Arithmetic;

/// With |x| = n·ln(2)/2 + r, e = 2⁻ⁿ and T = tanh r,
///
/// tanh|x| = (1 − e) + e·((3 − e)·T − (1 − e)) / ((1 + e) + (1 − e)·T).
///
/// The first term is exact. The second is small beside it, so that its errors hardly count; for n = 0 it is T itself.
#[inline(always)]
pub(super) fn tanh<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    const LN2: f64 = std::f64::consts::LN_2;
    let high = if is_float32::<V>() { 9.5 } else { 20.0 };
    let a = splat::<V>(simd, high).lesser(x.abs());
    // −2n in the lowest bits, biased: n + ¼ ≤ |x|·2/ln 2 + ½ < n + 5/4, by rounding twice the number to an integer
    // and dropping its last bit.
    let bias = if is_float32::<V>() { 254.0 } else { 2046.0 };
    let rounder = exp::rounder::<V>() + bias;
    let doubled = a.mul_add(splat(simd, -4.0 / LN2), splat(simd, rounder + 1.0));
    let even = doubled.bit_and(splat_pattern(simd, 0x4b7f_fffe, 0x433f_ffff_ffff_fffe));
    let e = if is_float32::<V>() {
        even.bit_shl::<22>()
    } else {
        even.bit_shl::<51>()
    };
    let r = (even - splat(simd, rounder)).mul_add(splat(simd, LN2 / 4.0), a);

    let u = r * r;
    let p = if is_float32::<V>() {
        polynomial(simd, u, TANH_F32)
    } else {
        polynomial(simd, u, TANH_F64)
    };
    let t = (r * u).mul_add(p, r);
    let exact = splat::<V>(simd, 1.0) - e;
    let numerator = (splat::<V>(simd, 3.0) - e).mul_add(t, -exact);
    let denominator = exact.mul_add(t, splat::<V>(simd, 1.0) + e);
    let magnitude = exact + e * numerator / denominator;
    magnitude.bit_or(x.bit_and(splat(simd, -0.0)))
}

/// With e = exp(−|x|) and w = e/(1 + e): 1 − w for x ≥ 0, e − e·w for x < 0.
#[inline(always)]
pub(super) fn sigmoid<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let one = splat::<V>(simd, 1.0);
    let e = exp::exp_nonpositive(simd, x.bit_or(splat(simd, -0.0)));
    let w = e / (one + e);
    let base = V::select(x.lt(V::zero(simd)), e, one);
    (-base).mul_add(w, base)
}
