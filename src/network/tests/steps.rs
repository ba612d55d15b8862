//! A step is its parts: forward, loss, backward, update.

use super::model::{Model, Training, batch, converted, loss, predict_frozen, read, words};
use super::plain::{Numbers, Part, Plain, linear};
use crate::activation::Activation::{Gelu, Relu, Tanh};
use crate::error::Error;
use crate::gemm::pack::Source;
use crate::loss::{self, Loss, Reduction, Value};
use crate::network::{Batch, Options, Session, Targets};
use crate::optim::{Group, Kind};
use crate::pool::tests::with_threads;
use crate::predictor::Predictor;
use crate::simd::{Element, Isa};
use Part::{Act, Dropout, Scale};

/// The seed of a [`Training`].
const SEED: u64 = 11;

fn labels(rows: usize, classes: usize) -> Vec<i64> {
    let mut numbers = Numbers(21);
    (0..rows).map(|_| numbers.below(classes) as i64).collect()
}

pub fn optimisers() -> [(Kind, Group); 6] {
    let group = Group {
        weight_decay: 0.02,
        ..Group::new(0.03)
    };
    let momentum = Group {
        momentum: 0.9,
        ..group
    };
    [
        (Kind::Sgd, Group::new(0.1)),
        (Kind::Sgd, momentum),
        (
            Kind::Sgd,
            Group {
                nesterov: true,
                ..momentum
            },
        ),
        (Kind::Adam, Group::new(0.01)),
        (Kind::AdamW, group),
        (
            Kind::AdamW,
            Group {
                amsgrad: true,
                ..group
            },
        ),
    ]
}

fn network() -> Plain {
    let frozen = Part::Linear {
        outputs: 14,
        bias: true,
        train_weight: false,
        train_bias: true,
    };
    let parts = [
        Scale,
        linear(18),
        Act(Relu),
        Dropout(0.2),
        frozen,
        Act(Gelu),
        linear(5),
    ];
    Plain::new(7, &parts, 1)
}

fn check_parts<T: Element>(isa: Isa, rows: usize, options: Options) {
    let plain = network();
    let x = converted::<T>(&Numbers(2).many(rows * 7));
    let labels = labels(rows, 5);
    let data = batch(&x, 7, Targets::Classes(&labels));
    for (kind, group) in optimisers() {
        let new = || {
            let loss = loss("cross_entropy");
            Training::<T>::with_options(isa, &plain, &loss, kind, group, options)
        };
        let (mut whole, mut parts) = (new(), new());
        for _ in 0..4 {
            let loss = whole.step(&data).unwrap();
            assert_eq!(loss.to_bits(), parts.gradients(&data).unwrap().to_bits());
            parts.apply().unwrap();
            if options.keep_grad || options.clip_norm.is_some() {
                let kept = words(&whole.model.gradient());
                assert_eq!(kept, words(&parts.model.gradient()));
            }
            assert!(whole.reached() == parts.reached(), "{isa:?} {kind:?}");
        }
        assert_eq!(whole.session.step, 4);
        let now = read(&whole.model.parameters);
        let mut trained = vec![false; now.len()];
        plain
            .trained_ranges()
            .for_each(|range| trained[range].fill(true));
        for (at, value) in now.iter().enumerate() {
            let before = T::from_f64(plain.parameters[at]);
            assert!(trained[at] || *value == before, "{at} is not trained");
        }
        assert!(now[0] != T::from_f64(plain.parameters[0]));
    }
}

#[test]
fn a_step_is_gradients_and_apply() {
    let none = Options::default();
    let kept = Options {
        keep_grad: true,
        ..none
    };
    let clipped = Options {
        clip_norm: Some(0.05),
        clip_value: Some(0.01),
        ..none
    };
    let held = Options {
        clip_value: Some(0.01),
        ..none
    };
    for isa in Isa::tested() {
        for options in [none, kept, clipped, held] {
            check_parts::<f32>(isa, 40, options);
        }
        for options in [none, kept] {
            check_parts::<f32>(isa, 300, options);
            check_parts::<f64>(isa, 40, options);
        }
    }
}

