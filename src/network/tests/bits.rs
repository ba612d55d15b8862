//! The same bits on every instruction set, and as they were when they were committed.

use super::golden::GOLDEN;
use super::model::{Hash, Model, Training, batch, converted, loss, predict_frozen, words};
use super::plain::{Numbers, Part, Plain, linear, linear_without_bias};
use super::steps::optimisers;
use crate::activation;
use crate::activation::Activation::{Gelu, Relu, Tanh};
use crate::activation::tests::ALL;
use crate::gemm::pack::Source;
use crate::loss::{self, Loss, Reduction, Value};
use crate::network::{Batch, Options, Rowwise, Targets};
use crate::optim::{Group, Kind};
use crate::predictor::Predictor;
use crate::random::{DropoutMask, Purpose, Stream, normal, orthogonal, permutation, uniform};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::softmax;
use Part::{Act, Dropout, Row, Scale};

/// Name and hash of each result.
type Hashes = Vec<(String, u64)>;

pub const STEPS: usize = 50;

fn named<T: Element>(name: &str) -> String {
    format!("{name} {}", T::NAME)
}

fn inits<T: Element>(isa: Isa, hashes: &mut Hashes) {
    let stream = |layer| Stream::new(7, Purpose::Init, 0, layer);
    let mut values = vec![T::ZERO; 33 * 21];
    uniform(stream(0), 21, -0.3, 0.7, &mut values).unwrap();
    hashes.push((named::<T>("init uniform"), Hash::of(&values)));
    normal(isa, stream(1), 21, 0.1, 2.0, &mut values).unwrap();
    hashes.push((named::<T>("init normal"), Hash::of(&values)));
    let mut hash = Hash::new();
    for (rows, columns) in [(33, 21), (21, 33)] {
        orthogonal(isa, stream(2), rows, columns, &mut values).unwrap();
        hash.values(&values);
    }
    hashes.push((named::<T>("init orthogonal"), hash.0));
}

struct Masks<'a>(DropoutMask, usize, &'a mut [u16]);

impl Kernel for Masks<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.rows(simd, self.1, 0, self.2);
    }
}

fn draws(isa: Isa, hashes: &mut Hashes) {
    for p in [0.1, 0.25, 0.5, 0.9] {
        let mut hash = Hash::new();
        for first_row in [0, 16, 37] {
            let mut masks = [0u16; 100];
            isa.run(Masks(DropoutMask::new(3, 4, 5, p), first_row, &mut masks));
            masks.iter().for_each(|&mask| hash.add(u64::from(mask)));
        }
        hashes.push((format!("dropout masks {p}"), hash.0));
    }
    for (name, purpose) in [("shuffle", Purpose::Shuffle), ("split", Purpose::Split)] {
        let mut hash = Hash::new();
        for (step, n) in [(0, 10), (1, 1000), (2, 70_000)] {
            let order = permutation(isa, Stream::new(9, purpose, step, 0), n).unwrap();
            order.iter().for_each(|&row| hash.add(u64::from(row)));
        }
        hashes.push((name.into(), hash.0));
    }
}

/// Numbers of all sizes and signs, and what is none.
fn points<T: Element>() -> Vec<T> {
    let mut points = vec![
        0.0,
        -0.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e-310,
        -1e-40,
        1e-39,
        3e38,
        -1e300,
    ];
    points.extend((-900..900).map(|i| f64::from(i) * 0.0173));
    let mut size = 1e-20;
    for _ in 0..600 {
        size *= -1.17;
        points.push(size);
    }
    converted(&points)
}

fn activations<T: Element>(isa: Isa, hashes: &mut Hashes) {
    let x = points::<T>();
    let dout = converted::<T>(&Numbers(4).many(x.len()));
    for activation in ALL {
        let (mut out, mut dx) = (x.clone(), x.clone());
        isa.run(activation::Forward {
            activation,
            x: &x,
            out: &mut out,
        });
        hashes.push((named::<T>(&format!("{activation:?}")), Hash::of(&out)));
        isa.run(activation::Backward {
            activation,
            dout: &dout,
            x: &x,
            out: &mut dx,
        });
        let name = named::<T>(&format!("{activation:?} backward"));
        hashes.push((name, Hash::of(&dx)));
    }
}

