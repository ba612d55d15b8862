//! Forward and backward of whole networks against plain float64 loops, on every instruction set.

use super::model::{Model, converted, predict_frozen, read, words};
use super::plain::{Numbers, Part, Plain, linear, linear_without_bias};
use crate::activation::Activation;
use crate::activation::tests::ALL;
use crate::error::Error;
use crate::network::Rowwise;
use crate::predictor::Predictor;
use crate::simd::{Element, Isa};
use Activation::{Gelu, Identity, Mish, Relu, Sigmoid, Silu, Step, Tanh};
use Part::{Act, Dropout, Row, Scale};
use Rowwise::{LogSoftmax, Softmax};

const BATCHES: [usize; 9] = [1, 2, 15, 16, 17, 33, 257, 300, 600];
const DRAW: (u64, u64) = (5, 9);

fn frozen(outputs: usize, train_weight: bool, train_bias: bool) -> Part {
    Part::Linear {
        outputs,
        bias: true,
        train_weight,
        train_bias,
    }
}

/// Inputs and stages.
fn networks() -> Vec<(usize, Vec<Part>)> {
    vec![
        (3, vec![linear(4)]),
        (
            20,
            vec![Scale, linear(33), Act(Relu), Dropout(0.3), linear(10)],
        ),
        (5, vec![Scale]),
        (5, vec![Act(Tanh), linear(7), Act(Gelu), linear(1)]),
        (
            9,
            vec![
                Dropout(0.2),
                linear(17),
                Row(Softmax),
                linear(6),
                Row(LogSoftmax),
            ],
        ),
        (
            6,
            vec![linear(16), Row(LogSoftmax), linear(3), Row(Softmax)],
        ),
        // Few outputs of many inputs: interleaved chains, first, in the middle and last.
        (20, vec![linear(300), Act(Relu), linear(10)]),
        (260, vec![linear(7), Act(Tanh), linear(256), linear(15)]),
        (
            13,
            vec![linear_without_bias(21), Act(Silu), linear_without_bias(2)],
        ),
        (
            8,
            vec![
                frozen(18, false, true),
                Act(Relu),
                frozen(17, true, false),
                Act(Relu),
                frozen(5, false, false),
                Act(Mish),
                linear(4),
            ],
        ),
        (
            4,
            vec![
                linear(12),
                Act(Tanh),
                Act(Sigmoid),
                Dropout(0.5),
                Dropout(0.25),
                linear(3),
                Act(Identity),
            ],
        ),
        (
            11,
            vec![
                linear(19),
                Act(Sigmoid),
                Dropout(0.1),
                linear(20),
                Act(Tanh),
                Dropout(0.4),
                linear(16),
                Act(Gelu),
                Dropout(0.6),
                linear(5),
                Act(Relu),
                Dropout(0.5),
            ],
        ),
        (1, vec![linear(1), Act(Tanh), linear(1)]),
        // Wide enough for the weights' columns to be packed.
        (
            40,
            vec![linear(130), Act(Relu), linear(150), Act(Gelu), linear(12)],
        ),
        (7, vec![linear(9), Act(Step), linear(3)]),
        (4, vec![Dropout(1.0), linear(3)]),
        (
            3,
            vec![Row(Softmax), Act(Relu), Dropout(0.5), Act(Identity)],
        ),
    ]
}

/// Numbers whose forward pass stays clear of the kinks, so that float32 takes the same side as float64.
fn clear(inputs: usize, parts: &[Part], rows: usize) -> (Plain, Vec<f64>) {
    for seed in 0..1000 {
        let plain = Plain::new(inputs, parts, seed);
        let x = Numbers(seed + 77).many(rows * inputs);
        let again = Some((DRAW.0, DRAW.1 + 1));
        if [None, Some(DRAW), again]
            .iter()
            .all(|&draw| plain.margin(&plain.forward(&x, rows, draw)) > 1e-5)
        {
            return (plain, x);
        }
    }
    panic!("no numbers stay clear of the kinks");
}

