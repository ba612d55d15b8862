//! A row's prediction is the same bits whatever it is predicted with, and by whom.

use super::model::{Model, Training, batch, converted, loss, predict_frozen, word, words};
use super::plain::{Numbers, Part, Plain, linear};
use crate::activation::Activation::{Gelu, Relu, Tanh};
use crate::network::{Rowwise, Targets};
use crate::optim::{Group, Kind};
use crate::predictor::Predictor;
use crate::simd::{Element, Isa};
use Part::{Act, Dropout, Row, Scale};

const ROWS: usize = 300;

/// The rows as they come out of a batch of all of them, of `step`, `step` + 1, … rows, and alone.
fn check<T: Element>(plain: &Plain, step: usize) {
    let inputs = plain.inputs;
    let x = converted::<T>(&Numbers(8).many(ROWS * inputs));
    let mut elsewhere = None;
    for isa in Isa::tested() {
        let model = Model::<T>::new(plain);
        let predictor = Predictor::new(&model.network, isa, None);
        let whole = words(&predict_frozen(&predictor, &x, ROWS));
        let elsewhere = elsewhere.get_or_insert(whole.clone());
        assert!(*elsewhere == whole, "{isa:?} has other bits: {plain:?}");
        let what = |rows: usize, from: usize| {
            format!(
                "{} {isa:?}: {rows} rows from {from} on, {:?}",
                T::NAME,
                plain.stages
            )
        };
        let same = |rows: usize, from: usize| {
            let x = &x[from * inputs..(from + rows) * inputs];
            let want = &whole[from * plain.outputs..(from + rows) * plain.outputs];
            let frozen = words(&predict_frozen(&predictor, x, rows));
            assert!(frozen == want, "a predictor, {}", what(rows, from));
            assert!(
                words(&model.predict(isa, x, rows)) == want,
                "{}",
                what(rows, from)
            );
        };
        for row in 0..ROWS {
            same(1, row);
        }
        for rows in (2..=ROWS).step_by(step) {
            // Not always the same rows, so that a row comes to lie in every place of a panel.
            same(rows, (rows * 7) % (ROWS - rows + 1));
        }
        same(ROWS, 0);
        let trained = model.forward(isa, &x, ROWS, (1, 2));
        let drops = plain
            .stages
            .iter()
            .any(|s| matches!(s, crate::network::Stage::Dropout { .. }));
        assert!(
            drops || words(&trained) == whole,
            "forward, {}",
            what(ROWS, 0)
        );
    }
}

#[test]
fn a_row_alone_equals_the_row_in_every_batch() {
    let parts = [
        linear(21),
        Act(Relu),
        linear(17),
        Act(Tanh),
        linear(5),
        Row(Rowwise::Softmax),
    ];
    check::<f32>(&Plain::new(9, &parts, 1), 1);
    check::<f64>(&Plain::new(9, &parts, 1), 13);
}

#[test]
fn a_row_alone_equals_the_row_in_a_batch_with_every_kind_of_stage() {
    let parts = [
        Scale,
        linear(33),
        Row(Rowwise::Softmax),
        Dropout(0.5),
        linear(16),
        Act(Gelu),
        linear(20),
        Row(Rowwise::LogSoftmax),
    ];
    check::<f32>(&Plain::new(7, &parts, 2), 41);
    check::<f64>(&Plain::new(7, &parts, 2), 71);
}

#[test]
fn a_row_alone_equals_the_row_in_a_batch_where_chains_interleave() {
    let parts = [linear(9), Act(Relu), linear(256), Act(Relu), linear(10)];
    check::<f32>(&Plain::new(270, &parts, 3), 67);
    check::<f64>(&Plain::new(270, &parts, 3), 131);
}

#[test]
fn more_rows_than_a_block() {
    let plain = Plain::new(6, &[Scale, linear(40), Act(Relu), linear(3)], 4);
    let rows = 1500;
    let x = converted::<f32>(&Numbers(3).many(rows * 6));
    for isa in Isa::tested() {
        let model = Model::<f32>::new(&plain);
        let predictor = Predictor::new(&model.network, isa, None);
        let whole = words(&model.predict(isa, &x, rows));
        assert!(
            words(&predict_frozen(&predictor, &x, rows)) == whole,
            "{isa:?}"
        );
        for row in [0, 1, 111, 112, 511, 512, 1023, 1024, 1499] {
            let alone = model.predict(isa, &x[row * 6..(row + 1) * 6], 1);
            assert!(
                words(&alone) == whole[row * 3..(row + 1) * 3],
                "{isa:?}, {row}"
            );
        }
    }
}

