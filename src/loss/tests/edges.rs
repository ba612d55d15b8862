//! Padding, weights of zero, kinks, and numbers that are none.

use super::{bits, cases, losses};
use crate::gemm::PANEL;
use crate::loss::*;
use crate::simd::{Element, Isa, Kernel, Simd};

struct OnePanel<'a, T> {
    loss: &'a Prepared<T>,
    outputs: usize,
    z: &'a [T],
    targets: PanelTargets<'a, T>,
    factors: [T; PANEL],
    losses: &'a mut [T],
    dz: Option<&'a mut [T]>,
}

impl<T: Element> Kernel for OnePanel<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        panel(
            simd,
            self.loss,
            self.outputs,
            self.z,
            self.targets,
            &self.factors,
            self.losses,
            self.dz,
        );
    }
}

/// Rows in a panel, garbage in the others.
fn panel_of(outputs: usize, rows: &[f64], garbage: f64) -> Vec<f64> {
    let mut panel = vec![garbage; outputs * PANEL];
    for (r, row) in rows.chunks(outputs).enumerate() {
        for (j, &x) in row.iter().enumerate() {
            panel[j * PANEL + r] = x;
        }
    }
    panel
}

/// Value and gradient of arrays.
fn run(
    isa: Isa,
    loss: &Loss,
    outputs: usize,
    pred: &[f64],
    targets: Targets<'_, f64>,
    weights: Option<&[f64]>,
    reduction: Reduction,
) -> (Vec<f64>, Vec<f64>) {
    let rows = pred.len() / outputs;
    let mut out = vec![f64::NAN; pred.len()];
    let value = value_and_gradient(
        isa, loss, rows, outputs, pred, targets, weights, reduction, &mut out,
    );
    match value.unwrap() {
        Value::Scalar(value) => (vec![value], out),
        Value::Rows(rows) => (rows, out),
    }
}

fn each(
    loss: &Loss,
    outputs: usize,
    pred: &[f64],
    targets: Targets<'_, f64>,
) -> (Vec<f64>, Vec<f64>) {
    run(
        Isa::best(),
        loss,
        outputs,
        pred,
        targets,
        None,
        Reduction::None,
    )
}

fn simple(kind: &str) -> Loss {
    Loss::new(kind, 0.0, None, None).unwrap()
}