fn near<T: Element>(got: &[T], want: &[f64], shift: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let tolerance = if T::NAME == "float32" { 2e-5 } else { 1e-12 };
    let size = want.iter().fold(0.01, |size: f64, v| size.max(v.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (got.to_f64() - shift - want).abs();
        assert!(
            error <= tolerance * size,
            "{what} [{i}]: {got} less {shift} is not {want}"
        );
    }
}

/// What one instruction set computed, as bits.
type Outcome = [Vec<u64>; 5];

fn check<T: Element>(isa: Isa, plain: &Plain, x: &[f64], rows: usize, what: &str) -> Outcome {
    let what = |part: &str| {
        format!(
            "{} {isa:?} @ {rows}, {part} of {what}, {:?}",
            T::NAME,
            plain.stages
        )
    };
    let model = Model::<T>::new(plain);
    let input = converted::<T>(x);
    let dout = Numbers(rows as u64).many(rows * plain.outputs);
    let cotangent = converted::<T>(&dout);

    let values = plain.forward(x, rows, Some(DRAW));
    let (gradient, dinput) = plain.backward(&values, &dout, rows, Some(DRAW));
    model.fill_gradient(0.25);
    let out = model.forward(isa, &input, rows, DRAW);
    near(&out, &values[values.len() - 1], 0.0, &what("output"));
    let dx = model.backward_to_input(isa, &cotangent, rows);
    near(&dx, &dinput, 0.0, &what("dx"));
    let first = model.gradient();
    near(&first, &gradient, 0.25, &what("gradient"));

    // Again, with other masks: the gradient is added to what is there.
    let draw = (DRAW.0, DRAW.1 + 1);
    let values = plain.forward(x, rows, Some(draw));
    let (more, _) = plain.backward(&values, &dout, rows, Some(draw));
    model.forward(isa, &input, rows, draw);
    model.backward(isa, &cotangent, rows).unwrap();
    let both: Vec<f64> = gradient.iter().zip(&more).map(|(a, b)| a + b).collect();
    let second = model.gradient();
    near(&second, &both, 0.25, &what("added gradient"));
    let mut trained = vec![false; second.len()];
    plain
        .trained_ranges()
        .for_each(|range| trained[range].fill(true));
    for (i, value) in second.iter().enumerate() {
        let quarter = T::from_f64(0.25);
        assert!(trained[i] || *value == quarter, "{}", what("untouched"));
    }

    let values = plain.forward(x, rows, None);
    let prediction = model.predict(isa, &input, rows);
    near(
        &prediction,
        &values[values.len() - 1],
        0.0,
        &what("prediction"),
    );
    let predictor = Predictor::new(&model.network, isa, None);
    let frozen = predict_frozen(&predictor, &input, rows);
    assert_eq!(words(&frozen), words(&prediction), "{}", what("predictor"));
    assert_eq!(
        words(&read(&model.parameters)),
        words(&converted::<T>(&plain.parameters)),
        "no pass writes a parameter"
    );
    [out, dx, first, second, prediction].map(|values| words(&values))
}

fn check_everywhere(inputs: usize, parts: &[Part], rows: usize) {
    let (plain, x) = clear(inputs, parts, rows);
    let what = format!("{inputs} inputs");
    let mut first = None;
    for isa in Isa::tested() {
        let found = (
            check::<f32>(isa, &plain, &x, rows, &what),
            check::<f64>(isa, &plain, &x, rows, &what),
        );
        let first = first.get_or_insert(found.clone());
        assert!(
            *first == found,
            "{isa:?} has other bits: {parts:?} @ {rows}"
        );
    }
}

#[test]
fn networks_agree_with_plain_loops() {
    for (number, (inputs, parts)) in networks().iter().enumerate() {
        for shift in [0, 3, 7] {
            check_everywhere(*inputs, parts, BATCHES[(number + shift) % BATCHES.len()]);
        }
    }
}

#[test]
fn every_activation_agrees_with_plain_loops() {
    for (number, activation) in ALL.into_iter().enumerate() {
        let rows = BATCHES[number % 6];
        check_everywhere(7, &[linear(19), Act(activation), linear(5)], rows);
        // With dropout, what the derivative needs is kept apart; last, and in a layer of its own.
        check_everywhere(
            6,
            &[
                Act(activation),
                linear(17),
                Act(activation),
                Dropout(0.3),
                linear(4),
                Act(activation),
            ],
            rows,
        );
    }
}

#[test]
fn a_large_batch_on_a_deep_network() {
    let parts = [
        Scale,
        linear(48),
        Act(Relu),
        linear(35),
        Act(Relu),
        Dropout(0.2),
        linear(20),
        Act(Tanh),
        linear(10),
    ];
    for rows in [257, 300, 600] {
        check_everywhere(30, &parts, rows);
    }
}

#[test]
fn sizes_of_zero() {
    let nets = [
        (0, vec![linear(5), Act(Relu), linear(3)]),
        (0, vec![]),
        (0, vec![Scale, Act(Gelu), Dropout(0.5), Row(Softmax)]),
        (4, vec![linear(0), Act(Tanh), Dropout(0.5), linear(3)]),
        (4, vec![Scale, linear(6), Act(Relu), linear(0)]),
        (4, vec![linear(0), Row(LogSoftmax)]),
        (3, vec![]),
        (300, vec![linear(0), linear(2)]),
    ];
    for (inputs, parts) in nets {
        for rows in [0, 1, 17, 300] {
            check_everywhere(inputs, &parts, rows);
        }
    }
    for (inputs, parts) in networks() {
        check_everywhere(inputs, &parts, 0);
    }
}

#[test]
fn batches_of_changing_size_leave_nothing_behind() {
    let parts = [linear(18), Act(Tanh), Dropout(0.3), linear(9), Row(Softmax)];
    let plain = Plain::new(12, &parts, 3);
    for isa in Isa::tested() {
        let model = Model::<f32>::new(&plain);
        for rows in [40, 7, 33, 300, 1, 16, 258, 20, 0, 5] {
            let x = converted::<f32>(&Numbers(rows as u64).many(rows * 12));
            let dout = converted::<f32>(&Numbers(1 + rows as u64).many(rows * 9));
            let pass = |model: &Model<f32>| {
                model.fill_gradient(0.0);
                let out = model.forward(isa, &x, rows, DRAW);
                let dx = model.backward_to_input(isa, &dout, rows);
                let prediction = model.predict(isa, &x, rows);
                [out, dx, model.gradient(), prediction].map(|v| words(&v))
            };
            assert!(
                pass(&model) == pass(&Model::new(&plain)),
                "{isa:?}: {rows} rows after others"
            );
        }
    }
}

#[test]
fn backward_needs_its_forward() {
    let plain = Plain::new(3, &[linear(4), Act(Relu), linear(2)], 1);
    let model = Model::<f64>::new(&plain);
    let isa = Isa::best();
    let (x, dout) = (vec![0.5; 6], vec![1.0; 4]);
    let missing = |outcome: Result<(), Error>| match outcome {
        Err(Error::State(message)) => {
            assert!(message.contains("needs a forward pass"), "{message}");
        }
        other => panic!("{other:?}"),
    };
    missing(model.backward(isa, &dout, 2));
    model.predict(isa, &x, 2);
    missing(model.backward(isa, &dout, 2));
    model.forward(isa, &x, 2, DRAW);
    match model.backward(isa, &[1.0; 6], 3) {
        Err(Error::Shape(message)) => {
            assert_eq!(message, "dout has 3 rows, but the last forward pass saw 2")
        }
        other => panic!("{other:?}"),
    }
    assert!(model.gradient().iter().all(|&g| g == 0.0));
    // A prediction between the two takes nothing away, and a refused backward neither.
    model.predict(isa, &x, 2);
    model.backward(isa, &dout, 2).unwrap();
    assert!(model.gradient().iter().any(|&g| g != 0.0));
    let once = words(&model.gradient());
    missing(model.backward(isa, &dout, 2));
    assert_eq!(words(&model.gradient()), once);
    model.forward(isa, &x, 2, DRAW);
    model.network.forget().unwrap();
    missing(model.backward(isa, &dout, 2));
}

#[test]
fn one_thread_trains_at_a_time() {
    let plain = Plain::new(3, &[linear(2)], 1);
    let model = Model::<f32>::new(&plain);
    let isa = Isa::best();
    let held = model.network.train_space().unwrap();
    match model.backward(isa, &[0.0; 2], 1) {
        Err(Error::State(message)) => {
            assert_eq!(message, "busy: another thread is training this model");
        }
        other => panic!("{other:?}"),
    }
    assert!(model.network.forget().is_err());
    // Predictions need not wait.
    model.predict(isa, &[0.0; 3], 1);
    drop(held);
    model.forward(isa, &[0.0; 3], 1, DRAW);
    model.backward(isa, &[0.0; 2], 1).unwrap();
}
