//! Training steps: gradients → (clipping) → update, each step one parallel region; and epochs of them.

#![allow(unsafe_code)]

use super::Network;
use super::forward::Draw;
use super::order::{Order, Plan};
use super::step::{After, Apply, Step, StepOf};
use super::workspace::Purpose;
use crate::error::{Error, Result};
use crate::gemm::pack::Source;
use crate::loss::{Loss, Prepared};
use crate::optim::State;
use crate::phase;
use crate::pool::{self, Shared};
use crate::simd::{Element, Isa};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a step does beside its rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// The largest Euclidean norm of the whole gradient.
    pub clip_norm: Option<f64>,
    /// The largest magnitude of an element of it.
    pub clip_value: Option<f64>,
    /// Whether the gradient is in its buffer after a step.
    pub keep_grad: bool,
}

/// What a batch is compared with; rows are picked as those of x are.
#[derive(Clone, Copy)]
pub enum Targets<'a, T> {
    Classes(&'a [i64]),
    Dense(Source<'a, T>),
}

/// Rows to learn from: row r is row `picks[r]` of the arrays, or row r itself.
#[derive(Clone, Copy)]
pub struct Batch<'a, T> {
    pub x: Source<'a, T>,
    pub targets: Targets<'a, T>,
    pub sample_weight: Option<&'a [f64]>,
    pub rows: usize,
    pub picks: Option<&'a [u32]>,
    /// The rows that the next batch picks from these arrays, if they are known.
    pub upcoming: &'a [u32],
}

/// One training run of a network.
pub struct Session<T> {
    network: Arc<Network<T>>,
    loss: Loss,
    prepared: Prepared<T>,
    options: Options,
    seed: u64,
    /// Steps done.
    pub step: u64,
    weights: Vec<f64>,
    norms: Vec<f64>,
    order: Option<Order>,
}

/// Seconds of work after which a caller's signals and progress are looked at.
const LOOK_AFTER: Duration = Duration::from_millis(10);

impl<T: Element> Session<T> {
    /// # Errors
    /// A loss that does not fit the network's outputs; options out of range.
    pub fn new(network: Arc<Network<T>>, loss: Loss, options: Options, seed: u64) -> Result<Self> {
        let prepared = loss.prepare(network.outputs)?;
        for (name, value) in [
            ("clip_grad_norm", options.clip_norm),
            ("clip_grad_value", options.clip_value),
        ] {
            if let Some(value) = value
                && !(value > 0.0 && value.is_finite())
            {
                return Err(Error::Value(format!(
                    "{name} is {value}; expected a finite number above 0"
                )));
            }
        }
        Ok(Self {
            network,
            loss,
            prepared,
            options,
            seed,
            step: 0,
            weights: Vec::new(),
            norms: Vec::new(),
            order: None,
        })
    }

    pub fn network(&self) -> &Arc<Network<T>> {
        &self.network
    }

    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Floating-point operations of a step over so many rows.
    pub fn flops(&self, rows: usize) -> f64 {
        3.0 * self.network.flops() * rows as f64
    }

    /// One whole step; the mean loss before the update.
    ///
    /// # Errors
    /// Labels or weights out of range, a loss that is not finite (nothing is written then), another thread training.
    ///
    /// # Safety
    /// The batch's arrays hold the rows it picks, and nobody writes them meanwhile.
    pub unsafe fn train(
        &mut self,
        isa: Isa,
        state: &mut State<T>,
        batch: &Batch<'_, T>,
    ) -> Result<f64> {
        self.check(batch)?;
        // SAFETY: the caller's.
        unsafe { self.train_checked(isa, state, batch, None) }.map(|(loss, _)| loss)
    }

    /// # Errors
    /// Labels out of range.
    fn check(&self, batch: &Batch<'_, T>) -> Result<()> {
        if batch.rows == 0 {
            return Err(Error::Value(
                "the batch is empty; the mean loss of no rows is undefined".into(),
            ));
        }
        match batch.targets {
            Targets::Classes(labels) => {
                self.loss
                    .check_labels(self.network.outputs, labels, batch.picks)
            }
            Targets::Dense(_) => Ok(()),
        }
    }

