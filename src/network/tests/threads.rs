//! The same bits on any number of threads.

use super::bits::{STEPS, trained};
use super::model::{Hash, Model, converted, predict_frozen};
use super::plain::{Numbers, Part, Plain, linear};
use super::steps::optimisers;
use crate::activation::Activation::{Gelu, Relu, Tanh};
use crate::network::{Options, Rowwise};
use crate::pool;
use crate::pool::tests::with_threads;
use crate::predictor::Predictor;
use crate::simd::{Element, Isa};
use Part::{Act, Dropout, Row, Scale};

/// Forward, gradients and prediction by a network, as one hash.
fn all_passes<T: Element>(isa: Isa, plain: &Plain, rows: usize) -> u64 {
    let x = converted::<T>(&Numbers(2).many(rows * plain.inputs));
    let dout = converted::<T>(&Numbers(3).many(rows * plain.outputs));
    let model = Model::<T>::new(plain);
    let mut hash = Hash::new();
    hash.values(&model.forward(isa, &x, rows, (5, 9)));
    hash.values(&model.backward_to_input(isa, &dout, rows));
    hash.values(&model.gradient());
    hash.values(&model.predict(isa, &x, rows));
    let predictor = Predictor::new(&model.network, isa, None);
    hash.values(&predict_frozen(&predictor, &x, rows));
    hash.0
}

/// The same hash from every instruction set and 1, 2 and 3 threads, all of which take part.
fn threads_agree(what: &str, instruction_sets: &[Isa], work: impl Fn(Isa) -> u64) {
    let mut first = None;
    for &isa in instruction_sets {
        for threads in 1..=3 {
            let (hash, used) = with_threads(threads, || (work(isa), pool::most_threads_used()));
            assert_eq!(used, threads, "{what}, {isa:?}: threads that took part");
            let first = *first.get_or_insert(hash);
            assert_eq!(
                hash, first,
                "{what}: other bits on {isa:?} and {threads} threads"
            );
        }
    }
}

fn large() -> Plain {
    let parts = [
        Scale,
        linear(130),
        Act(Relu),
        Dropout(0.2),
        linear(260),
        Act(Gelu),
        linear(10),
    ];
    Plain::new(300, &parts, 1)
}

/// Layers that threads divide by rows before, between and after others.
fn narrow_and_wide() -> Plain {
    let parts = [
        linear(40),
        Act(Relu),
        linear(24),
        Act(Tanh),
        linear(500),
        Act(Relu),
        linear(300),
        Row(Rowwise::LogSoftmax),
        linear(10),
    ];
    Plain::new(30, &parts, 1)
}

#[test]
fn passes_have_the_same_bits_on_any_number_of_threads() {
    let all = Isa::tested();
    threads_agree("narrow and wide", &all, |isa| {
        all_passes::<f32>(isa, &narrow_and_wide(), 130)
    });
    threads_agree("passes", &all, |isa| all_passes::<f32>(isa, &large(), 600));
    threads_agree("passes", &all, |isa| all_passes::<f64>(isa, &large(), 300));
}

#[test]
fn training_has_the_same_bits_on_any_number_of_threads() {
    let adam = optimisers()[3];
    let none = Options::default();
    let kept = Options {
        keep_grad: true,
        ..none
    };
    let fast = Isa::available()
        .into_iter()
        .filter(|isa| isa.name() != "portable");
    let fast: Vec<Isa> = fast.collect();
    threads_agree("50 Adam steps, large", &fast, |isa| {
        trained::<f32>(isa, &large(), STEPS, 600, adam.0, adam.1, none)
    });
    threads_agree("50 Adam steps, narrow and wide", &fast, |isa| {
        trained::<f32>(isa, &narrow_and_wide(), STEPS, 130, adam.0, adam.1, none)
    });
    // Too large a batch to be packed by each of two threads without a trial, of which there are four after 128 steps.
    threads_agree("steps with trials", &[Isa::best()], |isa| {
        trained::<f32>(isa, &large(), 140, 64, adam.0, adam.1, none)
    });
    // Small enough for the portable form, and just large enough for three threads.
    let parts = [
        linear(64),
        Act(Relu),
        Dropout(0.2),
        linear(32),
        Act(Tanh),
        linear(10),
    ];
    let plain = Plain::new(40, &parts, 1);
    let clip = Options {
        clip_norm: Some(0.1),
        clip_value: Some(0.03),
        keep_grad: false,
    };
    let (momentum, amsgrad) = (optimisers()[1], optimisers()[5]);
    let all = Isa::tested();
    for ((kind, group), options, portable_steps) in
        [(adam, none, STEPS), (momentum, clip, 8), (amsgrad, kept, 8)]
    {
        for (sets, steps) in [(&all, portable_steps), (&fast, STEPS)] {
            threads_agree(&format!("{steps} steps of {kind:?}"), sets, |isa| {
                trained::<f32>(isa, &plain, steps, 860, kind, group, options)
            });
        }
    }
    threads_agree("10 steps in float64", &all, |isa| {
        trained::<f64>(isa, &plain, 10, 860, adam.0, adam.1, none)
    });
}
