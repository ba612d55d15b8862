//! Training steps: gradients → (clipping) → update, each step one parallel region; and epochs of them.

#![allow(unsafe_code)]

use super::Network;
use super::backward::{Update, Wanted};
use super::forward::{Draw, share};
use super::workspace::{Purpose, Workspace};
use crate::error::{Error, Result};
use crate::gemm::pack::{Source, pack_rows};
use crate::gemm::{PANEL, panel_stride};
use crate::loss::{self, Loss, PanelTargets, Prepared};
use crate::optim::{Clip, State, clip_scale};
use crate::phase::{self, Phase};
use crate::pool::{self, Member, Shared};
use crate::random::{self, Purpose as Use, Stream};
use crate::simd::{Element, Isa, Kernel, Simd, Vector};
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
    labels: Vec<i64>,
    order: Option<Order>,
}

/// The order of an epoch's rows, kept while the epoch is done in parts.
struct Order {
    epoch: u64,
    shuffle: bool,
    count: usize,
    picks: Vec<u32>,
    /// The rows that were named.
    of: Option<Vec<u32>>,
}

/// How a pass goes on after its gradients.
enum After<'a, T> {
    /// The gradients are what was wanted.
    Nothing,
    /// Parameters are updated as soon as their gradient is there.
    Update(&'a State<T>),
    /// The norm of the whole gradient comes first.
    ClipAndUpdate(&'a State<T>),
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
            labels: Vec::new(),
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
        let network = &*self.network;
        let mut space = network.train_space()?;
        space.forward = None;
        space.prepare(network, batch.rows, Purpose::Train);
        space.own_inputs = true;
        let labels = match batch.targets {
            Targets::Classes(labels) => Some(labels),
            Targets::Dense(_) => None,
        };
        // Labels of a shuffled batch, side by side for the panels.
        if let (Some(labels), Some(picks)) = (labels, batch.picks) {
            self.labels.clear();
            self.labels
                .extend(picks.iter().map(|&row| labels[row as usize]));
        }
        let labels = labels.map(|labels| {
            if batch.picks.is_some() {
                &self.labels[..]
            } else {
                labels
            }
        });
        let weighted =
            batch.sample_weight.is_some() || (labels.is_some() && self.loss.is_weighted());
        let total = if weighted {
            self.weights.resize(batch.rows, 0.0);
            let given = match batch.targets {
                Targets::Classes(labels) => Some(labels),
                Targets::Dense(_) => None,
            };
            self.loss.row_weights(
                given,
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
        let step = Step {
            network,
            prepared: &self.prepared,
            options: self.options,
            space: &space,
            batch,
            labels,
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
        pool::run(3.0 * network.flops() * batch.rows as f64, &|member| {
            isa.run(StepOf {
                step: &step,
                member,
            });
        });
        let mean = f64::from_bits(loss.load(Ordering::Relaxed)) / total;
        if !mean.is_finite() {
            return Err(not_finite("the loss", mean));
        }
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
        let order = self.order_of(data.rows, plan)?;
        let picks = &order.picks[plan.start..plan.stop.min(order.picks.len()).max(plan.start)];
        let outcome = (|| {
            self.check(&Batch {
                picks: Some(picks),
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
            for (number, picks) in picks.chunks(plan.batch_size).enumerate() {
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

    /// The order of an epoch: that of the last call if it is the same epoch still.
    fn order_of(&mut self, count: usize, plan: &Plan<'_>) -> Result<Order> {
        if plan.batch_size == 0 {
            return Err(Error::Value("batch_size is 0; expected at least 1".into()));
        }
        if count > u32::MAX as usize {
            return Err(Error::Value(format!(
                "x has {count} rows; at most {} are supported",
                u32::MAX
            )));
        }
        let rows = plan.rows.map_or(count, <[u32]>::len);
        if plan.start > rows {
            return Err(Error::Value(format!(
                "start is {}; the epoch has {rows} rows",
                plan.start
            )));
        }
        if let Some(order) = self.order.take_if(|order| {
            order.epoch == plan.epoch
                && order.shuffle == plan.shuffle
                && order.count == count
                && order.of.as_deref() == plan.rows
        }) {
            return Ok(order);
        }
        let mut picks = match plan.rows {
            Some(rows) => rows.to_vec(),
            None => (0..count as u32).collect(),
        };
        if let Some(row) = picks.iter().find(|&&row| row as usize >= count) {
            return Err(Error::Value(format!("rows has {row}; x has {count} rows")));
        }
        if plan.shuffle {
            random::shuffle(
                Stream::new(self.seed, Use::Shuffle, plan.epoch, 0),
                &mut picks,
            );
        }
        let of = plan.rows.map(<[u32]>::to_vec);
        Ok(Order {
            epoch: plan.epoch,
            shuffle: plan.shuffle,
            count,
            picks,
            of,
        })
    }
}

/// What an epoch goes through.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub batch_size: usize,
    pub epoch: u64,
    pub shuffle: bool,
    pub rows: Option<&'a [u32]>,
    pub start: usize,
    pub stop: usize,
    pub learning_rates: Option<&'a [f64]>,
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

/// What the members of a team share in a step.
struct Step<'a, T> {
    network: &'a Network<T>,
    prepared: &'a Prepared<T>,
    options: Options,
    space: &'a Workspace<T>,
    batch: &'a Batch<'a, T>,
    labels: Option<&'a [i64]>,
    weights: Option<&'a [f64]>,
    /// The gradient is that of Σ weight · loss / divisor.
    divisor: f64,
    draw: Draw,
    after: After<'a, T>,
    norms: Shared<'a, f64>,
    /// Σ weight · loss, as bits.
    loss: &'a AtomicU64,
    norm: &'a AtomicU64,
}

struct StepOf<'a, T> {
    step: &'a Step<'a, T>,
    member: Member<'a>,
}

impl<T: Element> Kernel for StepOf<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (step, member) = (self.step, &self.member);
        let (network, space, rows) = (step.network, step.space, step.batch.rows);
        let panels = member.share(rows.div_ceil(PANEL));
        phase::begin();
        // SAFETY: the team runs this together, alone at the workspace, the gradients and the optimiser's state; between
        // two barriers members write disjoint parts and read only what was finished before the first.
        unsafe {
            network.load(simd, member, space, &step.batch.x, rows, Some(step.draw));
            if let Targets::Dense(source) = &step.batch.targets {
                let target = share(&space.targets);
                pack_rows(
                    simd,
                    source,
                    None,
                    rows,
                    network.outputs,
                    panels.clone(),
                    target,
                    None,
                );
            }
            // Masks are drawn by rows, and used by features.
            let draws = network.layers.iter().any(|layer| layer.dropout.is_some());
            if draws || !space.has_own_inputs(member) {
                member.barrier();
            }
            phase::done(Phase::Load);
            network.forward_layers(simd, member, space, rows, true);
            phase::done(Phase::Forward);
            for panel in panels {
                step.loss_of_panel(simd, panel);
                network.derive(
                    simd,
                    network.layers.len() - 1,
                    space,
                    0..network.outputs,
                    panel,
                    false,
                );
            }
            member.barrier();
            phase::done(Phase::Loss);
            let loss = loss::sum_losses(share(&space.losses).read(0..rows), step.weights);
            if member.index == 0 {
                step.loss.store(loss.to_bits(), Ordering::Relaxed);
            }
            if !loss.is_finite() {
                return;
            }
            let wanted = Wanted {
                rows,
                dx: false,
                accumulate: false,
            };
            let clip = Clip::new(1.0, step.options.clip_value);
            match step.after {
                After::Nothing => network.backward_layers(simd, member, space, wanted, None),
                After::Update(state) => {
                    let update = Update {
                        state,
                        clip,
                        keep: step.options.keep_grad,
                    };
                    network.backward_layers(simd, member, space, wanted, Some(&update));
                }
                After::ClipAndUpdate(state) => {
                    network.backward_layers(simd, member, space, wanted, None);
                    member.barrier();
                    clip_and_update(simd, member, state, step.options, step.norms, step.norm);
                }
            }
        }
    }
}

impl<T: Element> Step<'_, T> {
    /// # Safety
    /// No other thread touches this panel of the last layer's gradient and of the losses.
    #[inline(always)]
    unsafe fn loss_of_panel<S: Simd>(&self, simd: S, panel: usize) {
        let (network, space) = (self.network, self.space);
        let last = &space.layers[network.layers.len() - 1];
        let first = panel * PANEL;
        let count = PANEL.min(self.batch.rows - first);
        let mut factors = [T::ZERO; PANEL];
        for (r, factor) in factors.iter_mut().enumerate().take(count) {
            *factor =
                T::from_f64(self.weights.map_or(1.0, |weights| weights[first + r]) / self.divisor);
        }
        let at = panel * panel_stride(network.outputs);
        let range = at..at + network.outputs * PANEL;
        // SAFETY: the outputs and targets were finished before a barrier; the rest is the caller's.
        unsafe {
            let targets = match self.labels {
                Some(labels) => PanelTargets::Classes(&labels[first..first + count]),
                None => PanelTargets::Dense(share(&space.targets).read(range.clone())),
            };
            let logits = share(&last.out).read(range.clone());
            let gradient = share(&last.gradient).write(range);
            let losses = share(&space.losses).write(first..first + PANEL);
            loss::panel(
                simd,
                self.prepared,
                network.outputs,
                logits,
                targets,
                &factors,
                losses,
                Some(&mut *gradient),
            );
            simd.call(DropTiny(gradient));
        }
    }
}

/// Exponents of two, of float32 and of float64: no gradient so small changes a parameter.
const LEAST_GRADIENT: [i32; 2] = [-80, -600];

/// Sets what is smaller than [`LEAST_GRADIENT`] to zero. Rows that a network has learned for good would fill the pass back
/// with subnormal numbers, with which arithmetic is twenty times slower.
struct DropTiny<'a, T>(&'a mut [T]);

impl<T: Element> Kernel for DropTiny<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let exponent = LEAST_GRADIENT[usize::from(size_of::<T>() == 8)];
        let least = T::Vector::<S>::splat(simd, T::from_f64(2f64.powi(exponent)));
        let zero = T::Vector::<S>::zero(simd);
        for values in self.0.chunks_exact_mut(T::Vector::<S>::LANES) {
            let value = T::Vector::<S>::load_slice(simd, values);
            T::Vector::<S>::select(value.abs().lt(least), zero, value).store_slice(values);
        }
    }
}

struct Apply<'a, T> {
    member: &'a Member<'a>,
    state: &'a State<T>,
    options: Options,
    norms: Shared<'a, f64>,
    norm: &'a AtomicU64,
}

