//! Values and derivatives against scalar float64 formulas that share nothing with the vector functions.

use super::*;
use crate::simd::Isa;
use std::f64::consts::{FRAC_2_SQRT_PI, PI};

pub(crate) const ALL: [Activation; 16] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Step,
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::LeakyRelu {
        negative_slope: 0.01,
    },
    Activation::LeakyRelu {
        negative_slope: -0.5,
    },
    Activation::Elu { alpha: 1.0 },
    Activation::Elu { alpha: 0.7 },
    Activation::Selu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Mish,
    Activation::Softplus { beta: 1.0 },
    Activation::Softplus { beta: 2.5 },
];

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 {
        x.exp() / (1.0 + x.exp())
    } else {
        1.0 / (1.0 + (-x).exp())
    }
}

fn normal_density(x: f64) -> f64 {
    let low = x.mul_add(x, -(x * x));
    (-x * x / 2.0).exp() * (1.0 - low / 2.0) / (2.0 * PI).sqrt()
}

/// Φ: a power series near 0, the continued fraction of the tail elsewhere.
fn normal(x: f64) -> f64 {
    if x > 0.0 {
        return 1.0 - normal(-x);
    }
    let a = -x;
    if a < 1.0 {
        let (mut term, mut sum) = (a, a);
        for k in 1..40 {
            term *= a * a / f64::from(2 * k + 1);
            sum += term;
        }
        return 0.5 - normal_density(a) * sum;
    }
    let fraction = (1..1000).rev().fold(a, |rest, k| a + f64::from(k) / rest);
    normal_density(a) / fraction
}

/// The argument of the sigmoid in the approximate GELU, and its derivative.
fn gelu_argument(x: f64) -> (f64, f64) {
    let scale = FRAC_2_SQRT_PI * std::f64::consts::SQRT_2;
    (
        scale * (x + 0.044715 * x * x * x),
        scale * (1.0 + 3.0 * 0.044715 * x * x),
    )
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// f(x).
pub(crate) fn value(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::Step => {
            if x < 0.0 {
                0.0
            } else {
                1.0
            }
        }
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::LeakyRelu { negative_slope } => {
            if x < 0.0 {
                negative_slope * x
            } else {
                x
            }
        }
        Activation::Elu { alpha } => {
            if x < 0.0 {
                alpha * x.exp_m1()
            } else {
                x
            }
        }
        Activation::Selu => {
            1.0507009873554805
                * if x < 0.0 {
                    1.6732632423543772 * x.exp_m1()
                } else {
                    x
                }
        }
        Activation::Gelu => x * normal(x),
        Activation::GeluTanh => x * sigmoid(gelu_argument(x).0),
        Activation::Silu => x * sigmoid(x),
        Activation::Mish => x * softplus(x).tanh(),
        Activation::Softplus { beta } => softplus(beta * x) / beta,
    }
}

/// f′(x).
pub(crate) fn derivative(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        Activation::Relu => {
            if x > 0.0 {
                1.0
            } else {
                0.0
            }
        }
        Activation::Step => 0.0,
        Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
        Activation::Tanh => 4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x),
        Activation::LeakyRelu { negative_slope } => {
            if x > 0.0 {
                1.0
            } else {
                negative_slope
            }
        }
        Activation::Elu { alpha } => {
            if x > 0.0 {
                1.0
            } else {
                alpha * x.exp()
            }
        }
        Activation::Selu => {
            1.0507009873554805
                * if x > 0.0 {
                    1.0
                } else {
                    1.6732632423543772 * x.exp()
                }
        }
        Activation::Gelu => normal(x) + x * normal_density(x),
        Activation::GeluTanh => {
            let (z, slope) = gelu_argument(x);
            sigmoid(z) * (1.0 + x * sigmoid(-z) * slope)
        }
        Activation::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
        Activation::Mish => {
            let t = softplus(x).tanh();
            t + x * (1.0 - t * t) * sigmoid(x)
        }
        Activation::Softplus { beta } => sigmoid(beta * x),
    }
}

