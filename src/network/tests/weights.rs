//! Rows that count differently.

use super::model::{Training, batch, converted, loss, words};
use super::plain::{Numbers, Part, Plain, linear};
use crate::activation::Activation::Relu;
use crate::gemm::pack::Source;
use crate::loss::Loss;
use crate::network::{Batch, Targets};
use crate::optim::{Group, Kind};
use crate::simd::{Element, Isa};
use Part::Act;

const ROWS: usize = 50;

fn network() -> Plain {
    Plain::new(6, &[linear(20), Act(Relu), linear(4)], 1)
}

fn run<T: Element>(isa: Isa, loss: &Loss) -> Training<T> {
    Training::new(isa, &network(), loss, Kind::Sgd, Group::new(0.1))
}

fn labels() -> Vec<i64> {
    (0..ROWS as i64).map(|r| r * 7 % 4).collect()
}

#[test]
fn a_weight_counts_as_repetitions() {
    let x = Numbers(2).many(ROWS * 6);
    let labels = labels();
    let weights: Vec<f64> = (0..ROWS).map(|r| (r % 4) as f64).collect();
    let repeated = |row: usize| std::iter::repeat_n(row, row % 4);
    let rows: Vec<usize> = (0..ROWS).flat_map(repeated).collect();
    let many_x: Vec<f64> = rows
        .iter()
        .flat_map(|&r| x[r * 6..(r + 1) * 6].to_vec())
        .collect();
    let many_labels: Vec<i64> = rows.iter().map(|&r| labels[r]).collect();
    for kind in ["cross_entropy", "hinge"] {
        let mut run = run::<f64>(Isa::best(), &loss(kind));
        let data = Batch {
            sample_weight: Some(&weights),
            ..batch(&x, 6, Targets::Classes(&labels))
        };
        let weighted = run.gradients(&data).unwrap();
        let gradient = run.model.gradient();
        let data = batch(&many_x, 6, Targets::Classes(&many_labels));
        let want = run.gradients(&data).unwrap();
        assert!((weighted - want).abs() < 1e-13, "{weighted} is not {want}");
        for (got, want) in gradient.iter().zip(run.model.gradient()) {
            assert!((got - want).abs() < 1e-14, "{got} is not {want}");
        }
    }
}

#[test]
fn class_weights_are_weights_of_the_rows_of_a_class() {
    let x = Numbers(2).many(ROWS * 6);
    let labels = labels();
    let classes = vec![0.5, 3.0, 0.0, 1.25];
    let of_rows: Vec<f64> = labels.iter().map(|&l| classes[l as usize]).collect();
    let weighted = Loss::new("cross_entropy", 0.0, Some(classes), None).unwrap();
    for isa in Isa::tested() {
        let mut one = run::<f64>(isa, &weighted);
        let mut other = run::<f64>(isa, &loss("cross_entropy"));
        let data = batch(&x, 6, Targets::Classes(&labels));
        let got = one.gradients(&data).unwrap();
        let data = Batch {
            sample_weight: Some(&of_rows),
            ..data
        };
        assert_eq!(got.to_bits(), other.gradients(&data).unwrap().to_bits());
        assert_eq!(words(&one.model.gradient()), words(&other.model.gradient()));
    }
}

/// Whatever a row of weight zero holds (but for what is not finite in x), it changes no bit, and its loss may be infinite.
#[test]
fn rows_of_weight_zero_have_no_influence() {
    let x = converted::<f32>(&Numbers(2).many(ROWS * 6));
    let y = converted::<f32>(&Numbers(3).many(ROWS * 4));
    let weights: Vec<f64> = (0..ROWS).map(|r| [1.0, 0.0, 2.0][r % 3]).collect();
    for isa in Isa::tested() {
        let outcome = |x: &[f32], y: &[f32]| {
            let mut run = run::<f32>(isa, &loss("mse"));
            let data = Batch {
                sample_weight: Some(&weights),
                ..batch(x, 6, Targets::Dense(Source::rows(y, 4)))
            };
            run.gradients(&data).unwrap();
            let gradient = words(&run.model.gradient());
            let mean = run.step(&data).unwrap();
            (mean.to_bits(), gradient, run.reached())
        };
        let (mut other_x, mut other_y) = (x.clone(), y.clone());
        for r in (1..ROWS).step_by(3) {
            other_x[r * 6 + r % 6] = 1e6;
            other_y[r * 4 + r % 4] = 1e30;
        }
        assert!(outcome(&x, &y) == outcome(&other_x, &other_y), "{isa:?}");
    }
}

#[test]
fn weights_of_one_change_nothing() {
    let x = converted::<f32>(&Numbers(2).many(ROWS * 6));
    let labels = labels();
    let ones = vec![1.0; ROWS];
    let data = batch(&x, 6, Targets::Classes(&labels));
    let weighted = Batch {
        sample_weight: Some(&ones),
        ..data
    };
    let outcome = |data: &Batch<'_, f32>| {
        let mut run = run::<f32>(Isa::best(), &loss("cross_entropy"));
        let mean = run.step(data).unwrap();
        (mean.to_bits(), run.reached())
    };
    assert!(outcome(&data) == outcome(&weighted));
}
