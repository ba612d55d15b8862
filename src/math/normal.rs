//! The tail of the normal distribution, which keeps its relative accuracy far out: Φ(−a) = exp(−a²/2)·s·p(a)/q(a).

use super::coefficients::{
    EXP_F32, EXP_F64, TAIL_P_F32, TAIL_P_F64, TAIL_Q_F32, TAIL_Q_F64, TAIL_S_F32, TAIL_S_F64,
};
use super::exp::{in_minus_half, lift, rounder};
use super::{into_exponent, is_float32, splat};
use crate::simd::Arithmetic;

/// The normal distribution function at −a, Φ(−a) = e·s·p/q.
pub(crate) struct NormalTail<V> {
    /// |x|, but no more than where e is zero even times some thousands.
    pub a: V,
    /// exp(−a²/2)·2^[`lift`]; of NaN anything, while a, p and q are NaN.
    pub e_lifted: V,
    pub p: V,
    pub q: V,
    pub s: f64,
}

#[inline(always)]
pub(crate) fn normal_tail<V: Arithmetic>(simd: V::Simd, x: V) -> NormalTail<V> {
    if is_float32::<V>() {
        let a = splat::<V>(simd, 14.6).lesser(x.abs());
        // ln 2 in two parts, the first so short that its products with n are exact.
        let ln2 = [45_426.0 / 65_536.0, 1.428_606_820_309_417_3e-6];
        in_step(simd, a, ln2, EXP_F32, TAIL_P_F32, TAIL_Q_F32, TAIL_S_F32)
    } else {
        let a = splat::<V>(simd, 38.9).lesser(x.abs());
        let ln2 = [
            3_048_493_539_143.0 / 4_398_046_511_104.0,
            5.497_923_018_708_371e-14,
        ];
        in_step(simd, a, ln2, EXP_F64, TAIL_P_F64, TAIL_Q_F64, TAIL_S_F64)
    }
}

/// exp(−a²/2) = 2ⁿ·exp(−t/2), t = a² + n·2·ln 2. The square is not rounded: its error would be multiplied by its size. The
/// powers of −½ stand in the polynomial, where they round nothing. The highest coefficients of p and q are 1: an addition,
/// where another one would be a multiplication.
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
    s: f64,
) -> NormalTail<V> {
    let rounder = splat::<V>(simd, rounder::<V>() + f64::from(lift::<V>()));
    let shifted = (a * a)
        .mul_add(splat(simd, -0.5 * std::f64::consts::LOG2_E), rounder)
        .in_order();
    let mut q = Horner::monic(simd, a, &q);
    let mut p = Horner::monic(simd, a, &p);
    q.step(simd);
    p.step(simd);
    let n = shifted - rounder;
    let t = a.mul_add(a, n * splat(simd, 2.0 * high)).in_order();
    let t = n.mul_add(splat(simd, 2.0 * low), t).in_order();
    let e = in_minus_half(e);
    let mut e = Horner::new(simd, t, &e);
    // So p and q end with e, or before.
    const { assert!(P <= E + 1 && Q <= E + 1) };
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
        s,
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

    /// As [`Horner::new`], of a polynomial whose next higher power has the coefficient 1.
    #[inline(always)]
    fn monic<const N: usize>(simd: V::Simd, x: V, coefficients: &'c [f64; N]) -> Self {
        let begun = Self::new(simd, x, coefficients);
        Self {
            sum: (begun.sum + x).in_order(),
            ..begun
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
