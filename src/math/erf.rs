//! erf: near zero x + x·p(x²), further out 1 − 2·Φ(−√2·x) with the tail of the normal distribution.

use super::coefficients::{
    ERF_F32, ERF_F64, TAIL_P_F32, TAIL_P_F64, TAIL_Q_F32, TAIL_Q_F64, TAIL_S_F32, TAIL_S_F64,
};
use super::{exp, is_float32, monic, polynomial, splat};
use crate::simd::Arithmetic;

/// p, q and s of Φ(−a) = exp(−a²/2)·s·p/q, 0 ≤ a ≤ 14.7 (float32) or 39 (float64).
#[inline(always)]
fn tail_ratio<V: Arithmetic>(simd: V::Simd, a: V) -> (V, V, f64) {
    if is_float32::<V>() {
        let [p, q] = [monic(simd, a, TAIL_P_F32), monic(simd, a, TAIL_Q_F32)];
        (p, q, TAIL_S_F32)
    } else {
        let [p, q] = [monic(simd, a, TAIL_P_F64), monic(simd, a, TAIL_Q_F64)];
        (p, q, TAIL_S_F64)
    }
}

#[inline(always)]
pub(super) fn erf<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let one = splat::<V>(simd, 1.0);
    let high = if is_float32::<V>() { 4.0 } else { 6.0 };
    let u = x * x;
    let near = if is_float32::<V>() {
        polynomial(simd, u, ERF_F32)
    } else {
        polynomial(simd, u, ERF_F64)
    };
    let near = near.mul_add(x, x);

    let a = splat::<V>(simd, high).lesser(x.abs());
    let (p, q, s) = tail_ratio(simd, a * splat(simd, std::f64::consts::SQRT_2));
    let e = exp::exp_nonpositive(simd, -(a * a));
    let far = one - p * splat(simd, 2.0 * s) * e / q;
    let far = far.bit_or(x.bit_and(splat(simd, -0.0)));
    V::select(a.lt(splat(simd, 0.875)), near, far)
}
