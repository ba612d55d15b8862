//! What is refused, and with which words; weights of rows.

use crate::error::Error;
use crate::loss::*;
use crate::simd::Isa;

fn says<T: std::fmt::Debug>(result: crate::error::Result<T>, words: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Value(_)), "{error:?}");
    assert!(error.message().contains(words), "{error}");
}

fn simple(kind: &str) -> Loss {
    Loss::new(kind, 0.0, None, None).unwrap()
}

#[test]
fn settings_out_of_range_are_refused() {
    says(Loss::new("mae", 0.0, None, None), "expected one of mse, l1");
    for delta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        says(Loss::new("huber", delta, None, None), "delta");
    }
    for smoothing in [-0.1, 1.0, f64::NAN] {
        says(
            Loss::new("cross_entropy", smoothing, None, None),
            "label_smoothing",
        );
    }
    let weights = |weights: &[f64]| Some(weights.to_vec());
    for bad in [
        [1.0, -1.0],
        [f64::NAN, 1.0],
        [f64::INFINITY, 1.0],
        [0.0, 0.0],
    ] {
        says(Loss::new("nll", 0.0, weights(&bad), None), "class_weight");
        says(
            Loss::new("bce_with_logits", 0.0, None, weights(&bad)),
            "pos_weight",
        );
    }
    for kind in ["mse", "l1", "bce", "bce_with_logits"] {
        says(
            Loss::new(kind, 0.0, weights(&[1.0]), None),
            "class_weight does not apply",
        );
    }
    for kind in ["mse", "bce", "cross_entropy", "hinge"] {
        says(
            Loss::new(kind, 0.0, None, weights(&[1.0])),
            "pos_weight does not apply",
        );
    }
}

#[test]
fn weights_fit_the_outputs() {
    let weighted = Loss::new("cross_entropy", 0.0, Some(vec![1.0, 2.0]), None).unwrap();
    assert!(weighted.prepare::<f32>(2).is_ok());
    says(
        weighted.prepare::<f32>(3),
        "class_weight has shape (2,); expected (3,)",
    );
    let margin = Loss::new("hinge", 0.0, Some(vec![1.0, 2.0]), None).unwrap();
    says(margin.prepare::<f32>(1), "one output");
    let positives = |w: &[f64]| Loss::new("bce_with_logits", 0.0, None, Some(w.to_vec())).unwrap();
    assert!(positives(&[2.0]).prepare::<f32>(3).is_ok());
    says(
        positives(&[2.0, 1.0]).prepare::<f32>(3),
        "pos_weight has shape (2,)",
    );
    says(simple("mse").prepare::<f32>(0), "0 columns");
    says(
        simple("nll").prepare::<f32>(1 << 25),
        "classes are supported",
    );
}

#[test]
fn labels_are_checked_by_row() {
    let loss = simple("cross_entropy");
    assert!(loss.check_labels(10, &[0, 9, 5], None).is_ok());
    let labels = [0, 1, 2, 10, -1];
    says(
        loss.check_labels(10, &labels, None),
        "target[3] is 10; expected a class number from 0 to 9 (pred has 10 columns)",
    );
    assert!(loss.check_labels(10, &labels, Some(&[2, 0, 1])).is_ok());
    says(
        loss.check_labels(10, &labels, Some(&[2, 4, 3])),
        "target[4] is -1; expected",
    );
    says(
        loss.check_labels(1, &[1], None),
        "from 0 to 0 (pred has 1 column)",
    );
    says(simple("mse").check_labels(2, &[0], None), "class numbers");
    says(simple("hinge").check_labels(1, &[0], None), "class numbers");
}

