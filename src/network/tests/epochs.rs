//! Epochs: which rows, in which order, and where they stop.

use super::model::{Reached, Training, batch, converted, loss};
use super::plain::{Numbers, Part, Plain, linear};
use crate::activation::Activation::Relu;
use crate::error::Error;
use crate::gemm::pack::Source;
use crate::network::{Batch, Plan, Targets};
use crate::optim::{Group, Kind};
use crate::random::{Purpose, Stream, permutation};
use crate::simd::Isa;
use Part::{Act, Dropout, Scale};

const ROWS: usize = 53;
const SIZE: usize = 8;
/// The seed of a [`Training`].
const SEED: u64 = 11;

const PLAN: Plan<'static> = Plan {
    batch_size: SIZE,
    epoch: 3,
    shuffle: true,
    rows: None,
    start: 0,
    stop: usize::MAX,
    learning_rates: None,
};

/// What stopped an epoch.
#[derive(Debug, PartialEq)]
enum Stop {
    Core(Error),
    Look(usize),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Core(error)
    }
}

struct Data {
    x: Vec<f32>,
    labels: Vec<i64>,
    weights: Vec<f64>,
}

fn data(rows: usize) -> Data {
    let mut numbers = Numbers(2);
    Data {
        x: converted(&numbers.many(rows * 6)),
        labels: (0..rows).map(|_| numbers.below(4) as i64).collect(),
        weights: (0..rows).map(|r| 0.5 + (r % 3) as f64).collect(),
    }
}

impl Data {
    /// The rows, gathered.
    fn picked(&self, rows: &[u32]) -> Data {
        let rows = rows.iter().map(|&r| r as usize);
        Data {
            x: rows
                .clone()
                .flat_map(|r| self.x[r * 6..(r + 1) * 6].to_vec())
                .collect(),
            labels: rows.clone().map(|r| self.labels[r]).collect(),
            weights: rows.map(|r| self.weights[r]).collect(),
        }
    }

    fn batch(&self) -> Batch<'_, f32> {
        Batch {
            sample_weight: Some(&self.weights),
            ..batch(&self.x, 6, Targets::Classes(&self.labels))
        }
    }
}

fn run(isa: Isa) -> Training<f32> {
    let parts = [Scale, linear(20), Act(Relu), Dropout(0.2), linear(4)];
    let (kind, group) = (Kind::Adam, Group::new(0.01));
    Training::new(
        isa,
        &Plain::new(6, &parts, 1),
        &loss("cross_entropy"),
        kind,
        group,
    )
}

fn epoch(run: &mut Training<f32>, data: &Data, plan: &Plan<'_>) -> Result<(f64, f64), Stop> {
    run.epoch(&data.batch(), plan, |_, _| Ok(()))
}

/// The steps of an epoch over gathered copies of its rows.
fn by_hand(run: &mut Training<f32>, data: &Data, order: &[u32]) -> (f64, f64) {
    let (mut sum, mut total) = (0.0, 0.0);
    for rows in order.chunks(SIZE) {
        let picked = data.picked(rows);
        let weight: f64 = picked.weights.iter().sum();
        sum += run.step(&picked.batch()).unwrap() * weight;
        total += weight;
    }
    (sum, total)
}

#[test]
fn an_epoch_is_its_steps_in_order() {
    let data = data(ROWS);
    let natural: Vec<u32> = (0..ROWS as u32).collect();
    let subset: Vec<u32> = (0..ROWS as u32).filter(|r| r % 3 != 1).collect();
    for isa in Isa::tested() {
        let (mut whole, mut steps) = (run(isa), run(isa));
        for number in 0..3 {
            let stream = Stream::new(SEED, Purpose::Shuffle, number, 0);
            let shuffled = permutation(isa, stream, ROWS).unwrap();
            let mut of_subset = subset.clone();
            crate::random::shuffle(isa, stream, &mut of_subset);
            for (shuffle, rows, order) in [
                (false, None, &natural),
                (true, None, &shuffled),
                (false, Some(&subset[..]), &subset),
                (true, Some(&subset[..]), &of_subset),
            ] {
                let plan = Plan {
                    epoch: number,
                    shuffle,
                    rows,
                    ..PLAN
                };
                let got = epoch(&mut whole, &data, &plan).unwrap();
                let want = by_hand(&mut steps, &data, order);
                assert_eq!(got, want, "{isa:?} {plan:?}");
                assert!(whole.reached() == steps.reached(), "{isa:?} {plan:?}");
            }
        }
        assert_eq!(whole.session.step, 3 * (7 + 7 + 5 + 5));
    }
}