    /// A step over a checked batch: the mean loss and the total weight.
    ///
    /// # Safety
    /// As [`Session::train`].
    unsafe fn train_checked(
        &mut self,
        isa: Isa,
        state: &mut State<T>,
        batch: &Batch<'_, T>,
        learning_rate: Option<f64>,
    ) -> Result<(f64, f64)> {
        assert!(self.network.is_trained_by(state), "another network's state");
        state.rules.begin_step(learning_rate);
        let after = if self.options.clip_norm.is_some() {
            After::ClipAndUpdate(state)
        } else {
            After::Update(state)
        };
        // SAFETY: the caller's.
        match unsafe { self.pass(isa, batch, 0, None, after) } {
            Ok(done) => {
                self.step += 1;
                Ok(done)
            }
            Err(error) => {
                state.rules.undo_step();
                Err(error)
            }
        }
    }

    /// The gradients alone, in their buffer; the mean loss. `first_row` is the batch's place in a larger one whose
    /// weights sum to `total_weight`.
    ///
    /// # Errors
    /// As [`Session::train`].
    ///
    /// # Safety
    /// As [`Session::train`].
    pub unsafe fn gradients(
        &mut self,
        isa: Isa,
        batch: &Batch<'_, T>,
        first_row: usize,
        total_weight: Option<f64>,
    ) -> Result<f64> {
        self.check(batch)?;
        // SAFETY: the caller's.
        unsafe { self.pass(isa, batch, first_row, total_weight, After::Nothing) }
            .map(|(loss, _)| loss)
    }

    /// Clips what [`Session::gradients`] left and updates.
    ///
    /// # Errors
    /// A gradient whose norm is not finite, if it is to be clipped.
    pub fn apply(&mut self, isa: Isa, state: &mut State<T>) -> Result<()> {
        let _space = self.network.train_space()?;
        self.norms.resize(state.rules.norm_chunks().len(), 0.0);
        state.rules.begin_step(None);
        let result = AtomicU64::new(0);
        let (options, norms) = (self.options, Shared::new(&mut self.norms));
        {
            let state = &*state;
            pool::run(
                state
                    .rules
                    .segments()
                    .iter()
                    .map(|s| 30.0 * s.length as f64)
                    .sum(),
                &|member| {
                    isa.run(Apply {
                        member: &member,
                        state,
                        options,
                        norms,
                        norm: &result,
                    });
                },
            );
        }
        if !f64::from_bits(result.load(Ordering::Relaxed)).is_finite() {
            state.rules.undo_step();
            return Err(not_finite(
                "the gradient's norm",
                f64::from_bits(result.load(Ordering::Relaxed)),
            ));
        }
        self.step += 1;
        Ok(())
    }

    /// Forward, loss, backward, and what comes after, in one parallel region: mean loss and total weight.
    ///
    /// # Safety
    /// As [`Session::train`].
    unsafe fn pass(
        &mut self,
        isa: Isa,
        batch: &Batch<'_, T>,
        first_row: usize,
        total_weight: Option<f64>,
        after: After<'_, T>,
    ) -> Result<(f64, f64)> {
        let flops = self.flops(batch.rows);
        let network = &*self.network;
        let mut space = network.train_space()?;
        space.forward = None;
        space.prepare(network, batch.rows, Purpose::Train);
        let mut ways = space.ways.of_now();
        let (own_inputs, own_timed) = if space.may_share_inputs(network, batch) {
            ways.own_inputs.way()
        } else {
            (true, false)
        };
        space.own_inputs = own_inputs;
        let labels = match batch.targets {
            Targets::Classes(labels) => Some(labels),
            Targets::Dense(_) => None,
        };
        let weighted =
            batch.sample_weight.is_some() || (labels.is_some() && self.loss.is_weighted());
        let total = if weighted {
            self.weights.resize(batch.rows, 0.0);
            self.loss.row_weights(
                labels,
                batch.picks,
                batch.rows,
                batch.sample_weight,
                &mut self.weights,
            )?
        } else {
            batch.rows as f64
        };
        let clipping = matches!(after, After::ClipAndUpdate(_));
        if let After::ClipAndUpdate(state) = after {
            self.norms.resize(state.rules.norm_chunks().len(), 0.0);
        }
        let loss = AtomicU64::new(0);
        let norm = AtomicU64::new(0);
        let (beside, beside_timed) = match after {
            After::Update(_) if phase::is_apart() => (false, false),
            After::Update(_) => ways.beside.way(),
            _ => (true, false),
        };
        let step = Step {
            network,
            beside,
            prepared: &self.prepared,
            options: self.options,
            space: &space,
            batch,
            weights: weighted.then_some(&self.weights[..]),
            divisor: total_weight.unwrap_or(total),
            draw: Draw {
                seed: self.seed,
                step: self.step,
                first_row,
            },
            after,
            norms: Shared::new(&mut self.norms),
            loss: &loss,
            norm: &norm,
        };
        let start = (beside_timed || own_timed).then(Instant::now);
        let members = ways.sharing.run(flops, &|member| {
            isa.run(StepOf {
                step: &step,
                member,
            });
        });
        let elapsed = start.map(|start| start.elapsed().as_secs_f64());
        let mean = f64::from_bits(loss.load(Ordering::Relaxed)) / total;
        if !mean.is_finite() {
            return Err(not_finite("the loss", mean));
        }
        // A trial of sharing, and a step that found its workers asleep, say nothing of the others.
        let members = members.unwrap_or(0);
        ways.members = ways.members.max(members);
        if let (Some(seconds), true) = (elapsed, members == ways.members) {
            if beside_timed {
                ways.beside.note(beside, seconds / flops);
            }
            if own_timed {
                ways.own_inputs.note(own_inputs, seconds / flops);
            }
        }
        space.ways = ways;
        let norm = f64::from_bits(norm.load(Ordering::Relaxed));
        if clipping && !norm.is_finite() {
            return Err(not_finite("the gradient's norm", norm));
        }
        Ok((mean, total))
    }