/// Products of one or two rows go by wider tiles than others, but not where the update follows them at once.
#[test]
fn a_step_trains_every_weight() {
    for isa in Isa::tested() {
        for (outputs, rows) in [
            (1, 40),
            (2, 40),
            (3, 33),
            (12, 300),
            (14, 1),
            (15, 64),
            (29, 256),
        ] {
            for inputs in [15, 16, 33, 64, 70, 300] {
                let plain = Plain::new(inputs, &[linear(outputs)], 1);
                let x = converted::<f32>(&Numbers(2).many(rows * inputs));
                let y = converted::<f32>(&Numbers(3).many(rows * outputs));
                let data = batch(&x, inputs, Targets::Dense(Source::rows(&y, outputs)));
                let new = || Training::new(isa, &plain, &loss("mse"), Kind::Adam, Group::new(0.01));
                let (mut whole, mut parts) = (new(), new());
                let before = read(&whole.model.parameters);
                whole.step(&data).unwrap();
                parts.gradients(&data).unwrap();
                parts.apply().unwrap();
                assert!(
                    whole.reached() == parts.reached(),
                    "{isa:?} {outputs} {inputs}"
                );
                for range in plain.trained_ranges() {
                    let after = &read(&whole.model.parameters)[range.clone()];
                    assert!(after.iter().zip(&before[range]).all(|(a, b)| a != b));
                }
            }
        }
    }
}

/// Forward, the loss of its output, backward: by hand the same numbers as in one pass.
fn check_by_hand<T: Element>(isa: Isa, rows: usize) {
    let plain = network();
    let loss = Loss::new(
        "cross_entropy",
        0.0,
        Some(vec![1.0, 2.0, 0.5, 3.0, 0.25]),
        None,
    )
    .unwrap();
    let x = converted::<T>(&Numbers(2).many(rows * 7));
    let labels = labels(rows, 5);
    let weights: Vec<f64> = (0..rows).map(|r| (r % 4) as f64).collect();
    let data = Batch {
        sample_weight: Some(&weights),
        ..batch(&x, 7, Targets::Classes(&labels))
    };
    let group = Group::new(0.1);
    let mut run = Training::<T>::new(isa, &plain, &loss, Kind::Sgd, group);
    run.step(&data).unwrap();
    // Values before the second step, whose draw is step 1.
    let plain = Plain {
        parameters: read(&run.model.parameters)
            .iter()
            .map(|v| v.to_f64())
            .collect(),
        ..plain
    };
    let model = Model::<T>::new(&plain);
    let mean = run.gradients(&data).unwrap();
    let out = model.forward(isa, &x, rows, (SEED, 1));
    let mut dout = vec![T::ZERO; out.len()];
    let value = loss::value_and_gradient(
        isa,
        &loss,
        rows,
        5,
        &out,
        loss::Targets::Classes(&labels),
        Some(&weights),
        Reduction::Mean,
        &mut dout,
    );
    assert_eq!(value.unwrap(), Value::Scalar(mean));
    model.backward(isa, &dout, rows).unwrap();
    // Equal as numbers: added to a buffer of zeros, −0 becomes 0.
    assert_eq!(model.gradient(), run.model.gradient(), "{isa:?} @ {rows}");
}

#[test]
fn a_pass_is_forward_loss_and_backward() {
    for isa in Isa::tested() {
        for rows in [2, 33, 270] {
            check_by_hand::<f32>(isa, rows);
            check_by_hand::<f64>(isa, rows);
        }
    }
}

