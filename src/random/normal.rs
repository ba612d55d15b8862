//! The inverse of the normal distribution function.
//!
//! Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37(3), 1988,
//! routine PPND16: rational functions of degree 7 with a relative error of about 1e-16.

use crate::math::Math;
use crate::simd::{Kernel, Mask, Simd, Vector};

/// |p − 1/2| up to here belongs to the central rational function.
const CENTRAL: f64 = 0.425;
/// √(−log p) up to here belongs to the middle one.
const MIDDLE: f64 = 5.0;

#[rustfmt::skip]
const CENTRAL_NUMERATOR: [f64; 8] = [
    3.387_132_872_796_366_6, 133.141_667_891_784_38, 1_971.590_950_306_551_3, 13_731.693_765_509_46,
    45_921.953_931_549_87, 67_265.770_927_008_7, 33_430.575_583_588_13, 2_509.080_928_730_122_7,
];
#[rustfmt::skip]
const CENTRAL_DENOMINATOR: [f64; 8] = [
    1.0, 42.313_330_701_600_91, 687.187_007_492_057_9, 5_394.196_021_424_751,
    21_213.794_301_586_597, 39_307.895_800_092_71, 28_729.085_735_721_943, 5_226.495_278_852_854,
];
#[rustfmt::skip]
const MIDDLE_NUMERATOR: [f64; 8] = [
    1.423_437_110_749_683_5, 4.630_337_846_156_546, 5.769_497_221_460_692, 3.647_848_324_763_204_5,
    1.270_458_252_452_368_4, 0.241_780_725_177_450_6, 0.022_723_844_989_269_184, 0.000_774_545_014_278_341_4,
];
#[rustfmt::skip]
const MIDDLE_DENOMINATOR: [f64; 8] = [
    1.0, 2.053_191_626_637_759, 1.676_384_830_183_803_8, 0.689_767_334_985_1,
    0.148_103_976_427_480_08, 0.015_198_666_563_616_457, 0.000_547_593_808_499_534_5, 1.050_750_071_644_416_9e-9,
];
#[rustfmt::skip]
const TAIL_NUMERATOR: [f64; 8] = [
    6.657_904_643_501_103, 5.463_784_911_164_114, 1.784_826_539_917_291_3, 0.296_560_571_828_504_87,
    0.026_532_189_526_576_123, 0.001_242_660_947_388_078_4, 2.711_555_568_743_487_6e-5, 2.010_334_399_292_288_1e-7,
];
#[rustfmt::skip]
const TAIL_DENOMINATOR: [f64; 8] = [
    1.0, 0.599_832_206_555_887_9, 0.136_929_880_922_735_8, 0.014_875_361_290_850_615,
    0.000_786_869_131_145_613_2, 1.846_318_317_510_054_8e-5, 1.421_511_758_316_446e-7, 2.044_263_103_389_939_8e-15,
];

#[inline(always)]
fn polynomial<V: Vector<Element = f64>>(simd: V::Simd, coefficients: &[f64; 8], x: V) -> V {
    let mut value = V::splat(simd, coefficients[7]);
    for degree in (0..7).rev() {
        value = value.mul_add(x, V::splat(simd, coefficients[degree]));
    }
    value
}

#[inline(always)]
fn ratio<V: Vector<Element = f64>>(
    simd: V::Simd,
    numerator: &[f64; 8],
    denominator: &[f64; 8],
    x: V,
) -> V {
    polynomial(simd, numerator, x) / polynomial(simd, denominator, x)
}

/// The z with P(Z < z) = p for a standard normal Z and p in (0, 1).
#[inline(always)]
fn quantile<V: Vector<Element = f64>>(simd: V::Simd, p: V) -> V {
    let half = V::splat(simd, 0.5);
    let from_half = p - half;
    let central = {
        let r = V::splat(simd, CENTRAL * CENTRAL) - from_half * from_half;
        from_half * ratio(simd, &CENTRAL_NUMERATOR, &CENTRAL_DENOMINATOR, r)
    };
    let in_tail = from_half.abs().gt(V::splat(simd, CENTRAL));
    if !in_tail.any() {
        return central;
    }
    let lower = from_half.lt(V::zero(simd));
    let tail = V::select(lower, p, V::splat(simd, 1.0) - p);
    let r = (-tail.log(simd)).sqrt();
    let middle = ratio(
        simd,
        &MIDDLE_NUMERATOR,
        &MIDDLE_DENOMINATOR,
        r - V::splat(simd, 1.6),
    );
    let far = ratio(
        simd,
        &TAIL_NUMERATOR,
        &TAIL_DENOMINATOR,
        r - V::splat(simd, MIDDLE),
    );
    let magnitude = V::select(r.le(V::splat(simd, MIDDLE)), middle, far);
    V::select(in_tail, V::select(lower, -magnitude, magnitude), central)
}

/// Replaces probabilities in (0, 1) by their quantiles. The length is a multiple of 8.
pub(super) struct Quantiles<'a>(pub &'a mut [f64]);

impl Kernel for Quantiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let chunks = self.0.chunks_exact_mut(S::F64::LANES);
        for chunk in chunks {
            quantile(simd, S::F64::load_slice(simd, chunk)).store_slice(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;

    /// Quantiles by mpmath at 40 digits: erfinv(2p − 1) · √2.
    #[rustfmt::skip]
    const STORED: [(f64, f64); 21] = [
        (1.1102230246251565e-16, -8.209536151601387),
        (1e-15, -7.941345326170997),
        (1e-12, -7.034483825301132),
        (1e-11, -6.706023155495136),
        (1e-09, -5.9978070150076865),
        (1e-06, -4.753424308822899),
        (0.0013, -3.0114537584997843),
        (0.02425, -1.972961051311885),
        (0.0749, -1.4402382675279637),
        (0.075, -1.439531470938456),
        (0.0751, -1.43882539275254),
        (0.25, -0.6744897501960817),
        (0.4999, -0.00025066283008800747),
        (0.5000000000000002, 5.565832849343534e-16),
        (0.75, 0.6744897501960817),
        (0.9, 1.2815515655446006),
        (0.925, 1.4395314709384561),
        (0.97725, 2.000002443899603),
        (0.999, 3.090232306167813),
        (0.9999990463256836, 4.7630010342678135),
        (0.9999999999999999, 8.209536151601387),
    ];

    #[test]
    fn quantiles_against_stored_values() {
        for isa in Isa::tested() {
            for (p, want) in STORED {
                let mut values = [p; 8];
                isa.run(Quantiles(&mut values));
                assert!(
                    (values[0] / want - 1.0).abs() < 4e-16 || values[0] == want,
                    "{p}: {} not {want}",
                    values[0]
                );
            }
        }
    }
}
