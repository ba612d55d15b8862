//! Gradients of whole networks against central differences in float64.

use super::model::{Model, Training, batch, read, write};
use super::plain::{Numbers, Part, Plain, linear, linear_without_bias};
use crate::activation::Activation::{self, Gelu, GeluTanh, Mish, Relu, Selu, Sigmoid, Silu, Tanh};
use crate::activation::tests::ALL;
use crate::buffer::Flat;
use crate::loss::Loss;
use crate::network::{Batch, Rowwise, Targets};
use crate::optim::{Group, Kind};
use crate::simd::Isa;
use Part::{Act, Dropout, Row, Scale};

const ROWS: usize = 6;
const STEP: f64 = 4e-6;
const DRAW: (u64, u64) = (2, 3);

/// Numbers whose forward pass stays clear of the kinks by far more than the difference's step moves it.
fn clear(inputs: usize, parts: &[Part], draw: (u64, u64)) -> (Plain, Vec<f64>) {
    for seed in 0..10_000 {
        let plain = Plain::new(inputs, parts, seed);
        let x = Numbers(seed + 7).many(ROWS * inputs);
        if plain.margin(&plain.forward(&x, ROWS, Some(draw))) > 200.0 * STEP {
            return (plain, x);
        }
    }
    panic!("no numbers stay clear of the kinks");
}

/// The central difference of `loss` in element `at` of `place`.
fn slope(place: &mut [f64], at: usize, loss: &mut dyn FnMut(&[f64]) -> f64) -> f64 {
    let value = place[at];
    place[at] = value + STEP;
    let above = loss(place);
    place[at] = value - STEP;
    let below = loss(place);
    place[at] = value;
    (above - below) / (2.0 * STEP)
}

fn agree(got: &[f64], want: &[f64], what: &str) {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut got.iter().zip(want).map(|(a, b)| a - b));
    let size = norm(&mut want.iter().copied());
    assert!(error <= 1e-6 * size, "{what}: {error} of {size}");
}

/// The differences of `loss` in all trained parameters, and what the gradient buffer has there.
fn in_parameters(
    plain: &Plain,
    parameters: &Flat<f64>,
    gradient: &[f64],
    loss: &mut dyn FnMut() -> f64,
) -> (Vec<f64>, Vec<f64>) {
    let mut values = read(parameters);
    let mut pairs = (Vec::new(), Vec::new());
    for at in plain.trained_ranges().flatten() {
        pairs.0.push(gradient[at]);
        pairs.1.push(slope(&mut values, at, &mut |values| {
            write(parameters, values);
            loss()
        }));
    }
    write(parameters, &values);
    pairs
}

fn check_network(inputs: usize, parts: &[Part]) {
    let (plain, mut x) = clear(inputs, parts, DRAW);
    let isa = Isa::best();
    let model = Model::<f64>::new(&plain);
    let dout = Numbers(1).many(ROWS * plain.outputs);
    let value = |x: &[f64]| {
        let out = model.forward(isa, x, ROWS, DRAW);
        out.iter().zip(&dout).map(|(a, b)| a * b).sum::<f64>()
    };
    value(&x);
    let dx = model.backward_to_input(isa, &dout, ROWS);
    let gradient = model.gradient();
    let (got, want) = in_parameters(&plain, &model.parameters, &gradient, &mut || value(&x));
    agree(&got, &want, &format!("parameters of {parts:?}"));
    let slopes = (0..x.len()).map(|at| slope(&mut x, at, &mut |x| value(x)));
    let want: Vec<f64> = slopes.collect();
    agree(&dx, &want, &format!("input of {parts:?}"));
}

