//! Errors in units in the last place: float32 against the standard library's float64 functions.

use super::Math;
use crate::simd::{Arithmetic, Element, Isa, Kernel, Simd, Vector};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Exp,
    ExpNonpositive,
    Expm1,
    Expm1Nonpositive,
    Log,
    Log1p,
    Log1pUnit,
    Tanh,
    Sigmoid,
    Erf,
}
use Function::*;

const ALL: [Function; 10] = [
    Exp,
    ExpNonpositive,
    Expm1,
    Expm1Nonpositive,
    Log,
    Log1p,
    Log1pUnit,
    Tanh,
    Sigmoid,
    Erf,
];

impl Function {
    #[inline(always)]
    fn at<V: Vector>(self, simd: V::Simd, x: V) -> V {
        match self {
            Exp => x.exp(simd),
            ExpNonpositive => x.exp_nonpositive(simd),
            Expm1 => x.expm1(simd),
            Expm1Nonpositive => x.expm1_nonpositive(simd),
            Log => x.log(simd),
            Log1p => x.log1p(simd),
            Log1pUnit => x.log1p_unit(simd),
            Tanh => x.tanh(simd),
            Sigmoid => x.sigmoid(simd),
            Erf => x.erf(simd),
        }
    }

    /// In float64, from the standard library; for erf our own, which is checked against stored values.
    fn reference(self, x: &[f32]) -> Vec<f64> {
        let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let each = |function: fn(f64) -> f64| x.iter().map(|&x| function(x)).collect();
        match self {
            Exp | ExpNonpositive => each(f64::exp),
            Expm1 | Expm1Nonpositive => each(f64::exp_m1),
            Log => each(f64::ln),
            Log1p | Log1pUnit => each(f64::ln_1p),
            Tanh => each(f64::tanh),
            Sigmoid => each(|x| {
                if x < 0.0 {
                    x.exp() / (1.0 + x.exp())
                } else {
                    1.0 / (1.0 + (-x).exp())
                }
            }),
            Erf => {
                let mut out = vec![0.0; x.len()];
                Isa::best().run(Evaluate(Erf, &x, &mut out));
                out
            }
        }
    }

    fn takes(self, x: f64) -> bool {
        match self {
            ExpNonpositive | Expm1Nonpositive => x <= 0.0 || x.is_nan(),
            Log1pUnit => (0.0..=1.0).contains(&x) || x.is_nan(),
            _ => true,
        }
    }

    /// The function for all numbers, where this one is for some of them.
    fn whole(self) -> Self {
        match self {
            ExpNonpositive => Exp,
            Expm1Nonpositive => Expm1,
            Log1pUnit => Log1p,
            other => other,
        }
    }

    /// Whether −0 gives −0.
    fn is_odd_at_zero(self) -> bool {
        !matches!(
            self,
            Exp | ExpNonpositive | Log | Expm1Nonpositive | Log1pUnit | Sigmoid
        )
    }
}

struct Evaluate<'a, T>(Function, &'a [T], &'a mut [T]);

impl<T: Element> Kernel for Evaluate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let lanes = T::Vector::<S>::LANES;
        for (x, out) in self.1.chunks(lanes).zip(self.2.chunks_mut(lanes)) {
            let x = T::Vector::<S>::load_tail(simd, x);
            self.0.at(simd, x).store_tail(out);
        }
    }
}

fn same<T: Element>(a: T, b: T) -> bool {
    a.to_bits() == b.to_bits() || (a.to_f64().is_nan() && b.to_f64().is_nan())
}

