//! Clipping, seen in what a step of plain gradient descent subtracts.

use super::model::{Training, batch, converted, loss, read, words};
use super::plain::{Numbers, Part, Plain, linear};
use crate::activation::Activation::Relu;
use crate::gemm::pack::Source;
use crate::network::{Batch, Options, Targets};
use crate::optim::{Group, Kind};
use crate::simd::{Element, Isa};
use Part::Act;

const ROWS: usize = 40;

fn network() -> Plain {
    Plain::new(6, &[linear(20), Act(Relu), linear(4)], 1)
}

fn options(norm: Option<f64>, value: Option<f64>) -> Options {
    Options {
        clip_norm: norm,
        clip_value: value,
        keep_grad: false,
    }
}

/// The gradient, and what one step of learning rate 1 took off the parameters.
fn step<T: Element>(isa: Isa, options: Options, data: &Batch<'_, T>) -> (Vec<f64>, Vec<f64>) {
    let plain = network();
    let (kind, group) = (Kind::Sgd, Group::new(1.0));
    let mut run = Training::<T>::with_options(isa, &plain, &loss("mse"), kind, group, options);
    run.gradients(data).unwrap();
    let gradient = run.model.gradient().iter().map(|g| g.to_f64()).collect();
    run.step(data).unwrap();
    let after = read(&run.model.parameters);
    let taken = plain.parameters.iter().zip(&after);
    (gradient, taken.map(|(a, b)| a - b.to_f64()).collect())
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|g| g * g).sum::<f64>().sqrt()
}

fn check<T: Element>(isa: Isa, tolerance: f64) {
    let x = converted::<T>(&Numbers(2).many(ROWS * 6));
    let y = converted::<T>(&Numbers(3).many(ROWS * 4));
    let data = batch(&x, 6, Targets::Dense(Source::rows(&y, 4)));
    let (gradient, taken) = step(isa, options(None, None), &data);
    let whole = norm(&gradient);
    let close = |taken: &[f64], want: &dyn Fn(f64) -> f64, what: &str| {
        for (taken, g) in taken.iter().zip(&gradient) {
            let error = (taken - want(*g)).abs();
            assert!(error <= tolerance, "{isa:?}, {what}: {taken} of {g}");
        }
    };
    close(&taken, &|g| g, "as it is");
    // Beyond the norm, clipping changes no bit.
    let generous = step(isa, options(Some(whole * 1.001), Some(1e3)), &data);
    assert_eq!(words(&generous.1), words(&taken));
    let most = whole / 3.0;
    let scale = most / (whole + 1e-6);
    let (_, taken) = step(isa, options(Some(most), None), &data);
    close(&taken, &|g| g * scale, "by norm");
    assert!(norm(&taken) <= most * (1.0 + 1e-5) && norm(&taken) >= most * (1.0 - 1e-5));
    let limit = whole / 30.0;
    assert!(gradient.iter().any(|g| g.abs() > limit));
    let (_, taken) = step(isa, options(None, Some(limit)), &data);
    close(&taken, &|g| g.clamp(-limit, limit), "by value");
    // First by norm, then by value.
    let limit = limit / 4.0;
    let (_, taken) = step(isa, options(Some(most), Some(limit)), &data);
    close(&taken, &|g| (g * scale).clamp(-limit, limit), "by both");
}

#[test]
fn gradients_are_clipped_by_norm_and_by_value() {
    for isa in Isa::tested() {
        check::<f32>(isa, 3e-7);
        check::<f64>(isa, 1e-14);
    }
}

/// Squares of these overflow in float32; the norm is finite all the same.
#[test]
fn large_gradients_are_clipped() {
    let mut x = converted::<f32>(&Numbers(2).many(ROWS * 6));
    x[7] = 1e18;
    let y = converted::<f32>(&Numbers(3).many(ROWS * 4));
    let data = batch(&x, 6, Targets::Dense(Source::rows(&y, 4)));
    for isa in Isa::tested() {
        let (gradient, taken) = step(isa, options(Some(0.5), None), &data);
        assert!(norm(&gradient) > 1e20, "{}", norm(&gradient));
        assert!(
            (norm(&taken) - 0.5).abs() < 1e-6,
            "{isa:?}: {}",
            norm(&taken)
        );
    }
}
