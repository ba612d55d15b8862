//! Values and derivatives against scalar float64 formulas that share nothing with the vector functions.

use super::*;
use crate::simd::Isa;
use std::f64::consts::{FRAC_2_SQRT_PI, PI};

const ALL: [Activation; 16] = [
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
    if a < 1.5 {
        let (mut term, mut sum) = (a, a);
        for k in 1..40 {
            term *= a * a / f64::from(2 * k + 1);
            sum += term;
        }
        return 0.5 - normal_density(a) * sum;
    }
    let fraction = (1..400).rev().fold(a, |rest, k| a + f64::from(k) / rest);
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

fn value(activation: Activation, x: f64) -> f64 {
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

fn derivative(activation: Activation, x: f64) -> f64 {
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

fn assert_same<T: Element>(a: &[T], b: &[T], what: &str) {
    for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
        assert!(
            a.to_bits() == b.to_bits() || (a != a && b != b),
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
        if !(error <= worst.0) {
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
    check_values::<f64>(60.0);
}