/// |got − want| in float32's units in the last place of `want`; a result beyond the largest number counts as 2¹²⁸.
fn ulps(got: f32, want: f64) -> f64 {
    if want.is_nan() || got.is_nan() {
        return if want.is_nan() && got.is_nan() {
            0.0
        } else {
            f64::INFINITY
        };
    }
    let value = if got.is_infinite() {
        2f64.powi(128).copysign(f64::from(got))
    } else {
        f64::from(got)
    };
    if want.abs() >= 2f64.powi(128) && want.signum() == value.signum() && got.is_infinite() {
        return 0.0;
    }
    let exponent = ((want.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(-126);
    (value - want).abs() / 2f64.powi(exponent - 23)
}

/// The largest error of a function over the bit patterns 0, step, 2·step, …, and where. All instruction sets agree on
/// one block of patterns in `spacing`.
fn worst_float32(function: Function, step: u64, spacing: u64) -> (f64, f32) {
    const BLOCK: u64 = 1 << 14;
    let mut worst = (0.0, 0.0);
    let count = (1u64 << 32).div_ceil(step);
    for at in 0..count.div_ceil(BLOCK) {
        let x: Vec<f32> = (at * BLOCK..count.min((at + 1) * BLOCK))
            .map(|index| f32::from_bits((index * step) as u32))
            .collect();
        let x: Vec<f32> = x
            .into_iter()
            .filter(|&x| function.takes(f64::from(x)))
            .collect();
        let mut first = vec![0.0; x.len()];
        let isas = if at.is_multiple_of(spacing) {
            Isa::tested()
        } else {
            vec![Isa::best()]
        };
        for (index, isa) in isas.into_iter().enumerate() {
            let mut out = vec![0.0; x.len()];
            isa.run(Evaluate(function, &x, &mut out));
            if index == 0 {
                first = out;
                continue;
            }
            for i in 0..x.len() {
                assert!(
                    same(out[i], first[i]),
                    "{function:?}({:e}) on {isa:?}: {:e} not {:e}",
                    x[i],
                    out[i],
                    first[i]
                );
            }
        }
        let mut whole = vec![0.0; x.len()];
        Isa::best().run(Evaluate(function.whole(), &x, &mut whole));
        for i in 0..x.len() {
            assert!(
                same(first[i], whole[i]) || x[i] == 0.0,
                "{function:?}({:e}) has its own bits",
                x[i]
            );
        }
        for ((&x, &out), want) in x.iter().zip(&first).zip(function.reference(&x)) {
            let error = ulps(out, want);
            if error > worst.0 {
                worst = (error, x);
            }
            if x == 0.0 && function.is_odd_at_zero() {
                assert_eq!(out.to_bits(), x.to_bits(), "{function:?}({x})");
            }
        }
    }
    worst
}

/// Prints the largest error that [`worst_float32`] finds, and fails above two units in the last place.
fn check(function: Function, step: u64, spacing: u64) {
    let (error, x) = worst_float32(function, step, spacing);
    println!("{function:?}: {error:.3} ulp at {x:e}");
    assert!(error <= 2.0, "{function:?}({x:e}) is {error} ulp off");
}

#[test]
fn float32_is_within_two_ulps_and_alike_on_every_instruction_set() {
    for function in ALL {
        // An odd step, so that the patterns differ in their last bits too.
        check(function, 1023, 1);
    }
}

struct OrZero<'a>(&'a [f32], &'a mut [[f32; 2]]);

impl Kernel for OrZero<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (&x, out) in self.0.iter().zip(self.1) {
            let x = S::F32::splat(simd, x);
            let results = [x.exp_nonpositive(simd), x.exp_nonpositive_or_zero(simd)];
            for (result, out) in results.into_iter().zip(out) {
                let mut lanes = [0.0; 16];
                result.store_slice(&mut lanes);
                *out = lanes[0];
            }
        }
    }
}

#[test]
fn exponentials_are_never_subnormal_where_zero_will_do() {
    let x: Vec<f32> = (0..=120_000)
        .map(|i| i as f32 * -1e-3)
        .chain([f32::NAN, f32::NEG_INFINITY])
        .collect();
    for isa in Isa::tested() {
        let mut out = vec![[0.0; 2]; x.len()];
        isa.run(OrZero(&x, &mut out));
        for (x, [whole, or_zero]) in x.iter().zip(out) {
            let want = if whole.is_subnormal() { 0.0 } else { whole };
            assert!(same(or_zero, want), "{x}: {or_zero:e}, not {want:e}");
        }
    }
}

#[cfg(feature = "exhaustive")]
mod every_float32 {
    use super::*;

    macro_rules! within_two_ulps {
        ($($name:ident $function:ident,)*) => {
            $(
                #[test]
                fn $name() {
                    check($function, 1, 16);
                }
            )*
        };
    }
    within_two_ulps! {
        exp Exp,
        exp_nonpositive ExpNonpositive,
        expm1 Expm1,
        expm1_nonpositive Expm1Nonpositive,
        log Log,
        log1p Log1p,
        log1p_unit Log1pUnit,
        tanh Tanh,
        sigmoid Sigmoid,
        erf Erf,
    }
}

/// The rows of `tests/reference/math.txt` for a function: x, the nearest float64 to f(x), and the rest in thousandths
/// of an ulp.
fn stored(function: Function) -> Vec<(f64, f64, f64)> {
    let name = format!("{:?}", function.whole()).to_lowercase();
    let text = include_str!("../../tests/reference/math.txt");
    let number = |digits: &str| f64::from_bits(u64::from_str_radix(digits, 16).unwrap());
    text.lines()
        .skip_while(|line| *line != name)
        .skip(1)
        .take_while(|line| line.contains(' '))
        .map(|line| {
            let parts: Vec<&str> = line.split(' ').collect();
            (
                number(parts[0]),
                number(parts[1]),
                parts[2].parse().unwrap(),
            )
        })
        .filter(|row| function.takes(row.0))
        .collect()
}