#[test]
fn dense_targets_are_picked_as_rows_are() {
    let data = data(ROWS);
    let y: Vec<f32> = data
        .labels
        .iter()
        .flat_map(|&l| [0, 1, 2, 3].map(|c| f32::from(c == l)))
        .collect();
    let dense = |x: &[f32], y: &[f32]| {
        let mut run = run(Isa::best());
        let data = Batch {
            sample_weight: None,
            ..batch(x, 6, Targets::Dense(Source::rows(y, 4)))
        };
        (
            run.epoch(&data, &PLAN, |_, _| Ok::<(), Stop>(())).unwrap(),
            run.reached(),
        )
    };
    let mut classes = run(Isa::best());
    let without = Batch {
        sample_weight: None,
        ..data.batch()
    };
    let (loss, total) = classes
        .epoch(&without, &PLAN, |_, _| Ok::<(), Stop>(()))
        .unwrap();
    let ((dense_loss, dense_total), _) = dense(&data.x, &y);
    assert_eq!(total, dense_total);
    assert!(
        (loss - dense_loss).abs() < 1e-4 * loss,
        "{loss}, {dense_loss}"
    );
    // Rows of any strides: features first, and every second one of a wider matrix.
    let mut columns = vec![0.0f32; 6 * ROWS];
    let mut wide = vec![f32::NAN; 2 * 6 * ROWS];
    for r in 0..ROWS {
        for j in 0..6 {
            columns[j * ROWS + r] = data.x[r * 6 + j];
            wide[2 * (r * 6 + j)] = data.x[r * 6 + j];
        }
    }
    for (start, row_stride, column_stride) in
        [(columns.as_ptr(), 1, ROWS as isize), (wide.as_ptr(), 12, 2)]
    {
        let mut run = run(Isa::best());
        let data = Batch {
            x: Source {
                start,
                row_stride,
                column_stride,
                picks: None,
            },
            ..without
        };
        let got = run.epoch(&data, &PLAN, |_, _| Ok::<(), Stop>(())).unwrap();
        assert_eq!(got, (loss, total));
        assert!(run.reached() == classes.reached());
    }
}

#[test]
fn an_epoch_in_parts_is_the_whole_epoch() {
    let data = data(ROWS);
    let isa = Isa::best();
    let mut whole = run(isa);
    let want = epoch(&mut whole, &data, &PLAN).unwrap();
    for cuts in [vec![16, 40], vec![8, 16, 24, 32, 40, 48], vec![48], vec![]] {
        let mut parts = run(isa);
        let (mut sum, mut total, mut start) = (0.0, 0.0, 0);
        for stop in cuts.into_iter().chain([ROWS]) {
            let plan = Plan {
                start,
                stop,
                ..PLAN
            };
            let (s, t) = epoch(&mut parts, &data, &plan).unwrap();
            (sum, total, start) = (sum + s, total + t, stop);
        }
        assert!((sum - want.0).abs() < 1e-12 * want.0 && total == want.1);
        assert!(parts.reached() == whole.reached());
    }
    // Another epoch begun in between costs time alone.
    let mut parts = run(isa);
    let half = |start, stop| Plan {
        start,
        stop,
        ..PLAN
    };
    epoch(&mut parts, &data, &half(0, 24)).unwrap();
    let nothing = Group::new(0.0);
    let group = parts.state.rules.groups()[0];
    let steps = parts.session.step;
    let untouched = parts.reached();
    parts.state.set_group(0, nothing).unwrap();
    let failed = epoch(
        &mut parts,
        &data,
        &Plan {
            epoch: 4,
            start: 99,
            ..PLAN
        },
    );
    assert!(failed.is_err());
    parts.state.set_group(0, group).unwrap();
    assert_eq!(parts.session.step, steps);
    assert!(parts.reached() == untouched);
    epoch(&mut parts, &data, &half(24, ROWS)).unwrap();
    assert!(parts.reached() == whole.reached());
}

#[test]
fn every_step_has_its_learning_rate() {
    let data = data(ROWS);
    let rates: Vec<f64> = (1..=7).map(|i| 0.003 * f64::from(i)).collect();
    let mut whole = run(Isa::best());
    let plan = Plan {
        learning_rates: Some(&rates),
        ..PLAN
    };
    epoch(&mut whole, &data, &plan).unwrap();
    let mut steps = run(Isa::best());
    for (number, &rate) in rates.iter().enumerate() {
        steps.state.set_group(0, Group::new(rate)).unwrap();
        let plan = Plan {
            start: number * SIZE,
            stop: (number + 1) * SIZE,
            ..PLAN
        };
        epoch(&mut steps, &data, &plan).unwrap();
    }
    assert!(whole.reached() == steps.reached());
    assert_eq!(whole.state.rules.groups()[0].lr, 0.01);
}

