//! log and log1p: x = 2ᵏ·(1 + f) with √½ ≤ 1 + f < √2, log x = k·ln 2 + log(1 + f).

use super::coefficients::{LOG_F32, LOG_RATIO_F64};
use super::exp::ln2;
use super::{from_exponent, into_exponent, is_float32, polynomial, splat, splat_pattern};
use crate::simd::Arithmetic;

/// k + the exponent's bias, as an integer in the lowest bits, and 1 + f, of a positive normal number.
#[inline(always)]
fn decompose<V: Arithmetic>(simd: V::Simd, x: V) -> (V, V) {
    // 1 and √½ as integers: their difference carries into the exponent from √2 upward.
    let half_root = splat_pattern::<V>(simd, 0x3f35_04f3, 0x3fe6_a09e_667f_3bcd);
    let gap = splat_pattern::<V>(simd, 0x004a_fb0d, 0x0009_5f61_9980_c433);
    let shifted = x.bit_add(gap);
    let mantissa = shifted.bit_and(splat_pattern(simd, 0x007f_ffff, 0x000f_ffff_ffff_ffff));
    (from_exponent(shifted), mantissa.bit_add(half_root))
}

/// The number whose lowest bits hold an integer below 2²³ (float32) or 2⁵² (float64), less `offset`.
#[inline(always)]
fn to_float<V: Arithmetic>(simd: V::Simd, integer: V, offset: V) -> V {
    let carrier = if is_float32::<V>() {
        2f64.powi(23)
    } else {
        2f64.powi(52)
    };
    integer.bit_or(splat(simd, carrier)) - (offset + splat(simd, carrier))
}

/// k·ln 2 + log(1 + f).
#[inline(always)]
fn log_reduced<V: Arithmetic>(simd: V::Simd, k: V, f: V) -> V {
    let half = splat::<V>(simd, 0.5);
    let [ln2_high, ln2_low] = ln2::<V>(simd);
    if is_float32::<V>() {
        let low = k * ln2_low;
        let low = (f * f).mul_add(polynomial(simd, f, LOG_F32).mul_add(f, -half), low);
        k.mul_add(ln2_high, f + low)
    } else {
        let s = f / (f + splat(simd, 2.0));
        let z = s * s;
        let h = half * f * f;
        let low = k.mul_add(ln2_low, -h);
        let low = s.mul_add(z.mul_add(polynomial(simd, z, LOG_RATIO_F64), h), low);
        k.mul_add(ln2_high, f + low)
    }
}

/// `log`, the logarithm of x > 0, completed: itself where x is ∞ or NaN, −∞ at 0, NaN below.
#[inline(always)]
fn with_edges<V: Arithmetic>(simd: V::Simd, x: V, log: V) -> V {
    let infinity = splat::<V>(simd, f64::INFINITY);
    let zero = V::zero(simd);
    let edge = V::select(x.eq(zero), -infinity, splat(simd, f64::NAN));
    let edge = V::select(x.eq(infinity), x, edge);
    V::select(zero.lt(x) & x.lt(infinity), log, edge)
}

#[inline(always)]
pub(super) fn log<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let (least, lift, bias) = if is_float32::<V>() {
        (2f64.powi(-126), 32, 127.0)
    } else {
        (2f64.powi(-1022), 64, 1023.0)
    };
    let subnormal = x.lt(splat(simd, least));
    let lifted = V::select(subnormal, x * splat(simd, 2f64.powi(lift)), x);
    let offset = V::select(
        subnormal,
        splat(simd, bias + f64::from(lift)),
        splat(simd, bias),
    );
    let (k, one_plus_f) = decompose(simd, lifted);
    let k = to_float(simd, k, offset);
    with_edges(simd, x, log_reduced(simd, k, one_plus_f - splat(simd, 1.0)))
}

#[inline(always)]
pub(super) fn log1p<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let (bias, tiny) = if is_float32::<V>() {
        (127.0, 2f64.powi(-25))
    } else {
        (1023.0, 2f64.powi(-54))
    };
    let one = splat::<V>(simd, 1.0);
    let quarter = splat::<V>(simd, 0.25);
    // 1 + x only chooses k; f = 2⁻ᵏ·x + (2⁻ᵏ − 1) is then rounded once. 2²⁻ᵏ never is subnormal, as 2⁻ᵏ may be.
    let (k, _) = decompose(simd, one + x);
    let power = into_exponent(splat_pattern::<V>(simd, 256, 2048).bit_sub(k));
    let f = (x * quarter).mul_add(power, power.mul_add(quarter, -one));
    let k = to_float(simd, k, splat(simd, bias));
    let log = with_edges(simd, one + x, log_reduced(simd, k, f));
    V::select(x.abs().lt(splat(simd, tiny)), x, log)
}

#[inline(always)]
pub(super) fn log1p_unit<V: Arithmetic>(simd: V::Simd, x: V) -> V {
    let zero = V::zero(simd);
    let one = splat::<V>(simd, 1.0);
    let half = splat::<V>(simd, 0.5);
    // The least number with k = 1, as `decompose` finds it.
    let root = splat_pattern(simd, 0x3fb5_04f3, 0x3ff6_a09e_667f_3bcd);
    let large = (one + x).ge(root);
    let k = V::select(large, one, zero);
    log_reduced(simd, k, V::select(large, x.mul_add(half, -half), x))
}
