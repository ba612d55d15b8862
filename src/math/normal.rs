//! The tail of the normal distribution, which keeps its relative accuracy far out: Φ(−a) = exp(−a²/2)·p(a)/q(a).

use super::coefficients::{EXP_F32, EXP_F64, TAIL_P_F32, TAIL_P_F64, TAIL_Q_F32, TAIL_Q_F64};
use super::exp::{in_minus_half, lift, rounder};
use super::{into_exponent, is_float32, splat};
use crate::simd::Arithmetic;

/// The normal distribution function at −a, Φ(−a) = e·p/q.
pub(crate) struct NormalTail<V> {
    /// |x|, but no more than where e is zero even times some thousands.
    pub a: V,
    /// exp(−a²/2)·2^[`lift`]; of NaN anything, while a, p and q are NaN.
    pub e_lifted: V,
    pub p: V,
    pub q: V,
}

#[inline(always)]
pub(crate) fn normal_tail<V: Arithmetic>(simd: V::Simd, x: V) -> NormalTail<V> {
    if is_float32::<V>() {
        let a = splat::<V>(simd, 14.6).lesser(x.abs());
        // ln 2 in two parts, the first so short that its products with n are exact.
        let ln2 = [45_426.0 / 65_536.0, 1.428_606_820_309_417_3e-6];
        in_step(simd, a, ln2, EXP_F32, TAIL_P_F32, TAIL_Q_F32)
    } else {
        let a = splat::<V>(simd, 38.9).lesser(x.abs());
        let ln2 = [
            3_048_493_539_143.0 / 4_398_046_511_104.0,
            5.497_923_018_708_371e-14,
        ];
        in_step(simd, a, ln2, EXP_F64, TAIL_P_F64, TAIL_Q_F64)
    }
}

/// exp(−a²/2) = 2ⁿ·exp(−t/2), t = a² + n·2·ln 2. The square is not rounded: its error would be multiplied by its size. The
/// powers of −½ stand in the polynomial, where they round nothing.
///
/// The three polynomials take a step in turn, as each step of one waits for the step before it.
#[inline(always)]
fn in_step<V: Arithmetic, const E: usize, const P: usize, const Q: usize>(
    simd: V::Simd,
    a: V,
    [high, low]: [f64; 2],
    e: [f64; E],
    p: [f64; P],
    q: [f64; Q],
) -> NormalTail<V> {
    let rounder = splat::<V>(simd, rounder::<V>() + f64::from(lift::<V>()));
    let shifted = (a * a)
        .mul_add(splat(simd, -0.5 * std::f64::consts::LOG2_E), rounder)
        .in_order();
    let mut q = Horner::new(simd, a, &q);
    let mut p = Horner::new(simd, a, &p);
    q.step(simd);
    p.step(simd);
    let n = shifted - rounder;
    q.step(simd);
    let t = a.mul_add(a, n * splat(simd, 2.0 * high)).in_order();
    p.step(simd);
    let t = n.mul_add(splat(simd, 2.0 * low), t).in_order();
    q.step(simd);
    let e = in_minus_half(e);
    let mut e = Horner::new(simd, t, &e);
    // So p and q end with e, of which they were two and three steps ahead.
    const { assert!(P <= E + 2 && Q <= E + 3) };
    for _ in 1..E {
        e.step(simd);
        p.step(simd);
        q.step(simd);
    }
    let slope = e.sum.mul_add(t, splat(simd, -0.5)).in_order();
    let e = slope.mul_add(t, splat(simd, 1.0)).in_order();
    // Between ½ and 2 times a power of two that is in range: its exponent is added, on ports that the multiplications leave.
    let e_lifted = e.bit_add(into_exponent(shifted));
    NormalTail {
        a,
        e_lifted,
        p: p.sum,
        q: q.sum,
    }
}

/// A polynomial by Horner's rule, as far as it has come.
struct Horner<'c, V> {
    x: V,
    sum: V,
    left: &'c [f64],
}

impl<'c, V: Arithmetic> Horner<'c, V> {
    #[inline(always)]
    fn new<const N: usize>(simd: V::Simd, x: V, coefficients: &'c [f64; N]) -> Self {
        Self {
            x,
            sum: splat(simd, coefficients[N - 1]),
            left: &coefficients[..N - 1],
        }
    }

    /// Nothing, after the last.
    #[inline(always)]
    fn step(&mut self, simd: V::Simd) {
        if let [left @ .., coefficient] = self.left {
            self.sum = self
                .sum
                .mul_add(self.x, splat(simd, *coefficient))
                .in_order();
            self.left = left;
        }
    }
}
