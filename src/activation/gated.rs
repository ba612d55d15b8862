//! The activations x·g(x) with a gate g that goes from 0 to 1: GELU, SiLU, Mish.
//!
//! Each is max(x, 0) − v(|x|) or nearly so, where v = |x|·(1 − g(|x|)) is small and keeps its relative accuracy far
//! out. v is computed times a power of two, so that nothing is rounded to a subnormal number before the last step.

use super::pointwise::{Pointwise, where_positive};
use crate::math::{exp_lifted, lift, normal_tail, splat};
use crate::simd::Arithmetic;

/// |x|, but no more than where exp(−|x|), even times some thousands, is zero.
#[inline(always)]
fn magnitude<V: Arithmetic>(simd: V::Simd, x: V, float32: f64, float64: f64) -> V {
    let limit = if size_of::<V::Element>() == 4 {
        float32
    } else {
        float64
    };
    splat::<V>(simd, limit).lesser(x.abs())
}

#[inline(always)]
fn unlift<V: Arithmetic>(simd: V::Simd) -> V {
    unlift_times(simd, 1.0)
}

#[inline(always)]
fn unlift_times<V: Arithmetic>(simd: V::Simd, factor: f64) -> V {
    splat(simd, factor * 2f64.powi(-lift::<V>()))
}

/// max(x, 0) − v, of v lifted.
#[inline(always)]
fn rectified_less<V: Arithmetic>(simd: V::Simd, x: V, lifted: V) -> V {
    rectified_less_times(simd, x, lifted, 1.0)
}

/// max(x, 0) − v·factor, of v lifted.
#[inline(always)]
fn rectified_less_times<V: Arithmetic>(simd: V::Simd, x: V, lifted: V, factor: f64) -> V {
    (-lifted).mul_add(unlift_times(simd, factor), V::zero(simd).greater(x))
}

/// dout·d for x ≤ 0, dout·(1 − d) for x > 0, of d lifted.
#[inline(always)]
fn reflected<V: Arithmetic>(simd: V::Simd, dout: V, x: V, lifted: V) -> V {
    reflected_times(simd, dout, x, lifted, 1.0)
}

/// As [`reflected`], of d·factor.
#[inline(always)]
fn reflected_times<V: Arithmetic>(simd: V::Simd, dout: V, x: V, lifted: V, factor: f64) -> V {
    let d = lifted * unlift_times(simd, factor);
    dout * where_positive(simd, x, splat::<V>(simd, 1.0) - d, d)
}

/// v = a·e/(1 + e) for the gate sigmoid(z), e = exp(−z); lifted as `e_lifted` is.
#[inline(always)]
fn sigmoid_forward<V: Arithmetic>(simd: V::Simd, x: V, a: V, e_lifted: V) -> V {
    let e = e_lifted * unlift(simd);
    rectified_less(simd, x, a * e_lifted / (e + splat(simd, 1.0)))
}

/// d = e·((1 + e) − a·z′)/(1 + e)².
#[inline(always)]
fn sigmoid_backward<V: Arithmetic>(simd: V::Simd, dout: V, x: V, a_slope: V, e_lifted: V) -> V {
    let sum = e_lifted.mul_add(unlift(simd), splat(simd, 1.0));
    reflected(simd, dout, x, e_lifted * (sum - a_slope) / (sum * sum))
}

#[derive(Clone, Copy)]
pub(super) struct Silu;

impl Pointwise for Silu {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        let a = magnitude(simd, x, 112.0, 760.0);
        sigmoid_forward(simd, x, a, exp_lifted(simd, -a))
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let a = magnitude(simd, x, 112.0, 760.0);
        sigmoid_backward(simd, dout, x, a, exp_lifted(simd, -a))
    }
}

/// ½·(1 + tanh(z/2)) = sigmoid(z), z = 2·√(2/π)·(a + 0.044715·a³).
#[derive(Clone, Copy)]
pub(super) struct GeluTanh;

const GELU_LINEAR: f64 = 2.0 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
const GELU_CUBIC: f64 = GELU_LINEAR * 0.044715;

impl Pointwise for GeluTanh {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        let a = magnitude(simd, x, 11.0, 21.75);
        let z = a * (a * a).mul_add(splat(simd, GELU_CUBIC), splat(simd, GELU_LINEAR));
        sigmoid_forward(simd, x, a, exp_lifted(simd, -z))
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let a = magnitude(simd, x, 11.0, 21.75);
        let square = a * a;
        let z = a * square.mul_add(splat(simd, GELU_CUBIC), splat(simd, GELU_LINEAR));
        let slope = square.mul_add(splat(simd, 3.0 * GELU_CUBIC), splat(simd, GELU_LINEAR));
        sigmoid_backward(simd, dout, x, a * slope, exp_lifted(simd, -z))
    }
}

const INV_SQRT_2PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2 / 2.0;

/// v = a·Φ(−a), d = Φ(−a) − a·φ(a).
#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl Pointwise for Gelu {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        let tail = normal_tail(simd, x);
        let lifted = tail.a * tail.e_lifted * tail.p / tail.q;
        rectified_less_times(simd, x, lifted, tail.s)
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let tail = normal_tail(simd, x);
        let density = tail.a * splat(simd, -INV_SQRT_2PI / tail.s);
        let numerator = density.mul_add(tail.q, tail.p);
        let lifted = tail.e_lifted * numerator / tail.q;
        reflected_times(simd, dout, x, lifted, tail.s)
    }
}

/// With h = exp(−|x|) and m = h + 2 for x ≤ 0, 2h for x > 0:
///
/// v = |x|·h·m/q, q = h·m + 2 or h·m + 2h + 1; d = h·(m·q − 4|x|·(1 + h)·s)/q², s = 1 or h.
#[derive(Clone, Copy)]
pub(super) struct Mish;

struct MishParts<V> {
    a: V,
    lifted: V,
    h: V,
    m: V,
    q: V,
}

#[inline(always)]
fn mish_parts<V: Arithmetic>(simd: V::Simd, x: V) -> MishParts<V> {
    let a = magnitude(simd, x, 112.0, 760.0);
    let lifted = exp_lifted(simd, -a);
    let h = lifted * unlift(simd);
    let two = splat::<V>(simd, 2.0);
    let m = where_positive(simd, x, h + h, h + two);
    let q = h.mul_add(
        m,
        where_positive(simd, x, h.mul_add(two, splat(simd, 1.0)), two),
    );
    MishParts { a, lifted, h, m, q }
}

impl Pointwise for Mish {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        let MishParts {
            a, lifted, m, q, ..
        } = mish_parts(simd, x);
        rectified_less(simd, x, a * lifted * m / q)
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let MishParts { a, lifted, h, m, q } = mish_parts(simd, x);
        let one = splat::<V>(simd, 1.0);
        let s = where_positive(simd, x, h, one);
        let correction = a * splat(simd, -4.0) * (one + h) * s;
        reflected(simd, dout, x, lifted * m.mul_add(q, correction) / (q * q))
    }
}