#[test]
fn padding_touches_no_row_and_gets_no_gradient() {
    for (rows, outputs) in [(1, 1), (5, 3), (15, 10)] {
        for case in cases(rows, outputs) {
            let loss = case.loss.prepare::<f64>(outputs).unwrap();
            let mut factors = [0.0; PANEL];
            factors[..rows].fill(0.25);
            let mut seen = None;
            for isa in Isa::tested() {
                for garbage in [0.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let z = panel_of(outputs, &case.pred, garbage);
                    let t = panel_of(outputs, &case.dense, garbage);
                    let targets = match &case.labels {
                        Some(labels) => PanelTargets::Classes(labels),
                        None => PanelTargets::Dense(&t),
                    };
                    let (mut losses, mut alone) = ([f64::NAN; PANEL], [f64::NAN; PANEL]);
                    let mut dz = vec![f64::NAN; z.len()];
                    let pass = |losses, dz| OnePanel {
                        loss: &loss,
                        outputs,
                        z: &z,
                        targets,
                        factors,
                        losses,
                        dz,
                    };
                    isa.run(pass(&mut losses[..], Some(&mut dz)));
                    isa.run(pass(&mut alone[..], None));
                    assert_eq!(bits(&losses[..rows]), bits(&alone[..rows]));
                    for feature in dz.chunks(PANEL) {
                        assert!(feature[..rows].iter().all(|g| g.is_finite()));
                        assert_eq!(bits(&feature[rows..]), vec![0; PANEL - rows]);
                    }
                    let these = (bits(&losses[..rows]), bits(&dz));
                    assert!(
                        *seen.get_or_insert_with(|| these.clone()) == these,
                        "{:?}",
                        case.loss
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_alone_has_the_bits_it_has_in_a_batch() {
    for case in cases(40, 10).iter().chain(&cases(40, 1)) {
        let outputs = case.outputs;
        let targets = |rows: std::ops::Range<usize>| match &case.labels {
            Some(labels) => Targets::Classes(&labels[rows]),
            None => Targets::Dense(&case.dense[rows.start * outputs..rows.end * outputs]),
        };
        let (together, gradient) = each(&case.loss, outputs, &case.pred, targets(0..40));
        for r in 0..40 {
            let row = r * outputs..(r + 1) * outputs;
            let (alone, own) = each(
                &case.loss,
                outputs,
                &case.pred[row.clone()],
                targets(r..r + 1),
            );
            assert_eq!(bits(&alone), bits(&together[r..r + 1]));
            assert_eq!(bits(&own), bits(&gradient[row]));
        }
    }
}

#[test]
fn every_number_of_rows_gives_the_same_rows() {
    for outputs in [1, 3, 17] {
        for case in cases(40, outputs) {
            let targets = |rows: usize| match &case.labels {
                Some(labels) => Targets::Classes(&labels[..rows]),
                None => Targets::Dense(&case.dense[..rows * outputs]),
            };
            let (all, gradient) = each(&case.loss, outputs, &case.pred, targets(40));
            for rows in 1..40 {
                let elements = rows * outputs;
                let (some, slopes) =
                    each(&case.loss, outputs, &case.pred[..elements], targets(rows));
                assert_eq!(bits(&some), bits(&all[..rows]));
                assert_eq!(bits(&slopes), bits(&gradient[..elements]));
            }
        }
    }
}

#[test]
fn panels_may_be_shared_out() {
    let (rows, outputs) = (40, 10);
    for case in cases(rows, outputs) {
        let loss = case.loss.prepare::<f64>(outputs).unwrap();
        let pass = Pass {
            loss: &loss,
            rows,
            outputs,
            pred: &case.pred,
            targets: match &case.labels {
                Some(labels) => Targets::Classes(labels),
                None => Targets::Dense(&case.dense),
            },
            weights: Some(&case.weights),
            divisor: 7.0,
        };
        let run = |range: std::ops::Range<usize>, losses: &mut [f64], gradient: &mut [f64]| {
            Isa::best().run(Panels {
                pass: &pass,
                range,
                losses,
                gradient: Some(gradient),
                value: true,
                scratch: &mut vec![f64::NAN; Panels::<f64>::scratch_len(outputs)],
            });
        };
        let (mut losses, mut gradient) = (vec![0.0; rows], vec![0.0; rows * outputs]);
        run(0..3, &mut losses, &mut gradient);
        let (mut parts, mut slopes) = (vec![0.0; rows], vec![0.0; rows * outputs]);
        for range in [1..3, 0..1] {
            let end = rows.min(range.end * PANEL);
            let own = range.start * PANEL..end;
            let elements = own.start * outputs..own.end * outputs;
            run(range, &mut parts[own], &mut slopes[elements]);
        }
        assert_eq!(bits(&losses), bits(&parts));
        assert_eq!(bits(&gradient), bits(&slopes));
    }
}

#[test]
fn a_row_of_weight_zero_may_hold_anything() {
    for case in cases(17, 3) {
        let mut weights = vec![2.0; 17];
        (weights[0], weights[16]) = (0.0, 0.0);
        let targets = match &case.labels {
            Some(labels) => Targets::Classes(labels),
            None => Targets::Dense(&case.dense),
        };
        let mut pred = case.pred.clone();
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
            let run = |pred: &[f64]| {
                run(
                    Isa::best(),
                    &case.loss,
                    3,
                    pred,
                    targets,
                    Some(&weights),
                    reduction,
                )
            };
            let (value, gradient) = run(&case.pred);
            pred[1] = f64::NAN;
            pred[50] = f64::NAN;
            let (same, also) = run(&pred);
            assert_eq!(bits(&value), bits(&same));
            assert_eq!(bits(&gradient), bits(&also));
            assert_eq!(bits(&also[..3]), [0; 3]);
        }
    }
}

#[test]
fn nan_spoils_its_row_alone() {
    for loss in losses() {
        for case in cases(18, 4).into_iter().filter(|case| case.loss == loss) {
            let targets = match &case.labels {
                Some(labels) => Targets::Classes(labels),
                None => Targets::Dense(&case.dense),
            };
            let (want, slope) = each(&loss, 4, &case.pred, targets);
            let mut pred = case.pred.clone();
            // The label's own score is the only one that the negative log-likelihood looks at.
            let spoilt = 4 * 5 + case.labels.as_ref().map_or(2, |labels| labels[5] as usize);
            pred[spoilt] = f64::NAN;
            for isa in Isa::tested() {
                let (got, gradient) = run(isa, &loss, 4, &pred, targets, None, Reduction::None);
                for r in 0..18 {
                    let row = 4 * r..4 * r + 4;
                    if r == 5 {
                        assert!(got[r].is_nan(), "{loss:?}");
                    } else {
                        assert_eq!(got[r].to_bits(), want[r].to_bits());
                        assert_eq!(bits(&gradient[row.clone()]), bits(&slope[row]));
                    }
                }
            }
        }
    }
}

#[test]
fn a_rival_that_is_nan_makes_the_margin_nan() {
    for kind in ["hinge", "perceptron"] {
        for bad in 1..4 {
            let mut pred = vec![9.0, 1.0, 2.0, 3.0];
            pred[bad] = f64::NAN;
            let (loss, _) = each(&simple(kind), 4, &pred, Targets::Classes(&[0]));
            assert!(loss[0].is_nan());
        }
    }
}

#[test]
fn what_would_be_subnormal_is_zero() {
    let gaps: Vec<f64> = (0..64).map(f64::from).map(|i| 690.0 + i).collect();
    let pairs: Vec<f64> = gaps.iter().flat_map(|gap| [0.0, -gap]).collect();
    let singles: Vec<f64> = gaps.iter().map(|gap| -gap).collect();
    let (first, zeros) = (vec![0; gaps.len()], vec![0.0; gaps.len()]);
    let one_hot: Vec<f64> = gaps.iter().flat_map(|_| [1.0, 0.0]).collect();
    for isa in Isa::tested() {
        for (kind, outputs, pred, targets) in [
            ("cross_entropy", 2, &pairs, Targets::Classes(&first)),
            ("cross_entropy", 2, &pairs, Targets::Dense(&one_hot)),
            ("bce_with_logits", 1, &singles, Targets::Dense(&zeros)),
        ] {
            for (reduction, share) in [(Reduction::None, 1.0), (Reduction::Mean, 1.0 / 64.0)] {
                let loss = simple(kind);
                let (value, gradient) = run(isa, &loss, outputs, pred, targets, None, reduction);
                assert!(value.iter().all(|value| !value.is_subnormal()));
                for (row, gap) in gradient.chunks(outputs).zip(&gaps) {
                    let (slope, want) = (row[outputs - 1], (-gap).exp() * share);
                    if want.is_normal() {
                        assert!(
                            (slope / want - 1.0).abs() < 1e-12,
                            "{kind} {gap}: {slope:e}"
                        );
                    } else if kind == "cross_entropy" {
                        assert_eq!(slope, 0.0, "{kind} {gap}");
                    }
                }
            }
        }
    }
}

#[test]
fn scores_far_apart_stay_finite() {
    let infinity = f64::INFINITY;
    let pred = [1e4, -1e4, 0.0, -1e4, 1e4, 0.0, 1.0, -infinity, 1.0];
    let one_hot = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let loss = simple("cross_entropy");
    for isa in Isa::tested() {
        for targets in [Targets::Classes(&[0, 0, 2]), Targets::Dense(&one_hot)] {
            let (value, gradient) = run(isa, &loss, 3, &pred, targets, None, Reduction::None);
            assert_eq!(value[..2], [0.0, 2e4]);
            assert!((value[2] - 2f64.ln()).abs() < 1e-15);
            assert_eq!(gradient[..6], [0.0, 0.0, 0.0, -1.0, 1.0, 0.0]);
            assert_eq!(gradient[6..], [0.5, 0.0, -0.5]);
        }
        let (value, gradient) = run(
            isa,
            &simple("bce_with_logits"),
            1,
            &[1e4, -1e4, 1e4, -1e4],
            Targets::Dense(&[1.0, 0.0, 0.0, 1.0]),
            None,
            Reduction::None,
        );
        assert_eq!(value, [0.0, 0.0, 1e4, 1e4]);
        assert_eq!(gradient, [0.0, 0.0, 1.0, -1.0]);
    }
}

#[test]
fn one_hot_rows_have_the_bits_of_class_numbers() {
    for parameter in [0.0, 0.1] {
        for outputs in [1, 2, 10, 17] {
            let loss = Loss::new("cross_entropy", parameter, None, None).unwrap();
            let case = super::Case::new(&loss, 20, outputs, true);
            let labels = case.labels.as_ref().unwrap();
            let mut one_hot = vec![0.0; 20 * outputs];
            for (row, &label) in one_hot.chunks_mut(outputs).zip(labels) {
                row[label as usize] = 1.0;
            }
            let by_number = each(&loss, outputs, &case.pred, Targets::Classes(labels));
            let by_row = each(&loss, outputs, &case.pred, Targets::Dense(&one_hot));
            assert_eq!(bits(&by_number.0), bits(&by_row.0));
            assert_eq!(bits(&by_number.1), bits(&by_row.1));
        }
    }
}

#[test]
fn smoothed_labels_of_a_class_of_weight_zero_do_as_in_torch() {
    // torch: Σ over rows of (1 − ε)·w_y·nll_y + ε/C · Σ w_c·nll_c, over Σ w_y.
    let loss = Loss::new("cross_entropy", 0.2, Some(vec![0.0, 2.0]), None).unwrap();
    let pred = [0.0, 1.0, 0.5, 0.5];
    let (value, _) = run(
        Isa::best(),
        &loss,
        2,
        &pred,
        Targets::Classes(&[0, 1]),
        None,
        Reduction::Mean,
    );
    let first = -(1.0 - (1.0 + 1f64.exp()).ln());
    let want = (0.1 * 2.0 * first + 0.9 * 2.0 * 2f64.ln()) / 2.0;
    assert!((value[0] - want).abs() < 1e-15);
}

#[test]
fn kinks_have_the_subgradients_they_state() {
    let slopes = |loss: &Loss, z: &[f64], t: &[f64]| each(loss, 1, z, Targets::Dense(t));
    let (value, slope) = slopes(&simple("l1"), &[1.0, 2.0, 0.0], &[1.0, 1.0, 1.0]);
    assert_eq!((value, slope), (vec![0.0, 1.0, 1.0], vec![0.0, 1.0, -1.0]));
    let huber = Loss::new("huber", 2.0, None, None).unwrap();
    let (value, slope) = slopes(&huber, &[2.0, -2.0, 3.0, 1.0], &[0.0; 4]);
    assert_eq!(value, [2.0, 2.0, 4.0, 0.5]);
    assert_eq!(slope, [2.0, -2.0, 2.0, 1.0]);
    for t in [[1.0, -1.0], [1.0, 0.0]] {
        let (value, slope) = slopes(&simple("hinge"), &[1.0, -1.0], &t);
        assert_eq!((value, slope), (vec![0.0; 2], vec![-1.0, 1.0]));
        let (value, slope) = slopes(&simple("perceptron"), &[0.0, 0.0], &t);
        assert_eq!((value, slope), (vec![0.0; 2], vec![-1.0, 1.0]));
        let (value, slope) = slopes(&simple("perceptron"), &[0.5, -0.5], &t);
        assert_eq!((value, slope), (vec![0.0; 2], vec![0.0; 2]));
    }
    // Of rivals alike the first one counts.
    let many = each(
        &simple("hinge"),
        3,
        &[1.0, 0.0, 0.0],
        Targets::Classes(&[0]),
    );
    assert_eq!(many, (vec![0.0], vec![-1.0, 1.0, 0.0]));
    let many = each(&simple("perceptron"), 3, &[0.0; 3], Targets::Classes(&[2]));
    assert_eq!(many, (vec![0.0], vec![1.0, 0.0, -1.0]));
}

#[test]
fn probabilities_of_zero_and_one_do_as_in_torch() {
    let targets = Targets::Dense(&[1.0, 0.0, 0.0, 1.0]);
    let (value, slope) = each(&simple("bce"), 1, &[1.0, 0.0, 1.0, 0.0], targets);
    assert_eq!(value, [0.0, 0.0, 100.0, 100.0]);
    let steep = 1.0 / 1e-12;
    assert_eq!(slope, [0.0, 0.0, steep, -steep]);
}
