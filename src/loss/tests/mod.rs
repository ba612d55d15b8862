mod edges;
mod settings;

use super::*;
use crate::simd::{Element, Isa};

/// An independent loss of one row in float64, of classes or of numbers for the outputs.
fn reference(loss: &Loss, z: &[f64], class: Option<usize>, t: &[f64]) -> f64 {
    let n = z.len() as f64;
    let mean = |f: &dyn Fn(usize) -> f64| (0..z.len()).map(f).sum::<f64>() / n;
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_p = |j: usize| z[j] - max - z.iter().map(|v| (v - max).exp()).sum::<f64>().ln();
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let margin = if loss.kind == LossKind::Hinge {
        1.0
    } else {
        0.0
    };
    match loss.kind {
        LossKind::Mse => mean(&|j| (z[j] - t[j]).powi(2)),
        LossKind::L1 => mean(&|j| (z[j] - t[j]).abs()),
        LossKind::Huber { delta } => mean(&|j| {
            let d = (z[j] - t[j]).abs();
            if d <= delta {
                d * d / 2.0
            } else {
                delta * (d - delta / 2.0)
            }
        }),
        LossKind::Bce => {
            mean(&|j| -t[j] * z[j].ln().max(-100.0) - (1.0 - t[j]) * (1.0 - z[j]).ln().max(-100.0))
        }
        LossKind::BceWithLogits => mean(&|j| {
            let p = loss.pos_weight.as_ref().map_or(1.0, |p| p[j % p.len()]);
            -p * t[j] * sigmoid(z[j]).ln() - (1.0 - t[j]) * sigmoid(-z[j]).ln()
        }),
        LossKind::Nll => -z[class.unwrap()],
        LossKind::CrossEntropy { label_smoothing: s } => (0..z.len())
            .map(|j| {
                let one_hot = |c| f64::from(u8::from(c == j));
                let share = class.map_or_else(|| t[j], one_hot);
                let q = (1.0 - s) * share + s / n;
                let inside = class.is_none() || s > 0.0;
                let w = loss.class_weight.as_ref().map_or(1.0, |w| w[j]);
                -q * if inside { w } else { 1.0 } * log_p(j)
            })
            .sum(),
        LossKind::Hinge | LossKind::Perceptron => match class {
            Some(y) => {
                let rivals = (0..z.len()).filter(|&j| j != y).map(|j| z[j]);
                let best = rivals.fold(f64::NEG_INFINITY, f64::max);
                (margin - z[y] + best).max(0.0)
            }
            None => {
                let s = if t[0] > 0.0 { 1.0 } else { -1.0 };
                (margin - s * z[0]).max(0.0)
            }
        },
    }
}

/// Numbers between −1 and 1 that look random.
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    fn next(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / 2f64.powi(52) - 1.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
}

/// A batch for a loss: predictions, labels or dense targets, sample weights.
struct Case {
    loss: Loss,
    rows: usize,
    outputs: usize,
    pred: Vec<f64>,
    labels: Option<Vec<i64>>,
    dense: Vec<f64>,
    weights: Vec<f64>,
}

impl Case {
    fn new(loss: &Loss, rows: usize, outputs: usize, classes: bool) -> Self {
        let mut numbers = Numbers((rows * 1000 + outputs) as u64);
        let mut pred: Vec<f64> = (0..rows * outputs).map(|_| 3.0 * numbers.next()).collect();
        let mut dense: Vec<f64> = (0..rows * outputs).map(|_| numbers.next()).collect();
        match loss.kind {
            LossKind::Bce => {
                pred.iter_mut()
                    .for_each(|p| *p = (*p / 6.0 + 0.5).clamp(0.01, 0.99));
                dense.iter_mut().for_each(|t| *t = *t / 2.0 + 0.5);
            }
            LossKind::BceWithLogits => dense.iter_mut().for_each(|t| *t = f64::from(*t > 0.0)),
            LossKind::Hinge | LossKind::Perceptron => {
                dense.iter_mut().for_each(|t| *t = t.signum())
            }
            LossKind::CrossEntropy { .. } => {
                for row in dense.chunks_mut(outputs) {
                    let sum: f64 = row.iter().map(|t| t.abs()).sum();
                    row.iter_mut().for_each(|t| *t = t.abs() / sum);
                }
            }
            _ => {}
        }
        // Numbers that float32 holds, so that both types see the same.
        for x in pred.iter_mut().chain(&mut dense) {
            *x = f64::from(*x as f32);
        }
        let labels = (0..rows).map(|_| numbers.below(outputs) as i64).collect();
        let weights = (0..rows).map(|r| {
            if r % 7 == 3 {
                0.0
            } else {
                1.25 + numbers.next()
            }
        });
        Case {
            loss: loss.clone(),
            rows,
            outputs,
            pred,
            labels: classes.then_some(labels),
            dense,
            weights: weights.collect(),
        }
    }