    /// Rows `start..stop` of an epoch's order, in batches of `batch_size`: (Σ weight · loss, Σ weight).
    ///
    /// `rows` names the rows of x to use (all of `count` if None); `learning_rates` has one for each step. `look` is
    /// called between steps, at most every few milliseconds, with the rows done and the mean loss; its error ends the
    /// epoch after a whole step.
    ///
    /// # Errors
    /// As [`Session::train`], and what `look` returns.
    ///
    /// # Safety
    /// The arrays hold `count` rows, and nobody writes them meanwhile.
    pub unsafe fn epoch<E: From<Error>>(
        &mut self,
        isa: Isa,
        state: &mut State<T>,
        data: &Batch<'_, T>,
        plan: &Plan<'_>,
        mut look: impl FnMut(usize, f64) -> std::result::Result<(), E>,
    ) -> std::result::Result<(f64, f64), E> {
        // They wake while the order is drawn.
        pool::announce(self.flops(plan.stop.min(data.rows).saturating_sub(plan.start)));
        let order = Order::of(isa, &mut self.order, plan, data.rows, self.seed)?;
        let picks = &order.picks[plan.start..plan.stop.min(order.picks.len()).max(plan.start)];
        let outcome = (|| {
            // All rows are checked in the order in which they are named, which as a rule is that in which they lie.
            let all = picks.len() == order.picks.len();
            self.check(&Batch {
                picks: if all { plan.rows } else { Some(picks) },
                rows: picks.len(),
                ..*data
            })?;
            if let Some(rates) = plan.learning_rates
                && rates.len() < picks.len().div_ceil(plan.batch_size)
            {
                return Err(Error::Value(format!(
                    "learning_rates has {} values; the epoch has {} steps",
                    rates.len(),
                    picks.len().div_ceil(plan.batch_size)
                ))
                .into());
            }
            let rows = picks.len();
            let (mut sum, mut total) = (0.0, 0.0);
            let mut looked = Instant::now();
            let mut batches = picks.chunks(plan.batch_size).enumerate().peekable();
            while let Some((number, picks)) = batches.next() {
                let picked = |source: Source<'_, T>| Source {
                    picks: Some(picks),
                    ..source
                };
                let batch = Batch {
                    x: picked(data.x),
                    targets: match data.targets {
                        Targets::Dense(source) => Targets::Dense(picked(source)),
                        classes => classes,
                    },
                    sample_weight: data.sample_weight,
                    rows: picks.len(),
                    picks: Some(picks),
                    upcoming: batches.peek().map_or(&[], |&(_, picks)| picks),
                };
                let rate = plan.learning_rates.map(|rates| rates[number]);
                // SAFETY: the caller's; picks were checked against the rows.
                let (loss, weight) = unsafe { self.train_checked(isa, state, &batch, rate)? };
                sum += loss * weight;
                total += weight;
                let rows_done = number * plan.batch_size + batch.rows;
                if looked.elapsed() >= LOOK_AFTER && rows_done < rows {
                    look(rows_done, sum / total)?;
                    looked = Instant::now();
                }
            }
            Ok((sum, total))
        })();
        self.order = Some(order);
        outcome
    }
}

fn not_finite(what: &str, value: f64) -> Error {
    let value = if value.is_nan() {
        "nan".to_string()
    } else {
        value.to_string()
    };
    Error::NonFinite(format!(
        "{what} is {value}, not finite; nothing of this step was written. Try a lower learning rate, scaled features or \
         clipping"
    ))
}