/// What the argument of an exponential is rounded by is multiplied by its size: units in the last place to allow
/// beside the function's own.
fn argument(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::GeluTanh => 4.0 * gelu_argument(x).0.abs().min(800.0),
        Activation::Softplus { beta } if beta != 1.0 => (beta * x).abs().min(800.0),
        _ => 0.0,
    }
}

/// The unit in the last place of T at a value.
fn unit<T: Element>(value: f64) -> f64 {
    let (least, digits) = if T::NAME == "float32" {
        (-126, 23)
    } else {
        (-1022, 52)
    };
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(least);
    2f64.powi(exponent) * 2f64.powi(-digits)
}

fn points<T: Element>() -> Vec<T> {
    let mut points = vec![0.0, -0.0, 1e-30, -1e-30, 200.0, -200.0, 1e30, -1e30];
    points.extend((0..20_000).map(|i| f64::from(i - 10_000) * 0.00211));
    points.extend((0..4_000).map(|i| f64::from(i - 2_000) * 0.0527));
    points.extend((0..4_000).map(|i| 1.001f64.powi(-i * 5) * if i % 2 == 0 { 1.0 } else { -1.0 }));
    points.into_iter().map(T::from_f64).collect()
}

fn run_forward<T: Element>(isa: Isa, activation: Activation, x: &[T]) -> Vec<T> {
    let mut out = vec![T::ONE; x.len()];
    isa.run(Forward {
        activation,
        x,
        out: &mut out,
    });
    out
}

fn run_backward<T: Element>(isa: Isa, activation: Activation, dout: &[T], x: &[T]) -> Vec<T> {
    let mut out = vec![T::ONE; x.len()];
    isa.run(Backward {
        activation,
        dout,
        x,
        out: &mut out,
    });
    out
}

fn is_nan<T: Element>(x: T) -> bool {
    x.to_f64().is_nan()
}

fn assert_same<T: Element>(a: &[T], b: &[T], what: &str) {
    for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
        assert!(
            a.to_bits() == b.to_bits() || (is_nan(a) && is_nan(b)),
            "{what} [{i}]: {a} and {b}"
        );
    }
}

/// The largest error in units in the last place beyond `argument`, and where. Near the zero of a derivative the unit is
/// that of the terms whose difference it is.
fn worst<T: Element>(
    got: &[T],
    x: &[T],
    activation: Activation,
    exact: fn(Activation, f64) -> f64,
) -> (f64, f64) {
    let crosses = matches!(
        activation,
        Activation::Gelu | Activation::GeluTanh | Activation::Silu | Activation::Mish
    );
    let mut worst = (0.0, 0.0);
    for (got, x) in got.iter().zip(x) {
        let (x, want) = (x.to_f64(), exact(activation, x.to_f64()));
        if want.abs() >= 3e38 {
            continue;
        }
        let size = if crosses && x < 0.0 && x > -3.0 {
            want.abs().max(0.1)
        } else {
            want
        };
        let error = (got.to_f64() - want).abs() / unit::<T>(size) - argument(activation, x);
        if error.is_nan() || error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

fn check_values<T: Element>(bound: f64) {
    let x = points::<T>();
    let dout: Vec<T> = vec![T::ONE; x.len()];
    for activation in ALL {
        let first = run_forward(Isa::tested()[0], activation, &x);
        let first_back = run_backward(Isa::tested()[0], activation, &dout, &x);
        for isa in Isa::tested() {
            assert_same(
                &first,
                &run_forward(isa, activation, &x),
                &format!("{activation:?} on {isa:?}"),
            );
            let back = run_backward(isa, activation, &dout, &x);
            assert_same(
                &first_back,
                &back,
                &format!("{activation:?} backward on {isa:?}"),
            );
        }
        let (value_error, at) = worst(&first, &x, activation, value);
        let (slope_error, slope_at) = worst(&first_back, &x, activation, derivative);
        println!(
            "{} {activation:?}: {value_error:.2} ulp at {at:e}, derivative {slope_error:.2} ulp at {slope_at:e}",
            T::NAME
        );
        assert!(
            value_error <= bound,
            "{activation:?} is {value_error} ulp off at {at}"
        );
        assert!(
            slope_error <= bound,
            "{activation:?} backward is {slope_error} ulp off at {slope_at}"
        );
    }
}

#[test]
fn float32_values_and_derivatives_agree_with_scalar_formulas() {
    check_values::<f32>(8.0);
}

#[test]
fn float64_values_and_derivatives_agree_with_scalar_formulas() {
    check_values::<f64>(24.0);
}

/// [`forward_in_place`] and [`backward_in_place`] as kernels.
struct InPlace<'a, T>(Activation, &'a mut [T], Option<&'a [T]>);

impl<T: Element> Kernel for InPlace<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.2 {
            None => forward_in_place(simd, self.0, self.1),
            Some(kept) => backward_in_place(simd, self.0, self.1, kept),
        }
    }
}

