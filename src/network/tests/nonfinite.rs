//! A step whose loss is not finite writes nothing.

use super::model::{Training, batch, converted, loss};
use super::plain::{Numbers, Part, Plain, linear};
use super::steps::optimisers;
use crate::activation::Activation::Relu;
use crate::error::Error;
use crate::gemm::pack::Source;
use crate::network::{Options, Targets};
use crate::simd::{Element, Isa};
use Part::{Act, Dropout};

const ROWS: usize = 40;

fn clipped() -> Options {
    Options {
        clip_norm: Some(1.0),
        ..Options::default()
    }
}

fn network() -> Plain {
    Plain::new(6, &[linear(20), Act(Relu), Dropout(0.2), linear(4)], 1)
}

fn refused(outcome: Result<f64, Error>, start: &str) {
    match outcome {
        Err(Error::NonFinite(message)) => {
            let rest = ", not finite; nothing of this step was written. Try a lower learning rate, scaled features or clipping";
            assert_eq!(message, format!("{start}{rest}"));
        }
        other => panic!("{other:?}"),
    }
}

fn check<T: Element>(isa: Isa, options: Options) {
    let plain = network();
    let x = converted::<T>(&Numbers(2).many(ROWS * 6));
    let y = converted::<T>(&Numbers(3).many(ROWS * 4));
    let targets = Targets::Dense(Source::rows(&y, 4));
    let good = batch(&x, 6, targets);
    for (kind, group) in optimisers() {
        let new = || Training::<T>::with_options(isa, &plain, &loss("mse"), kind, group, options);
        let (mut run, mut undisturbed) = (new(), new());
        for steps in 0..3 {
            let before = run.reached();
            for (spoiler, message) in [(f64::NAN, "nan"), (f64::INFINITY, "")] {
                let mut spoiled = x.clone();
                spoiled[33 * 6 + 2] = T::from_f64(spoiler);
                let outcome = run.step(&batch(&spoiled, 6, targets));
                if message.is_empty() {
                    assert!(matches!(outcome, Err(Error::NonFinite(_))), "{outcome:?}");
                } else {
                    refused(outcome, "the loss is nan");
                }
                assert!(run.reached() == before, "{isa:?} {kind:?} at step {steps}");
            }
            let mut far = y.clone();
            far[5] = T::from_f64(f64::NEG_INFINITY);
            let outcome = run.step(&batch(&x, 6, Targets::Dense(Source::rows(&far, 4))));
            refused(outcome, "the loss is inf");
            assert!(run.reached() == before);
            // What comes after is as if nothing had been.
            run.step(&good).unwrap();
            undisturbed.step(&good).unwrap();
            assert!(run.reached() == undisturbed.reached());
        }
        assert_eq!(run.session.step, 3);
    }
}

#[test]
fn a_loss_that_is_not_finite_writes_nothing() {
    for isa in Isa::tested() {
        check::<f32>(isa, Options::default());
        check::<f64>(isa, clipped());
    }
}

/// A finite loss whose gradient overflows: seen where the norm is needed.
#[test]
fn a_norm_that_is_not_finite_writes_nothing() {
    let mut plain = Plain::new(1, &[linear(1)], 1);
    plain.parameters[..32].fill(0.0);
    plain.parameters[0] = 1e-10;
    let (x, y) = ([1e28f32], [0.0]);
    let data = batch(&x, 1, Targets::Dense(Source::rows(&y, 1)));
    for isa in Isa::tested() {
        for (kind, group) in optimisers() {
            let new =
                || Training::<f32>::with_options(isa, &plain, &loss("mse"), kind, group, clipped());
            let mut run = new();
            let before = run.reached();
            refused(run.step(&data), "the gradient's norm is inf");
            assert!(run.reached() == before, "{isa:?} {kind:?}");
            // The same in parts.
            run.gradients(&data).unwrap();
            refused(run.apply().map(|()| 0.0), "the gradient's norm is inf");
            assert!(run.reached() == before, "{isa:?} {kind:?}");
        }
    }
}