#[test]
fn a_predictor_keeps_what_it_was_made_of() {
    let plain = Plain::new(6, &[linear(9), Act(Relu), linear(2)], 4);
    let isa = Isa::best();
    let x = converted::<f64>(&Numbers(3).many(20 * 6));
    let y = vec![1.0; 20 * 2];
    let group = Group::new(0.1);
    let mut run = Training::<f64>::new(isa, &plain, &loss("mse"), Kind::Sgd, group);
    let predictor = Predictor::new(&run.model.network, isa, None);
    let before = words(&predict_frozen(&predictor, &x, 20));
    let targets = Targets::Dense(crate::gemm::pack::Source::rows(&y, 2));
    run.step(&batch(&x, 6, targets)).unwrap();
    assert!(words(&predict_frozen(&predictor, &x, 20)) == before);
    assert!(words(&run.model.predict(isa, &x, 20)) != before);
}

/// The rows that hold a value which is not finite, and no others, come out changed.
fn spoiled_rows<T: Element>(plain: &Plain, spoiler: f64) {
    let (rows, inputs, outputs) = (37, plain.inputs, plain.outputs);
    let clean = converted::<T>(&Numbers(8).many(rows * inputs));
    let mut x = clean.clone();
    let spoiled = [0, 16, 30, 36];
    for row in spoiled {
        x[row * inputs + row % inputs] = T::from_f64(spoiler);
    }
    let dout = converted::<T>(&Numbers(9).many(rows * outputs));
    let mut elsewhere = None;
    for isa in Isa::tested() {
        let model = Model::<T>::new(plain);
        let predictor = Predictor::new(&model.network, isa, None);
        let want = words(&model.predict(isa, &clean, rows));
        let got = words(&model.predict(isa, &x, rows));
        assert!(
            words(&predict_frozen(&predictor, &x, rows)) == got,
            "{isa:?}"
        );
        assert!(
            words(&model.forward(isa, &x, rows, (1, 2))) == got,
            "{isa:?}"
        );
        let dx = words(&model.backward_to_input(isa, &dout, rows));
        let gradient = words(&model.gradient());
        let nan = word(T::from_f64(f64::NAN));
        for row in 0..rows {
            let range = row * outputs..(row + 1) * outputs;
            let what = format!("{} {isa:?} {spoiler}: row {row}", T::NAME);
            if !spoiled.contains(&row) {
                assert!(got[range.clone()] == want[range], "{what}");
                let dx = &dx[row * inputs..(row + 1) * inputs];
                assert!(!dx.contains(&nan), "{what}");
            } else if spoiler.is_nan() {
                assert!(got[range].iter().all(|&bits| bits == nan), "{what}");
            } else {
                assert!(got[range.clone()] != want[range], "{what}");
            }
        }
        if spoiler.is_nan() {
            assert!(gradient.contains(&nan), "{isa:?}");
        }
        let outcome = [got, dx, gradient];
        let elsewhere = elsewhere.get_or_insert(outcome.clone());
        assert!(*elsewhere == outcome, "{isa:?}, {spoiler}");
    }
}

#[test]
fn nan_and_infinity_pass_through_their_rows_alone() {
    for spoiler in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for ending in [Act(Relu), Act(Gelu), Row(Rowwise::Softmax)] {
            let parts = [Scale, linear(18), Act(Relu), linear(6), ending];
            spoiled_rows::<f32>(&Plain::new(5, &parts, 1), spoiler);
            spoiled_rows::<f64>(&Plain::new(5, &parts, 1), spoiler);
        }
        let chained = [linear(260), Act(Tanh), linear(4)];
        spoiled_rows::<f32>(&Plain::new(5, &chained, 1), spoiler);
    }
}

#[test]
fn infinite_and_nan_parameters_are_parameters() {
    for spoiler in [f64::NAN, f64::INFINITY] {
        let mut plain = Plain::new(5, &[linear(18), Act(Relu), linear(6)], 1);
        plain.parameters[7] = spoiler;
        plain.parameters[112 - 16 + 3] = spoiler;
        let x = Numbers(8).many(20 * 5);
        let want = &plain.forward(&x, 20, None)[3];
        for isa in Isa::tested() {
            let model = Model::<f64>::new(&plain);
            let got = model.predict(isa, &x, 20);
            let predictor = Predictor::new(&model.network, isa, None);
            assert!(words(&predict_frozen(&predictor, &x, 20)) == words(&got));
            for (got, want) in got.iter().zip(want) {
                assert_eq!(got.is_nan(), want.is_nan(), "{isa:?}");
                assert_eq!(got.is_finite(), want.is_finite(), "{isa:?}");
            }
        }
    }
}