#[test]
fn dense_targets_are_checked_by_row_and_column() {
    for kind in ["bce", "bce_with_logits"] {
        let loss = simple(kind);
        assert!(loss.check_dense(2, &[0.0f32, 1.0, 0.5, 0.25]).is_ok());
        says(
            loss.check_dense(2, &[0.0, 1.0, 0.5, 1.5]),
            "target[1, 1] is 1.5; expected a number from 0 to 1",
        );
        says(loss.check_dense(1, &[0.0, f64::NAN]), "target[1] is NaN");
    }
    let loss = simple("cross_entropy");
    assert!(
        loss.check_dense(2, &[0.5f32, 0.5, 1.0, 0.0, 0.9995, 0.0])
            .is_ok()
    );
    says(
        loss.check_dense(2, &[0.5, 0.5, 1.5, -0.5]),
        "target[1, 1] is -0.5",
    );
    says(
        loss.check_dense(2, &[0.5, 0.5, 0.5, 0.4]),
        "target[1] sums to 0.9",
    );
    says(loss.check_dense(2, &[f64::NAN, 0.5]), "target[0, 0] is NaN");
    for kind in ["hinge", "perceptron"] {
        let loss = simple(kind);
        assert!(loss.check_dense(1, &[1.0, -1.0, 1.0]).is_ok());
        assert!(loss.check_dense(1, &[0.0, 1.0, 0.0]).is_ok());
        says(
            loss.check_dense(1, &[0.0, -1.0, 1.0]),
            "target[1] is -1; expected 0 or 1, as target[0] is 0",
        );
        says(loss.check_dense(1, &[1.0, 2.0]), "target[1] is 2");
        says(loss.check_dense(3, &[1.0, 0.0, 0.0]), "class number");
    }
    assert!(simple("mse").check_dense(1, &[f64::NAN]).is_ok());
    says(simple("nll").check_dense(2, &[0.5, 0.5]), "class number");
}

#[test]
fn predictions_of_bce_are_probabilities() {
    let loss = simple("bce");
    assert!(loss.check_pred(2, &[0.0, 1.0, f64::NAN, 0.5]).is_ok());
    says(
        loss.check_pred(2, &[0.0, 1.0, 0.5, 1.5]),
        "pred[1, 1] is 1.5",
    );
    says(loss.check_pred(1, &[-0.5]), "pred[0] is -0.5");
    assert!(simple("mse").check_pred(1, &[-0.5]).is_ok());
}

#[test]
fn rows_count_by_sample_and_class() {
    let loss = Loss::new("nll", 0.0, Some(vec![1.0, 3.0]), None).unwrap();
    let mut out = [0.0; 3];
    let (labels, weights) = ([0, 1, 1, 0], [1.0, 2.0, 0.0, 4.0]);
    let total = loss.row_weights(Some(&labels), Some(&[3, 1, 2]), 3, Some(&weights), &mut out);
    assert_eq!((total.unwrap(), out), (10.0, [4.0, 6.0, 0.0]));
    let total = loss.row_weights(Some(&labels), None, 3, None, &mut out);
    assert_eq!((total.unwrap(), out), (7.0, [1.0, 3.0, 3.0]));
    let total = loss.row_weights(None, Some(&[1, 1, 3]), 3, Some(&weights), &mut out);
    assert_eq!((total.unwrap(), out), (8.0, [2.0, 2.0, 4.0]));
    // Smoothed: the class weights are in the losses, and in the divisor.
    let smoothed = Loss::new("cross_entropy", 0.1, Some(vec![1.0, 3.0]), None).unwrap();
    let total = smoothed.row_weights(Some(&labels), None, 3, Some(&weights), &mut out);
    assert_eq!((total.unwrap(), out), (7.0, [1.0, 2.0, 0.0]));
    assert_eq!(loss.row_weights(None, None, 0, None, &mut []).unwrap(), 0.0);
    assert!(loss.is_weighted() && !simple("nll").is_weighted());
}

#[test]
fn rows_that_cannot_count_are_refused() {
    let loss = simple("mse");
    let mut out = [0.0; 2];
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let weights = [1.0, 1.0, bad];
        assert!(
            loss.row_weights(None, Some(&[0, 1]), 2, Some(&weights), &mut out)
                .is_ok()
        );
        says(
            loss.row_weights(None, Some(&[0, 2]), 2, Some(&weights), &mut out),
            "sample_weight[2] is",
        );
    }
    says(
        loss.row_weights(None, None, 2, Some(&[0.0, 0.0]), &mut out),
        "sum to 0",
    );
    says(
        loss.row_weights(None, None, 2, Some(&[1e308, 1e308]), &mut out),
        "sum to inf",
    );
}