/// Steps of plain loops: mean squared error, plain gradients, torch's formulas.
#[test]
fn steps_agree_with_plain_loops() {
    let parts = [linear(13), Act(Tanh), Dropout(0.3), linear(4)];
    let rows = 20;
    let x = Numbers(2).many(rows * 6);
    let y = Numbers(3).many(rows * 4);
    for adam in [false, true] {
        let mut plain = Plain::new(6, &parts, 1);
        let kind = if adam { Kind::Adam } else { Kind::Sgd };
        let group = Group::new(0.05);
        let mut run = Training::<f64>::new(Isa::best(), &plain, &loss("mse"), kind, group);
        let (mut m, mut v) = (
            vec![0.0; plain.parameters.len()],
            vec![0.0; plain.parameters.len()],
        );
        for step in 0..10 {
            let draw = Some((SEED, step));
            let values = plain.forward(&x, rows, draw);
            let out = &values[values.len() - 1];
            let count = (rows * 4) as f64;
            let errors: Vec<f64> = out.iter().zip(&y).map(|(z, t)| z - t).collect();
            let dout: Vec<f64> = errors.iter().map(|d| 2.0 * d / count).collect();
            let (gradient, _) = plain.backward(&values, &dout, rows, draw);
            let want = errors.iter().map(|d| d * d).sum::<f64>() / count;
            let mean = run
                .step(&batch(&x, 6, Targets::Dense(Source::rows(&y, 4))))
                .unwrap();
            assert!((mean - want).abs() <= 1e-12, "{mean} is not {want}");
            let t = step as i32 + 1;
            for (at, g) in gradient.iter().enumerate() {
                m[at] = 0.9 * m[at] + 0.1 * g;
                v[at] = 0.999 * v[at] + 0.001 * g * g;
                let (first, second) = (
                    m[at] / (1.0 - 0.9f64.powi(t)),
                    v[at] / (1.0 - 0.999f64.powi(t)),
                );
                plain.parameters[at] -= 0.05
                    * if adam {
                        first / (second.sqrt() + 1e-8)
                    } else {
                        *g
                    };
            }
            for (got, want) in read(&run.model.parameters).iter().zip(&plain.parameters) {
                assert!(
                    (got - want).abs() <= 1e-10,
                    "{kind:?} step {step}: {got} is not {want}"
                );
            }
        }
    }
}

#[test]
fn parts_of_a_batch_add_up() {
    let plain = network();
    let rows = 100;
    let x = Numbers(2).many(rows * 7);
    let labels = labels(rows, 5);
    let weights: Vec<f64> = (0..rows).map(|r| 0.5 + (r % 3) as f64).collect();
    let total: f64 = weights.iter().sum();
    let loss = loss("cross_entropy");
    let group = Group::new(0.1);
    let mut run = Training::<f64>::new(Isa::best(), &plain, &loss, Kind::Sgd, group);
    let data = |range: std::ops::Range<usize>| Batch {
        sample_weight: Some(&weights[range.clone()]),
        ..batch(
            &x[range.start * 7..range.end * 7],
            7,
            Targets::Classes(&labels[range]),
        )
    };
    let mean = run.gradients(&data(0..rows)).unwrap();
    let whole = run.model.gradient();
    let (mut sum, mut loss_sum) = (vec![0.0; whole.len()], 0.0);
    // The masks of a part are those that its rows have in the whole batch, also where panels do not meet.
    for (from, to) in [(0, 32), (32, 37), (37, 100)] {
        let part = run
            .gradients_of_part(&data(from..to), from, Some(total))
            .unwrap();
        loss_sum += part * weights[from..to].iter().sum::<f64>();
        for (sum, g) in sum.iter_mut().zip(run.model.gradient()) {
            *sum += g;
        }
    }
    assert!((loss_sum / total - mean).abs() < 1e-12);
    for (sum, whole) in sum.iter().zip(&whole) {
        assert!((sum - whole).abs() < 1e-13, "{sum} is not {whole}");
    }
    assert_eq!(run.session.step, 0);
}

#[test]
fn settings_change_between_steps() {
    let plain = network();
    let x = converted::<f32>(&Numbers(2).many(30 * 7));
    let labels = labels(30, 5);
    let data = batch(&x, 7, Targets::Classes(&labels));
    let isa = Isa::best();
    let momentum = Group {
        momentum: 0.5,
        ..Group::new(0.1)
    };
    let run = |groups: &[Group]| {
        let loss = loss("cross_entropy");
        let mut run = Training::<f32>::new(isa, &plain, &loss, Kind::Sgd, Group::new(0.1));
        for group in groups {
            run.state.set_group(0, *group).unwrap();
            run.step(&data).unwrap();
        }
        run
    };
    // A learning rate of zero changes nothing but the count.
    let still = run(&[Group::new(0.0)]);
    assert_eq!(
        words(&read(&still.model.parameters)),
        words(&converted::<f32>(&plain.parameters))
    );
    assert_eq!(still.state.rules.step_count(), 1);
    // A slot that the new settings call for is made.
    let later = run(&[Group::new(0.1), momentum, momentum]);
    assert!(later.state.slot("momentum_buffer").is_some());
    let never = run(&[Group::new(0.1), Group::new(0.1), Group::new(0.1)]);
    assert!(read(&later.model.parameters) != read(&never.model.parameters));
    // Writing into the parameters takes effect at once; a frozen predictor keeps its own.
    let predictor = Predictor::new(&later.model.network, isa, None);
    super::model::write(&later.model.parameters, &read(&never.model.parameters));
    assert_eq!(
        words(&later.model.predict(isa, &x, 30)),
        words(&never.model.predict(isa, &x, 30))
    );
    let frozen = predict_frozen(&predictor, &x, 30);
    assert!(words(&frozen) != words(&later.model.predict(isa, &x, 30)));
}