#[test]
fn float64_is_within_four_ulps_and_alike_on_every_instruction_set() {
    for function in ALL {
        let rows = stored(function);
        assert!(rows.len() > 100, "{function:?}");
        let x: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let mut first = vec![0.0; x.len()];
        Isa::tested()[0].run(Evaluate(function, &x, &mut first));
        for isa in Isa::tested() {
            let mut out = vec![0.0; x.len()];
            isa.run(Evaluate(function, &x, &mut out));
            for i in 0..x.len() {
                assert!(
                    same(out[i], first[i]),
                    "{function:?}({:e}) on {isa:?}: {:e} not {:e}",
                    x[i],
                    out[i],
                    first[i]
                );
            }
        }
        let mut worst = (0.0, 0.0);
        for (&(x, nearest, rest), &out) in rows.iter().zip(&first) {
            let exponent = ((nearest.to_bits() >> 52 & 0x7ff) as i32).max(1);
            let unit = f64::from_bits(1 + ((exponent as u64) << 52))
                - f64::from_bits((exponent as u64) << 52);
            let error = ((out - nearest) / unit - rest / 1000.0).abs();
            if error.is_nan() || error > worst.0 {
                worst = (error, x);
            }
        }
        println!("{function:?}: {:.3} ulp at {:e}", worst.0, worst.1);
        assert!(
            worst.0 <= 4.0,
            "{function:?}({:e}) is {} ulp off",
            worst.1,
            worst.0
        );
    }
}

#[test]
fn float64_at_the_edges() {
    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;
    let edges: [(Function, &[(f64, f64)]); 10] = [
        (
            Exp,
            &[
                (-INF, 0.0),
                (-746.0, 0.0),
                (-0.0, 1.0),
                (0.0, 1.0),
                (709.79, INF),
                (INF, INF),
            ],
        ),
        (
            ExpNonpositive,
            &[(-INF, 0.0), (-1e308, 0.0), (-0.0, 1.0), (0.0, 1.0)],
        ),
        (
            Expm1,
            &[
                (-INF, -1.0),
                (-0.0, -0.0),
                (0.0, 0.0),
                (709.79, INF),
                (INF, INF),
            ],
        ),
        (Expm1Nonpositive, &[(-INF, -1.0), (0.0, 0.0)]),
        (
            Log,
            &[
                (-INF, NAN),
                (-5e-324, NAN),
                (-0.0, -INF),
                (0.0, -INF),
                (1.0, 0.0),
                (INF, INF),
            ],
        ),
        (
            Log1p,
            &[
                (-INF, NAN),
                (-1.5, NAN),
                (-1.0, -INF),
                (-0.0, -0.0),
                (0.0, 0.0),
                (INF, INF),
            ],
        ),
        (Log1pUnit, &[(0.0, 0.0), (1.0, std::f64::consts::LN_2)]),
        (
            Tanh,
            &[
                (-INF, -1.0),
                (-0.0, -0.0),
                (0.0, 0.0),
                (1e300, 1.0),
                (INF, 1.0),
            ],
        ),
        (
            Sigmoid,
            &[
                (-INF, 0.0),
                (-0.0, 0.5),
                (0.0, 0.5),
                (1e300, 1.0),
                (INF, 1.0),
            ],
        ),
        (
            Erf,
            &[
                (-INF, -1.0),
                (-0.0, -0.0),
                (0.0, 0.0),
                (1e300, 1.0),
                (INF, 1.0),
            ],
        ),
    ];
    for (function, cases) in edges {
        for isa in Isa::tested() {
            for &(x, want) in cases.iter().chain(&[(NAN, NAN), (-NAN, NAN)]) {
                let mut out = [0.0];
                isa.run(Evaluate(function, &[x], &mut out));
                assert!(
                    same(out[0], want),
                    "{function:?}({x:e}) on {isa:?}: {:e} not {want:e}",
                    out[0]
                );
                let mut out = [0.0];
                isa.run(Evaluate(function, &[x as f32], &mut out));
                let alike = same(out[0], want as f32) || x.abs() == 5e-324 || x == 709.79;
                assert!(
                    alike,
                    "{function:?}({x:e}) on {isa:?}: {:e} not {want:e} in float32",
                    out[0]
                );
            }
        }
    }
}