#[test]
fn totals_are_joined_by_chunks() {
    // Fewer than a chunk, some chunks, whole groups of sixteen and what is left of them.
    for rows in [0, 100, 1000, 3000, 4096, 9000] {
        let losses: Vec<f32> = (0..rows).map(|i| (i as f32 * 0.37).sin().abs()).collect();
        let wide: Vec<f64> = losses.iter().map(|&l| f64::from(l)).collect();
        let weights: Vec<f64> = (0..rows).map(|i| f64::from(i as u32 % 5)).collect();
        let (mut plain, mut weighted) = (0.0, 0.0);
        for start in (0..rows).step_by(256) {
            let (mut a, mut b) = (0.0, 0.0);
            for i in start..rows.min(start + 256) {
                a += wide[i];
                b += weights[i] * wide[i];
            }
            plain += a;
            weighted += b;
        }
        for isa in Isa::tested() {
            let sum = |weights| {
                let losses = &losses[..];
                isa.run(SumLosses { losses, weights })
            };
            assert_eq!(sum(None), plain);
            assert_eq!(sum(Some(&weights[..])), weighted);
            let losses = &wide[..];
            let weights = None;
            assert_eq!(isa.run(SumLosses { losses, weights }), plain);
        }
    }
    let losses = &[f32::NAN, 2.0][..];
    let weights = Some(&[0.0, 3.0][..]);
    assert_eq!(Isa::best().run(SumLosses { losses, weights }), 6.0);
    let weights: Vec<f64> = (0..1000).map(|i| f64::from(i % 5)).collect();
    let mut out = vec![0.0; 1000];
    let total = simple("mse").row_weights(None, None, 1000, Some(&weights), &mut out);
    assert_eq!(total.unwrap(), 2000.0);
    assert_eq!(out, weights);
}

#[test]
fn reductions_have_three_names() {
    assert_eq!("mean".parse(), Ok(Reduction::Mean));
    assert_eq!("sum".parse(), Ok(Reduction::Sum));
    assert_eq!("none".parse(), Ok(Reduction::None));
    says(
        "total".parse::<Reduction>(),
        "expected \"mean\", \"sum\" or \"none\"",
    );
}

#[test]
fn a_batch_of_no_rows_has_a_sum_but_no_mean() {
    let loss = simple("cross_entropy");
    let targets = Targets::<f32>::Classes(&[]);
    let run = |reduction| value(Isa::best(), &loss, 0, 3, &[], targets, Some(&[]), reduction);
    says(run(Reduction::Mean), "no rows");
    assert_eq!(run(Reduction::Sum), Ok(Value::Scalar(0.0)));
    assert_eq!(run(Reduction::None), Ok(Value::Rows(vec![])));
}

#[test]
fn nothing_is_written_when_something_is_refused() {
    let loss = simple("cross_entropy");
    let pred = [0.0f32; 6];
    let mut out = [7.0; 6];
    let mut run = |targets, weights: Option<&[f64]>| {
        gradient(
            Isa::best(),
            &loss,
            2,
            3,
            &pred,
            targets,
            weights,
            Reduction::Mean,
            &mut out,
        )
    };
    says(run(Targets::Classes(&[0, 3]), None), "target[1] is 3");
    says(
        run(Targets::Classes(&[0, 1]), Some(&[0.0, -1.0])),
        "sample_weight[1] is -1",
    );
    says(run(Targets::Dense(&[0.5; 6]), None), "sums to 1.5");
    for (targets, weights) in [
        (Targets::Classes(&[0][..]), None),
        (Targets::Dense(&[1.0][..]), None),
        (Targets::Classes(&[0, 1]), Some(&[1.0][..])),
    ] {
        let error = run(targets, weights).unwrap_err();
        assert!(matches!(error, Error::Shape(_)), "{error:?}");
    }
    assert!(run(Targets::Classes(&[0, 1]), None).is_ok());
    assert!(out.iter().all(|&g| g != 7.0));
    let shape = gradient(
        Isa::best(),
        &loss,
        2,
        3,
        &pred,
        Targets::Classes(&[0, 1]),
        None,
        Reduction::Mean,
        &mut out[..5],
    );
    assert!(matches!(shape, Err(Error::Shape(_))));
}

#[test]
fn targets_by_kind() {
    for kind in ["mse", "l1", "huber", "bce", "bce_with_logits"] {
        let loss = Loss::new(kind, 1.0, None, None).unwrap();
        assert!(!loss.takes_classes(3) && loss.takes_dense(3) && loss.takes_dense(1));
    }
    let loss = simple("cross_entropy");
    assert!(loss.takes_classes(3) && loss.takes_dense(3));
    assert!(simple("nll").takes_classes(3) && !simple("nll").takes_dense(3));
    for kind in ["hinge", "perceptron"] {
        let loss = simple(kind);
        assert!(loss.takes_classes(3) && !loss.takes_dense(3));
        assert!(!loss.takes_classes(1) && loss.takes_dense(1));
    }
}