#[test]
fn gradients_of_networks() {
    let nets = [
        (5, vec![linear(4)]),
        (
            6,
            vec![
                Scale,
                linear(9),
                Act(Relu),
                Dropout(0.3),
                linear(17),
                Act(Gelu),
                linear(3),
            ],
        ),
        (
            7,
            vec![
                linear_without_bias(8),
                Act(Tanh),
                Dropout(0.2),
                linear(5),
                Row(Rowwise::Softmax),
                linear(6),
                Act(Selu),
                linear(4),
                Row(Rowwise::LogSoftmax),
            ],
        ),
        (
            4,
            vec![
                Dropout(0.25),
                Act(Mish),
                linear(6),
                Act(GeluTanh),
                Act(Sigmoid),
                linear(5),
                Act(Silu),
                Dropout(0.5),
            ],
        ),
        // The last layer sums in interleaved chains.
        (2, vec![linear(257), Act(Tanh), linear(2)]),
    ];
    for (inputs, parts) in nets {
        check_network(inputs, &parts);
    }
}

#[test]
fn gradients_through_every_activation() {
    for activation in ALL {
        if activation != Activation::Step {
            check_network(5, &[linear(6), Act(activation), linear(3)]);
        }
    }
}

/// The mean loss of a session against its gradient.
fn check_loss(loss: &Loss, plain: &Plain, data: &Batch<'_, f64>, what: &str) {
    let group = Group::new(0.1);
    let mut run = Training::<f64>::new(Isa::best(), plain, loss, Kind::Sgd, group);
    run.gradients(data).unwrap();
    let gradient = run.model.gradient();
    let parameters = run.model.parameters.clone();
    let (got, want) = in_parameters(plain, &parameters, &gradient, &mut || {
        run.gradients(data).unwrap()
    });
    agree(&got, &want, what);
}

#[test]
fn gradients_of_every_loss() {
    let new = |kind: &str, parameter| Loss::new(kind, parameter, None, None).unwrap();
    let weights = Some(vec![0.5, 2.0, 1.25]);
    let classes = Loss::new("cross_entropy", 0.1, weights.clone(), None).unwrap();
    let losses = [
        new("mse", 0.0),
        new("l1", 0.0),
        new("huber", 0.6),
        new("bce", 0.0),
        new("bce_with_logits", 0.0),
        Loss::new("bce_with_logits", 0.0, None, weights.clone()).unwrap(),
        new("nll", 0.0),
        new("cross_entropy", 0.0),
        classes,
        new("hinge", 0.0),
        Loss::new("perceptron", 0.0, weights, None).unwrap(),
    ];
    // The seed and the step of a session that has done nothing.
    let draw = (11, 0);
    for loss in losses {
        let ending = match loss.kind.name() {
            "nll" => Row(Rowwise::LogSoftmax),
            "bce" => Act(Sigmoid),
            _ => Act(Activation::Identity),
        };
        let parts = [linear(8), Act(Relu), Dropout(0.3), linear(3), ending];
        let (plain, x) = clear(4, &parts, draw);
        let mut numbers = Numbers(5);
        let labels: Vec<i64> = (0..ROWS).map(|_| numbers.below(3) as i64).collect();
        let sample_weight: Vec<f64> = (0..ROWS).map(|r| [1.0, 0.0, 2.5][r % 3]).collect();
        let mut dense: Vec<f64> = numbers.many(ROWS * 3).iter().map(|t| t.abs()).collect();
        for row in dense.chunks_mut(3) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|t| *t /= sum);
        }
        let mut targets = Vec::new();
        if loss.takes_classes(3) {
            targets.push(Targets::Classes(&labels));
        }
        if loss.takes_dense(3) {
            targets.push(Targets::Dense(crate::gemm::pack::Source::rows(&dense, 3)));
        }
        for targets in targets {
            for weight in [None, Some(&sample_weight[..])] {
                let data = Batch {
                    sample_weight: weight,
                    ..batch(&x, 4, targets)
                };
                let weighted = weight.is_some();
                check_loss(
                    &loss,
                    &plain,
                    &data,
                    &format!("{loss:?}, weighted: {weighted}"),
                );
            }
        }
    }
}