    /// Each row's factor (its weight and that of its class) and loss; Σ wᵢcᵢ.
    fn expected(&self, pred: &[f64], weighted: bool) -> (Vec<(f64, f64)>, f64) {
        let mut total = 0.0;
        let rows = (0..self.rows).map(|r| {
            let range = r * self.outputs..(r + 1) * self.outputs;
            let class = self.labels.as_ref().map(|labels| labels[r] as usize);
            let loss = reference(&self.loss, &pred[range.clone()], class, &self.dense[range]);
            let w = if weighted { self.weights[r] } else { 1.0 };
            let c = match (class, &self.loss.class_weight) {
                (Some(y), Some(weights)) => weights[y],
                _ => 1.0,
            };
            total += w * c;
            let smoothed = matches!(self.loss.kind, LossKind::CrossEntropy { label_smoothing } if label_smoothing > 0.0);
            (if smoothed { w } else { w * c }, loss)
        });
        let rows = rows.collect();
        (rows, total)
    }

    fn mean(&self, pred: &[f64], weighted: bool) -> f64 {
        let (rows, total) = self.expected(pred, weighted);
        rows.iter().map(|(w, l)| w * l).sum::<f64>() / total
    }

    fn run<T: Element>(
        &self,
        isa: Isa,
        weighted: bool,
        reduction: Reduction,
    ) -> (Value<T>, Vec<T>) {
        let convert = |x: &[f64]| x.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>();
        let (pred, dense) = (convert(&self.pred), convert(&self.dense));
        let targets = match &self.labels {
            Some(labels) => Targets::Classes(labels),
            None => Targets::Dense(&dense),
        };
        let weights = weighted.then_some(&self.weights[..]);
        let mut out = vec![T::from_f64(f64::NAN); pred.len()];
        let (rows, outputs) = (self.rows, self.outputs);
        let both = value_and_gradient(
            isa, &self.loss, rows, outputs, &pred, targets, weights, reduction, &mut out,
        )
        .unwrap();
        let alone = value(
            isa, &self.loss, rows, outputs, &pred, targets, weights, reduction,
        );
        match (&both, &alone.unwrap()) {
            (Value::Scalar(a), Value::Scalar(b)) => assert_eq!(a.to_bits(), b.to_bits()),
            (Value::Rows(a), Value::Rows(b)) => assert_eq!(bits(a), bits(b)),
            _ => panic!("two kinds of value"),
        }
        (both, out)
    }
}

fn bits<T: Element>(values: &[T]) -> Vec<T::Bits> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn losses() -> Vec<Loss> {
    let new = |kind: &str, parameter| Loss::new(kind, parameter, None, None).unwrap();
    vec![
        new("mse", 0.0),
        new("l1", 0.0),
        new("huber", 0.7),
        new("bce", 0.0),
        new("bce_with_logits", 0.0),
        Loss::new("bce_with_logits", 0.0, None, Some(vec![2.5])).unwrap(),
        new("nll", 0.0),
        new("cross_entropy", 0.0),
        new("cross_entropy", 0.1),
        new("hinge", 0.0),
        new("perceptron", 0.0),
    ]
}