fn softmaxes<T: Element>(isa: Isa, hashes: &mut Hashes) {
    for (log, name) in [(false, "softmax"), (true, "log_softmax")] {
        let (mut forward, mut backward) = (Hash::new(), Hash::new());
        for outputs in [1, 3, 10, 33, 200] {
            let mut numbers = Numbers(outputs as u64);
            let x: Vec<T> = converted::<T>(&numbers.many(37 * outputs));
            let x: Vec<T> = x.iter().map(|&v| v * T::from_f64(20.0)).collect();
            let dout = converted::<T>(&numbers.many(37 * outputs));
            let mut out = x.clone();
            isa.run(softmax::Forward {
                log,
                outputs,
                x: &x,
                out: &mut out,
            });
            forward.values(&out);
            isa.run(softmax::Backward {
                log,
                outputs,
                dout: &dout,
                x: &x,
                out: &mut out,
            });
            backward.values(&out);
        }
        hashes.push((named::<T>(name), forward.0));
        hashes.push((named::<T>(&format!("{name} backward")), backward.0));
    }
}

fn losses<T: Element>(isa: Isa, hashes: &mut Hashes) {
    let weights = Some(vec![0.5, 2.0, 1.25, 0.75, 3.0]);
    let new = |kind: &str, parameter| Loss::new(kind, parameter, None, None).unwrap();
    let cases = [
        new("mse", 0.0),
        new("l1", 0.0),
        new("huber", 0.7),
        new("bce", 0.0),
        new("bce_with_logits", 0.0),
        Loss::new("bce_with_logits", 0.0, None, weights.clone()).unwrap(),
        new("nll", 0.0),
        new("cross_entropy", 0.0),
        new("cross_entropy", 0.1),
        Loss::new("cross_entropy", 0.1, weights.clone(), None).unwrap(),
        new("hinge", 0.0),
        Loss::new("perceptron", 0.0, weights, None).unwrap(),
    ];
    let (rows, outputs) = (300, 5);
    let mut numbers = Numbers(6);
    let logits = numbers.many(rows * outputs);
    let labels: Vec<i64> = (0..rows).map(|_| numbers.below(outputs) as i64).collect();
    let sample_weight: Vec<f64> = (0..rows).map(|r| (r % 5) as f64 * 0.5).collect();
    let mut shares = numbers.many(rows * outputs);
    for row in shares.chunks_mut(outputs) {
        let sum: f64 = row.iter().map(|v| v.abs()).sum();
        row.iter_mut().for_each(|v| *v = v.abs() / sum);
    }
    let shares = converted::<T>(&shares);
    for (number, loss) in cases.iter().enumerate() {
        let probabilities = loss.kind.name() == "bce";
        let place = |v: &f64| if probabilities { v.abs() } else { 4.0 * v };
        let pred: Vec<T> = logits.iter().map(|v| T::from_f64(place(v))).collect();
        let mut targets = Vec::new();
        if loss.takes_classes(outputs) {
            targets.push((loss::Targets::Classes(&labels), "classes"));
        }
        if loss.takes_dense(outputs) {
            targets.push((loss::Targets::Dense(&shares), "numbers"));
        }
        for (targets, form) in targets {
            let mut hash = Hash::new();
            for weights in [None, Some(&sample_weight[..])] {
                let mut dout = pred.clone();
                let reduction = Reduction::Mean;
                let value = loss::value_and_gradient(
                    isa, loss, rows, outputs, &pred, targets, weights, reduction, &mut dout,
                );
                match value.unwrap() {
                    Value::Scalar(mean) => hash.values(&[mean]),
                    Value::Rows(losses) => hash.values(&losses),
                }
                hash.values(&dout);
            }
            let name = format!("{} of {form}, case {number}", loss.kind.name());
            hashes.push((named::<T>(&name), hash.0));
        }
    }
}

