//! exp, expm1, log, log1p, tanh, sigmoid and erf of vectors.
//!
//! Every function is one fixed sequence of IEEE operations, so its bits do not depend on the instruction set. The
//! polynomials are our own (`tests/mpmath/polynomials.py`). ±0 keeps its sign where the function is odd there,
//! subnormal numbers and results are kept, NaN gives NaN. The errors stated are the largest found, in units in the last
//! place (ulp) of the exact result: for float32 over all 2³² bit patterns, for float64 over some millions of random
//! numbers against quadruple precision.
//!
//! ```
//! use _core::math::Math;
//! use _core::simd::{Isa, Kernel, Simd, Vector};
//!
//! struct Exp<'a>(&'a mut [f32]);
//! impl Kernel for Exp<'_> {
//!     type Output = ();
//!     #[inline(always)]
//!     fn run<S: Simd>(self, simd: S) {
//!         for part in self.0.chunks_mut(S::F32::LANES) {
//!             S::F32::load_tail(simd, part).exp(simd).store_tail(part);
//!         }
//!     }
//! }
//! let mut values = [0.0, 1.0, f32::NEG_INFINITY];
//! Isa::best().run(Exp(&mut values));
//! assert_eq!(values, [1.0, std::f32::consts::E, 0.0]);
//! ```

mod coefficients;
mod erf;
mod exp;
mod log;
mod normal;
mod tanh;
#[cfg(test)]
mod tests;

use crate::simd::{Arithmetic, Element};
pub(crate) use exp::{exp_lifted, lift};
pub(crate) use normal::normal_tail;

/// Functions of float32 and float64 vectors.
pub trait Math: Arithmetic {
    /// eˣ.
    ///
    /// Error: 0.91 ulp in float32, 0.89 in float64.
    #[inline(always)]
    fn exp(self, simd: Self::Simd) -> Self {
        exp::exp(simd, self)
    }

    /// eˣ for x ≤ 0 (or NaN), with the bits of [`Math::exp`] and fewer instructions.
    ///
    /// For x > 0 the result has no meaning.
    #[inline(always)]
    fn exp_nonpositive(self, simd: Self::Simd) -> Self {
        exp::exp_nonpositive(simd, self)
    }

    /// [`Math::exp_nonpositive`], but zero where that is subnormal: a result that is takes a hundred cycles more, and so may
    /// all that is computed from it.
    #[inline(always)]
    fn exp_nonpositive_or_zero(self, simd: Self::Simd) -> Self {
        exp::exp_nonpositive_or_zero(simd, self)
    }

    /// eˣ − 1.
    ///
    /// Error: 1.53 ulp in float32, 1.99 in float64.
    #[inline(always)]
    fn expm1(self, simd: Self::Simd) -> Self {
        exp::expm1(simd, self)
    }

    /// eˣ − 1 for x ≤ 0 (or NaN), with the bits of [`Math::expm1`], except that −0 gives +0.
    ///
    /// For x > 0 the result has no meaning.
    #[inline(always)]
    fn expm1_nonpositive(self, simd: Self::Simd) -> Self {
        exp::expm1_nonpositive(simd, self)
    }

    /// The natural logarithm: −∞ at ±0, NaN below.
    ///
    /// Error: 0.89 ulp in float32, 0.85 in float64.
    #[inline(always)]
    fn log(self, simd: Self::Simd) -> Self {
        log::log(simd, self)
    }

    /// log(1 + x): −∞ at −1, NaN below.
    ///
    /// Error: 1.47 ulp in float32, 0.86 in float64.
    #[inline(always)]
    fn log1p(self, simd: Self::Simd) -> Self {
        log::log1p(simd, self)
    }

    /// log(1 + x) for 0 ≤ x ≤ 1 (or NaN), with the bits of [`Math::log1p`] and fewer instructions.
    ///
    /// For other x the result has no meaning.
    #[inline(always)]
    fn log1p_unit(self, simd: Self::Simd) -> Self {
        log::log1p_unit(simd, self)
    }

    /// The hyperbolic tangent.
    ///
    /// Error: 1.45 ulp in float32, 1.56 in float64.
    #[inline(always)]
    fn tanh(self, simd: Self::Simd) -> Self {
        tanh::tanh(simd, self)
    }

    /// 1/(1 + e⁻ˣ).
    ///
    /// Error: 1.65 ulp in float32, 1.61 in float64.
    #[inline(always)]
    fn sigmoid(self, simd: Self::Simd) -> Self {
        tanh::sigmoid(simd, self)
    }

    /// 2/√π · ∫₀ˣ exp(−t²) dt.
    ///
    /// Error: 1.43 ulp in float32, 1.46 in float64.
    #[inline(always)]
    fn erf(self, simd: Self::Simd) -> Self {
        erf::erf(simd, self)
    }
}

impl<V: Arithmetic> Math for V {}

/// Whether the elements are float32; known when compiling, so that the other branch vanishes.
#[inline(always)]
const fn is_float32<V: Arithmetic>() -> bool {
    size_of::<V::Element>() == 4
}

#[inline(always)]
pub(crate) fn splat<V: Arithmetic>(simd: V::Simd, value: f64) -> V {
    V::splat(simd, V::Element::from_f64(value))
}

/// The element with this bit pattern, which must not be a NaN's.
#[inline(always)]
fn splat_pattern<V: Arithmetic>(simd: V::Simd, float32: u32, float64: u64) -> V {
    if is_float32::<V>() {
        splat(simd, f64::from(f32::from_bits(float32)))
    } else {
        splat(simd, f64::from_bits(float64))
    }
}

/// The bit pattern moved up by the mantissa's width: an integer becomes an exponent.
#[inline(always)]
fn into_exponent<V: Arithmetic>(x: V) -> V {
    if is_float32::<V>() {
        x.bit_shl::<23>()
    } else {
        x.bit_shl::<52>()
    }
}

/// The bit pattern moved down by the mantissa's width: a biased exponent becomes an integer.
#[inline(always)]
fn from_exponent<V: Arithmetic>(x: V) -> V {
    if is_float32::<V>() {
        x.bit_shr::<23>()
    } else {
        x.bit_shr::<52>()
    }
}

/// c₀ + c₁x + c₂x² + …, by Horner's rule.
#[inline(always)]
fn polynomial<V: Arithmetic, const N: usize>(simd: V::Simd, x: V, coefficients: [f64; N]) -> V {
    horner(
        simd,
        x,
        splat(simd, coefficients[N - 1]),
        &coefficients[..N - 1],
    )
}

/// As [`polynomial`], with the next higher power besides, whose coefficient is 1.
#[inline(always)]
fn monic<V: Arithmetic, const N: usize>(simd: V::Simd, x: V, coefficients: [f64; N]) -> V {
    let sum = x + splat(simd, coefficients[N - 1]);
    horner(simd, x, sum, &coefficients[..N - 1])
}

#[inline(always)]
fn horner<V: Arithmetic>(simd: V::Simd, x: V, mut sum: V, lower: &[f64]) -> V {
    for &coefficient in lower.iter().rev() {
        sum = sum.mul_add(x, splat(simd, coefficient));
    }
    sum
}