/// Every loss at every form of target it takes, some with class weights.
fn cases(rows: usize, outputs: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for loss in losses() {
        let mut variants = vec![loss.clone()];
        if loss.takes_classes(outputs) {
            let weights = (0..outputs).map(|j| 0.5 + j as f64 % 3.0).collect();
            variants.push(Loss {
                class_weight: Some(weights),
                ..loss.clone()
            });
        }
        if loss.kind == LossKind::BceWithLogits && loss.pos_weight.is_none() {
            let weights = (0..outputs).map(|j| 0.25 + j as f64 % 4.0).collect();
            variants.push(Loss {
                pos_weight: Some(weights),
                ..loss.clone()
            });
        }
        for loss in variants {
            if loss.takes_classes(outputs) {
                cases.push(Case::new(&loss, rows, outputs, true));
            }
            if loss.takes_dense(outputs) {
                cases.push(Case::new(&loss, rows, outputs, false));
            }
        }
    }
    cases
}

fn near(got: f64, want: f64, tolerance: f64, what: &Case) {
    let bound = tolerance * (1.0 + want.abs());
    assert!(
        (got - want).abs() <= bound,
        "{:?} {}x{} classes: {}: {got} is not {want}",
        what.loss,
        what.rows,
        what.outputs,
        what.labels.is_some()
    );
}

fn check_against_reference<T: Element>(tolerance: f64) {
    for (rows, outputs) in SIZES {
        for case in cases(rows, outputs) {
            let mut seen = None;
            for isa in Isa::tested() {
                for weighted in [false, true] {
                    let (each, total) = case.expected(&case.pred, weighted);
                    let (Value::Scalar(mean), _) = case.run::<T>(isa, weighted, Reduction::Mean)
                    else {
                        panic!("a mean is one number")
                    };
                    let (Value::Scalar(sum), _) = case.run::<T>(isa, weighted, Reduction::Sum)
                    else {
                        panic!("a sum is one number")
                    };
                    let (Value::Rows(rows), _) = case.run::<T>(isa, weighted, Reduction::None)
                    else {
                        panic!("every row has a loss")
                    };
                    let want: f64 = each.iter().map(|(w, l)| w * l).sum();
                    near(mean, want / total, tolerance, &case);
                    near(sum / total, want / total, tolerance, &case);
                    for (got, (w, l)) in rows.iter().zip(each) {
                        near(got.to_f64(), w * l, tolerance, &case);
                    }
                }
                let (value, gradient) = case.run::<T>(isa, true, Reduction::Mean);
                let Value::Scalar(value) = value else {
                    panic!("a mean is one number")
                };
                let these = (value.to_bits(), bits(&gradient));
                let first = seen.get_or_insert_with(|| these.clone());
                assert!(*first == these, "{:?} on {isa:?}", case.loss);
            }
        }
    }
}

const SIZES: [(usize, usize); 12] = [
    (1, 1),
    (1, 10),
    (2, 2),
    (5, 3),
    (15, 10),
    (16, 1),
    (16, 16),
    (17, 17),
    (31, 2),
    (33, 33),
    (40, 1),
    (40, 10),
];

#[test]
fn float64_losses_agree_with_scalar_loops() {
    check_against_reference::<f64>(1e-13);
}

#[test]
fn float32_losses_agree_with_scalar_loops() {
    check_against_reference::<f32>(2e-6);
}

#[test]
fn gradients_agree_with_central_differences() {
    for (rows, outputs) in SIZES {
        for case in cases(rows, outputs) {
            for weighted in [false, true] {
                let (_, gradient) = case.run::<f64>(Isa::best(), weighted, Reduction::Mean);
                let mut difference = vec![0.0; gradient.len()];
                for i in 0..gradient.len() {
                    let step = 1e-6;
                    let mut moved = case.pred.clone();
                    moved[i] += step;
                    let above = case.mean(&moved, weighted);
                    moved[i] -= 2.0 * step;
                    let below = case.mean(&moved, weighted);
                    difference[i] = (above - below) / (2.0 * step);
                }
                let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
                let error = norm(&mut gradient.iter().zip(&difference).map(|(a, b)| a - b));
                let size = norm(&mut difference.iter().copied());
                assert!(
                    error <= 1e-6 * size + 1e-9,
                    "{:?} {rows}x{outputs} {}: {error} of {size}",
                    case.loss,
                    case.labels.is_some()
                );
            }
        }
    }
}