#[test]
fn epochs_that_cannot_be_are_refused() {
    let data = data(ROWS);
    let mut run = run(Isa::best());
    let before = run.reached();
    let rates = [0.1; 6];
    let outside = [3, 53];
    let cases = [
        (
            Plan {
                batch_size: 0,
                ..PLAN
            },
            "batch_size is 0; expected at least 1",
        ),
        (
            Plan { start: 54, ..PLAN },
            "start is 54; the epoch has 53 rows",
        ),
        (
            Plan {
                rows: Some(&outside),
                ..PLAN
            },
            "rows has 53; x has 53 rows",
        ),
        (
            Plan {
                learning_rates: Some(&rates),
                ..PLAN
            },
            "learning_rates has 6 values; the epoch has 7 steps",
        ),
        (
            Plan {
                start: 9,
                stop: 9,
                ..PLAN
            },
            "the batch is empty; the mean loss of no rows is undefined",
        ),
        (
            Plan {
                rows: Some(&[]),
                ..PLAN
            },
            "the batch is empty; the mean loss of no rows is undefined",
        ),
    ];
    for (plan, message) in cases {
        let got = epoch(&mut run, &data, &plan);
        assert_eq!(
            got,
            Err(Stop::Core(Error::Value(message.into()))),
            "{plan:?}"
        );
    }
    let mut wrong = super::epochs::data(ROWS);
    wrong.labels[50] = 4;
    let message = "target[50] is 4; expected a class number from 0 to 3 (pred has 4 columns)";
    let got = epoch(&mut run, &wrong, &PLAN);
    assert_eq!(got, Err(Stop::Core(Error::Value(message.into()))));
    assert!(run.reached() == before, "nothing was done");
    // A label that the epoch does not use is nobody's business.
    let rows = [1, 2, 3];
    epoch(
        &mut run,
        &wrong,
        &Plan {
            rows: Some(&rows),
            ..PLAN
        },
    )
    .unwrap();
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_last_whole_step() {
    let mut data = data(ROWS);
    let order = permutation(Isa::best(), Stream::new(SEED, Purpose::Shuffle, 3, 0), ROWS).unwrap();
    // In the fourth batch.
    data.x[order[27] as usize * 6 + 1] = f32::NAN;
    for isa in Isa::tested() {
        let (mut stopped, mut steps) = (run(isa), run(isa));
        let got = epoch(&mut stopped, &data, &PLAN);
        assert!(
            matches!(got, Err(Stop::Core(Error::NonFinite(_)))),
            "{got:?}"
        );
        by_hand(&mut steps, &data, &order[..24]);
        assert!(stopped.reached() == steps.reached(), "{isa:?}");
        // It can go on behind the bad batch.
        let rest = |run: &mut Training<f32>| {
            epoch(run, &data, &Plan { start: 32, ..PLAN }).unwrap();
            run.reached()
        };
        assert!(rest(&mut stopped) == rest(&mut steps), "{isa:?}");
    }
}

/// On the portable form and many more rows than are looked at: the test ends at the third look, 30 ms after it began, which
/// is 30,000 rows on a fast core.
#[test]
fn a_look_that_fails_ends_the_epoch_after_a_whole_step() {
    let portable: Isa = "portable".parse().unwrap();
    let rows = 1_000_000;
    let data = data(rows);
    let plan = Plan {
        batch_size: 32,
        ..PLAN
    };
    let mut looks: Vec<(usize, f64)> = Vec::new();
    let mut stopped = run(portable);
    let got = stopped.epoch(&data.batch(), &plan, |rows, mean| {
        looks.push((rows, mean));
        if looks.len() == 3 {
            Err(Stop::Look(rows))
        } else {
            Ok(())
        }
    });
    assert_eq!(looks.len(), 3, "an epoch too short for this test");
    let done = looks[2].0;
    assert_eq!(got, Err(Stop::Look(done)));
    assert!(
        looks
            .iter()
            .all(|(rows, mean)| rows % 32 == 0 && mean.is_finite())
    );
    assert!(looks[0].0 < looks[1].0 && looks[1].0 < done && done < rows);
    assert_eq!(stopped.session.step as usize * 32, done);
    let reached = |run: &mut Training<f32>, plan: &Plan<'_>| -> Reached {
        epoch(run, &data, plan).unwrap();
        run.reached()
    };
    let until = Plan { stop: done, ..plan };
    let mut same = run(portable);
    assert!(reached(&mut same, &until) == stopped.reached());
    // And it can go on from there.
    let some_more = Plan {
        start: done,
        stop: done + 320,
        ..plan
    };
    assert!(reached(&mut same, &some_more) == reached(&mut stopped, &some_more));
}