impl<T: Element> Kernel for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: the team runs this together, alone at the gradients and the optimiser's state.
        unsafe {
            clip_and_update(
                simd,
                self.member,
                self.state,
                self.options,
                self.norms,
                self.norm,
            )
        }
    }
}

/// Clips by norm, then by value, and updates every parameter.
///
/// # Safety
/// The team runs this together, alone at the gradients and the optimiser's state; a barrier after the gradients has been
/// passed.
#[inline(always)]
unsafe fn clip_and_update<S: Simd, T: Element>(
    simd: S,
    member: &Member<'_>,
    state: &State<T>,
    options: Options,
    norms: Shared<'_, f64>,
    norm: &AtomicU64,
) {
    let mut scale = 1.0;
    if let Some(most) = options.clip_norm {
        let chunks = state.rules.norm_chunks().len();
        for chunk in member.share(chunks) {
            // SAFETY: the shares of chunks are disjoint; the gradient is only read here.
            unsafe { norms.write(chunk..chunk + 1)[0] = state.squared_norm(simd, chunk) };
        }
        member.barrier();
        // SAFETY: finished before the barrier.
        let mut squared = unsafe { norms.read(0..chunks) }.iter().sum::<f64>();
        if !squared.is_finite() {
            // SAFETY: nobody writes the gradient here.
            squared = unsafe { state.wide_squared_norm() };
        }
        if member.index == 0 {
            norm.store(squared.sqrt().to_bits(), Ordering::Relaxed);
        }
        if !squared.is_finite() {
            return;
        }
        scale = clip_scale(squared, most);
    }
    let clip = Clip::new(scale, options.clip_value);
    let lines = member.share(state.len().div_ceil(PANEL));
    // SAFETY: the shares of lines are disjoint.
    unsafe {
        state.update(
            simd,
            clip,
            lines.start * PANEL..state.len().min(lines.end * PANEL),
        )
    };
}