#[test]
fn sessions_and_batches_that_do_not_fit_are_refused() {
    let plain = network();
    let x = vec![0.5f32; 3 * 7];
    let group = Group::new(0.1);
    let mut run = Training::<f32>::new(
        Isa::best(),
        &plain,
        &loss("cross_entropy"),
        Kind::Adam,
        group,
    );
    let before = run.reached();
    let mut refused = |data: Batch<'_, f32>, message: &str| {
        for outcome in [run.step(&data), run.gradients(&data)] {
            match outcome {
                Err(Error::Value(got)) => assert_eq!(got, message),
                other => panic!("{other:?}"),
            }
        }
        assert!(run.reached() == before);
        assert!(run.model.gradient().iter().all(|&g| g == 0.0));
    };
    refused(
        batch(&[], 7, Targets::Classes(&[])),
        "the batch is empty; the mean loss of no rows is undefined",
    );
    refused(
        batch(&x, 7, Targets::Classes(&[0, 5, 1])),
        "target[1] is 5; expected a class number from 0 to 4 (pred has 5 columns)",
    );
    refused(
        batch(&x, 7, Targets::Classes(&[0, 1, -1])),
        "target[2] is -1; expected a class number from 0 to 4 (pred has 5 columns)",
    );
    let weighted = |weights| Batch {
        sample_weight: Some(weights),
        ..batch(&x, 7, Targets::Classes(&[0, 1, 2]))
    };
    refused(
        weighted(&[1.0, -1.0, 1.0]),
        "sample_weight[1] is -1; expected a finite number of at least 0",
    );
    refused(
        weighted(&[1.0, 1.0, f64::NAN]),
        "sample_weight[2] is NaN; expected a finite number of at least 0",
    );
    refused(
        weighted(&[0.0; 3]),
        "the weights of the batch's 3 rows (sample_weight times class_weight) sum to 0; expected a finite number above 0",
    );
    let session = |plain: &Plain, options| {
        let model = Model::<f32>::new(plain);
        Session::new(model.network, loss("mse"), options, 0).err()
    };
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let norm = Options {
            clip_norm: Some(bad),
            ..Options::default()
        };
        let value = Options {
            clip_value: Some(bad),
            ..Options::default()
        };
        for (name, options) in [("clip_grad_norm", norm), ("clip_grad_value", value)] {
            let message = format!("{name} is {bad}; expected a finite number above 0");
            assert_eq!(session(&plain, options), Some(Error::Value(message)));
        }
    }
    let none = Plain::new(3, &[linear(0)], 0);
    let message = "pred has 0 columns; a loss needs at least one";
    assert_eq!(
        session(&none, Options::default()),
        Some(Error::Value(message.into()))
    );
}

/// What steps have found is there for the next session and a larger batch, not for another number of threads.
#[test]
fn what_was_found_outlives_a_session() {
    let plain = Plain::new(300, &[linear(256), linear(1)], 1);
    let x = converted::<f32>(&Numbers(2).many(300 * 300));
    let y = vec![0.5; 300];
    let loss = loss("mse");
    let mut run = Training::<f32>::new(Isa::best(), &plain, &loss, Kind::Sgd, Group::new(0.01));
    let mut train = |rows: usize, threads| {
        with_threads(threads, || {
            let targets = Targets::Dense(Source::rows(&y[..rows], 1));
            run.step(&batch(&x[..rows * 300], 300, targets)).unwrap();
            let network = run.model.network.clone();
            run.session =
                Session::new(network.clone(), loss.clone(), Options::default(), 11).unwrap();
            network.train_space().unwrap().ways.members
        })
    };
    assert_eq!(train(200, 2), 2);
    assert_eq!(train(300, 2), 2);
    assert_eq!(train(300, 1), 1);
}