/// A value's result depends neither on its place nor on the length; nothing beyond the slice is touched.
fn check_lengths<T: Element>() {
    let x: Vec<T> = (0..2_100)
        .map(|i| T::from_f64((f64::from(i) * 0.7).sin() * 6.0))
        .collect();
    let dout: Vec<T> = (0..2_100)
        .map(|i| T::from_f64(f64::from(i % 13) - 6.0))
        .collect();
    for activation in ALL {
        for isa in Isa::tested() {
            let whole = run_forward(isa, activation, &x);
            let kept = if activation.keeps() == Keeps::Output {
                &whole
            } else {
                &x
            };
            let mut whole_back = dout.clone();
            isa.run(InPlace(activation, &mut whole_back, Some(kept)));
            for length in [
                0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 1023, 1024, 1025, 2049,
            ] {
                let start = length % 5;
                let range = start..start + length;
                let what = format!("{activation:?}, {length} elements on {isa:?}");
                assert_same(
                    &run_forward(isa, activation, &x[range.clone()]),
                    &whole[range.clone()],
                    &what,
                );
                let mut values = x.clone();
                isa.run(InPlace(activation, &mut values[range.clone()], None));
                assert_same(&values[range.clone()], &whole[range.clone()], &what);
                assert_same(&values[range.end..], &x[range.end..], &what);
                let mut back = dout.clone();
                isa.run(InPlace(
                    activation,
                    &mut back[range.clone()],
                    Some(&kept[range.clone()]),
                ));
                assert_same(&back[range.clone()], &whole_back[range.clone()], &what);
                assert_same(&back[range.end..], &dout[range.end..], &what);
            }
            let from_input = run_backward(isa, activation, &dout, &x);
            if activation.keeps() != Keeps::Output || activation == Activation::Relu {
                assert_same(
                    &from_input,
                    &whole_back,
                    &format!("{activation:?} from the input on {isa:?}"),
                );
            } else {
                // The output near 1 says less than the input.
                let tolerance = if T::NAME == "float32" { 4e-6 } else { 1e-14 };
                for (a, b) in from_input.iter().zip(&whole_back) {
                    assert!(
                        (a.to_f64() - b.to_f64()).abs() <= tolerance,
                        "{activation:?}: {a} and {b}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_length_and_place_gives_the_same_bits() {
    check_lengths::<f32>();
    check_lengths::<f64>();
}

fn check_edges<T: Element>() {
    let x = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0].map(T::from_f64);
    for isa in Isa::tested() {
        for activation in ALL {
            let out = run_forward(isa, activation, &x)
                .iter()
                .map(|v| v.to_f64())
                .collect::<Vec<_>>();
            assert!(out[0].is_nan(), "{activation:?} of NaN on {isa:?}");
            let infinite = match activation {
                Activation::Step | Activation::Sigmoid | Activation::Tanh => 1.0,
                _ => f64::INFINITY,
            };
            assert_eq!(out[1], infinite, "{activation:?} of ∞ on {isa:?}");
            let least = match activation {
                Activation::Identity
                | Activation::LeakyRelu {
                    negative_slope: 0.01,
                } => f64::NEG_INFINITY,
                Activation::LeakyRelu { .. } => f64::INFINITY,
                Activation::Tanh => -1.0,
                Activation::Elu { alpha } => T::from_f64(-alpha).to_f64(),
                Activation::Selu => T::from_f64(-1.7580993408473766).to_f64(),
                _ => 0.0,
            };
            assert_eq!(out[2], least, "{activation:?} of −∞ on {isa:?}");
            let at_zero = match activation {
                Activation::Step => 1.0,
                Activation::Sigmoid => 0.5,
                Activation::Softplus { beta } => T::from_f64(2f64.ln() / beta).to_f64(),
                _ => 0.0,
            };
            assert_eq!(&out[3..], [at_zero; 2], "{activation:?} of 0 on {isa:?}");

            let back = run_backward(isa, activation, &[T::ONE; 5], &x);
            let passes = !matches!(
                activation,
                Activation::Identity
                    | Activation::Step
                    | Activation::Relu
                    | Activation::LeakyRelu { .. }
            );
            assert_eq!(
                is_nan(back[0]),
                passes,
                "{activation:?} backward of NaN on {isa:?}"
            );
            assert!(
                !is_nan(back[1]) && !is_nan(back[2]),
                "{activation:?} backward of ±∞ on {isa:?}"
            );
            let dout = [T::from_f64(f64::NAN); 1];
            let hidden = matches!(activation, Activation::Relu | Activation::Step);
            let back = run_backward(isa, activation, &dout, &[T::from_f64(-1.0)]);
            assert_eq!(
                is_nan(back[0]),
                !hidden,
                "{activation:?} backward of a NaN gradient on {isa:?}"
            );
        }
        let zeros = run_forward(isa, Activation::Relu, &x[3..]);
        assert_same(&zeros, &[T::ZERO; 2], "relu of ±0 is +0");
    }
}

#[test]
fn nan_infinities_and_zeros() {
    check_edges::<f32>();
    check_edges::<f64>();
}

#[test]
fn names_are_those_that_are_parsed() {
    for name in Activation::names() {
        assert!(Activation::parse(name, 0.5).is_some(), "{name}");
    }
    assert_eq!(Activation::names().len(), 13);
    assert_eq!(
        Activation::parse("softplus", 2.0),
        Some(Activation::Softplus { beta: 2.0 })
    );
    assert_eq!(
        Activation::parse("leaky_relu", 0.1),
        Some(Activation::LeakyRelu {
            negative_slope: 0.1
        })
    );
    assert_eq!(Activation::parse("ReLU", 0.0), None);
}

#[test]
fn the_network_keeps_what_the_derivative_needs() {
    assert_eq!(Activation::Identity.keeps(), Keeps::Nothing);
    for activation in [Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
        assert_eq!(activation.keeps(), Keeps::Output);
    }
    assert_eq!(Activation::Gelu.keeps(), Keeps::Input);
}

#[test]
fn lengths_that_differ_are_refused_whatever_the_activation() {
    for activation in [Activation::Identity, Activation::Step, Activation::Tanh] {
        for (dout, x, out) in [(3, 4, 4), (4, 3, 4), (4, 4, 3)] {
            let refused = std::panic::catch_unwind(|| {
                Isa::best().run(Backward {
                    activation,
                    dout: &vec![1.0f32; dout],
                    x: &vec![1.0; x],
                    out: &mut vec![0.0; out],
                });
            });
            assert!(refused.is_err(), "{activation:?} {dout} {x} {out}");
        }
    }
}
