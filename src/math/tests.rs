//! Errors in units in the last place: float32 against the standard library's float64 functions.

use super::Math;
use crate::simd::{Element, Isa, Kernel, Simd, Vector};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Exp,
    ExpNonpositive,
    Expm1,
    Expm1Nonpositive,
    Log,
    Log1p,
    Tanh,
    Sigmoid,
    Erf,
}
use Function::*;

const ALL: [Function; 9] = [
    Exp,
    ExpNonpositive,
    Expm1,
    Expm1Nonpositive,
    Log,
    Log1p,
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
            Log1p => each(f64::ln_1p),
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
        !matches!(self, ExpNonpositive | Expm1Nonpositive) || !(x > 0.0)
    }

    /// Whether −0 gives −0.
    fn is_odd_at_zero(self) -> bool {
        !matches!(
            self,
            Exp | ExpNonpositive | Log | Expm1Nonpositive | Sigmoid
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
    a.to_bits() == b.to_bits() || (a != a && b != b)
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

/// The largest error of a function over the bit patterns start, start + step, …, and where; all instruction sets agree.
fn worst_float32(function: Function, start: u64, end: u64, step: usize) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    let patterns: Vec<u64> = (start..end).step_by(step).collect();
    for block in patterns.chunks(1 << 14) {
        let x: Vec<f32> = block
            .iter()
            .map(|&bits| f32::from_bits(bits as u32))
            .collect();
        let x: Vec<f32> = x
            .into_iter()
            .filter(|&x| function.takes(f64::from(x)))
            .collect();
        let mut first = vec![0.0; x.len()];
        for (index, isa) in Isa::tested().into_iter().enumerate() {
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

#[test]
fn float32_is_within_two_ulps_and_alike_on_every_instruction_set() {
    for function in ALL {
        let (error, x) = worst_float32(function, 0, 1 << 32, 1024);
        println!("{function:?}: {error:.3} ulp at {x:e}");
        assert!(error <= 2.0, "{function:?}({x:e}) is {error} ulp off");
    }
}

#[cfg(feature = "exhaustive")]
#[test]
fn every_float32_is_within_two_ulps() {
    for function in ALL {
        let part = |index: u64| worst_float32(function, index << 30, (index + 1) << 30, 1);
        let (error, x) = std::thread::scope(|scope| {
            let parts: Vec<_> = (0..4)
                .map(|index| scope.spawn(move || part(index)))
                .collect();
            let worst = parts.into_iter().map(|part| part.join().unwrap());
            worst.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
        });
        println!("{function:?}: {error:.3} ulp at {x:e}");
        assert!(error <= 2.0, "{function:?}({x:e}) is {error} ulp off");
    }
}