/// A network of every kind of stage, one with interleaved chains, one deep and narrow.
fn networks() -> [(&'static str, Plain); 3] {
    let mixed = [
        Scale,
        linear(33),
        Act(Relu),
        Dropout(0.2),
        linear(17),
        Row(Rowwise::Softmax),
        linear_without_bias(20),
        Act(Gelu),
        Dropout(0.3),
        linear(6),
    ];
    let chained = [linear(257), Act(Tanh), linear(6)];
    let deep = [
        linear(15),
        Act(Relu),
        linear(14),
        Act(Relu),
        linear(13),
        Act(Relu),
        linear(6),
        Row(Rowwise::LogSoftmax),
    ];
    [
        ("mixed", Plain::new(19, &mixed, 1)),
        ("chained", Plain::new(7, &chained, 2)),
        ("deep", Plain::new(12, &deep, 3)),
    ]
}

fn passes<T: Element>(isa: Isa, hashes: &mut Hashes) {
    for (name, plain) in networks() {
        let rows = 300;
        let x = converted::<T>(&Numbers(2).many(rows * plain.inputs));
        let dout = converted::<T>(&Numbers(3).many(rows * plain.outputs));
        let model = Model::<T>::new(&plain);
        let mut push =
            |part: &str, hash| hashes.push((named::<T>(&format!("{name} {part}")), hash));
        push("forward", Hash::of(&model.forward(isa, &x, rows, (5, 9))));
        let dx = model.backward_to_input(isa, &dout, rows);
        push("dx", Hash::of(&dx));
        push("gradients", Hash::of(&model.gradient()));
        let prediction = model.predict(isa, &x, rows);
        let predictor = Predictor::new(&model.network, isa, None);
        assert!(words(&predict_frozen(&predictor, &x, rows)) == words(&prediction));
        push("prediction", Hash::of(&prediction));
    }
}

/// The hash of losses, parameters and slots after training.
pub fn trained<T: Element>(
    isa: Isa,
    plain: &Plain,
    steps: usize,
    rows: usize,
    kind: Kind,
    group: Group,
    options: Options,
) -> u64 {
    let x = converted::<T>(&Numbers(2).many(rows * plain.inputs));
    let mut numbers = Numbers(3);
    let labels: Vec<i64> = (0..rows)
        .map(|_| numbers.below(plain.outputs) as i64)
        .collect();
    let data = batch(&x, plain.inputs, Targets::Classes(&labels));
    let loss = loss("cross_entropy");
    let mut run = Training::<T>::with_options(isa, plain, &loss, kind, group, options);
    let mut hash = Hash::new();
    for _ in 0..steps {
        hash.add(run.step(&data).unwrap().to_bits());
    }
    hash.add(run.reached().hash());
    hash.0
}

fn training<T: Element>(isa: Isa, hashes: &mut Hashes) {
    let (_, plain) = &networks()[0];
    for (number, (kind, group)) in optimisers().into_iter().enumerate() {
        let name = format!("{STEPS} steps of {kind:?}, case {number}");
        let none = Options::default();
        let hash = trained::<T>(isa, plain, STEPS, 40, kind, group, none);
        hashes.push((named::<T>(&name), hash));
    }
    let options = Options {
        clip_norm: Some(0.1),
        clip_value: Some(0.03),
        keep_grad: false,
    };
    let (kind, group) = optimisers()[3];
    let hash = trained::<T>(isa, plain, STEPS, 40, kind, group, options);
    hashes.push((named::<T>("50 steps with clipping"), hash));
    // A regression with weights, picked rows, on several chunks of rows.
    let (_, plain) = &networks()[1];
    let rows = 520;
    let x = converted::<T>(&Numbers(2).many(rows * plain.inputs));
    let y = converted::<T>(&Numbers(3).many(rows * plain.outputs));
    let weights: Vec<f64> = (0..rows).map(|r| (r % 3) as f64).collect();
    let picks = permutation(isa, Stream::new(1, Purpose::Shuffle, 0, 0), rows).unwrap();
    let mut run = Training::<T>::new(isa, plain, &self::loss("mse"), kind, group);
    for _ in 0..5 {
        let picked = |source| Source {
            picks: Some(&picks[..]),
            ..source
        };
        let data = batch(&x, plain.inputs, Targets::Classes(&[]));
        let data = Batch {
            x: picked(data.x),
            targets: Targets::Dense(picked(Source::rows(&y, plain.outputs))),
            sample_weight: Some(&weights),
            picks: Some(&picks),
            ..data
        };
        run.step(&data).unwrap();
    }
    hashes.push((named::<T>("steps over picked rows"), run.reached().hash()));
    // Layers of one and two outputs, whose weights' gradients have tiles of their own.
    let stages = [linear(2), Act(Tanh), linear(40), Act(Relu), linear(1)];
    let narrow = Plain::new(300, &stages, 4);
    let mut run = Training::<T>::new(isa, &narrow, &self::loss("mse"), kind, group);
    let x = converted::<T>(&Numbers(2).many(40 * 300));
    let y = converted::<T>(&Numbers(3).many(40));
    for _ in 0..5 {
        run.step(&batch(&x, 300, Targets::Dense(Source::rows(&y, 1))))
            .unwrap();
    }
    hashes.push((named::<T>("steps of narrow layers"), run.reached().hash()));
}

fn hashes(isa: Isa) -> Hashes {
    let mut hashes = Vec::new();
    inits::<f32>(isa, &mut hashes);
    inits::<f64>(isa, &mut hashes);
    draws(isa, &mut hashes);
    activations::<f32>(isa, &mut hashes);
    activations::<f64>(isa, &mut hashes);
    softmaxes::<f32>(isa, &mut hashes);
    softmaxes::<f64>(isa, &mut hashes);
    losses::<f32>(isa, &mut hashes);
    losses::<f64>(isa, &mut hashes);
    passes::<f32>(isa, &mut hashes);
    passes::<f64>(isa, &mut hashes);
    training::<f32>(isa, &mut hashes);
    training::<f64>(isa, &mut hashes);
    hashes
}

/// What to do about hashes that are not those committed.
fn complain(isa: Isa, found: &Hashes, committed: &[(&str, u64)]) -> String {
    let mut lines = Vec::new();
    for (name, hash) in found {
        match committed.iter().find(|(known, _)| known == name) {
            Some((_, known)) if known == hash => {}
            Some((_, known)) => lines.push(format!(
                "{name} was {known:#018x}:\n    ({name:?}, {hash:#018x}),"
            )),
            None => lines.push(format!("{name} is new:\n    ({name:?}, {hash:#018x}),")),
        }
    }
    for (name, _) in committed {
        if !found.iter().any(|(known, _)| known == name) {
            lines.push(format!("{name} is gone"));
        }
    }
    format!(
        "on {isa:?} these results are not the committed ones, bit for bit:\n{}\nResults are promised to stay the same \
         on every machine and from version to version: a change of src/network/tests/golden.rs needs its reason in the \
         change that makes it.",
        lines.join("\n")
    )
}

#[test]
fn results_are_those_committed() {
    for isa in Isa::tested() {
        let found = hashes(isa);
        let same = found.len() == GOLDEN.len()
            && found
                .iter()
                .zip(GOLDEN)
                .all(|((name, hash), (known, golden))| name == known && hash == golden);
        assert!(same, "{}", complain(isa, &found, GOLDEN));
    }
}

#[test]
fn a_changed_hash_is_told_by_name() {
    let found = vec![
        ("a".to_string(), 1),
        ("b".to_string(), 2),
        ("c".to_string(), 3),
    ];
    let text = complain(Isa::best(), &found, &[("a", 1), ("b", 7), ("d", 4)]);
    assert!(text.contains("b was 0x0000000000000007:\n    (\"b\", 0x0000000000000002),"));
    assert!(text.contains("c is new") && text.contains("d is gone"));
    assert!(!text.contains("a was") && text.contains("needs its reason"));
}
