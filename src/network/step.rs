//! One step, as the members of a team do it together: forward, loss, backward, update.

#![allow(unsafe_code)]

use super::Network;
use super::backward::{Update, Wanted};
use super::forward::{Draw, share};
use super::session::{Batch, Options, Targets};
use super::upcoming::Upcoming;
use super::workspace::Workspace;
use crate::gemm::pack::{pack_rows, picked};
use crate::gemm::{PANEL, panel_stride};
use crate::loss::{self, PanelTargets, Prepared, SumLosses};
use crate::optim::{Clip, State, clip_scale};
use crate::phase::{self, Phase};
use crate::pool::{Member, Shared};
use crate::simd::{Arithmetic, Element, Kernel, Simd, Vector};
use std::sync::atomic::{AtomicU64, Ordering};

/// How a pass goes on after its gradients.
pub(super) enum After<'a, T> {
    /// The gradients are what was wanted.
    Nothing,
    /// Parameters are updated as soon as their gradient is there.
    Update(&'a State<T>),
    /// The norm of the whole gradient comes first.
    ClipAndUpdate(&'a State<T>),
}

/// What the members of a team share in a step.
pub(super) struct Step<'a, T> {
    pub network: &'a Network<T>,
    pub prepared: &'a Prepared<T>,
    pub options: Options,
    pub space: &'a Workspace<T>,
    pub batch: &'a Batch<'a, T>,
    pub weights: Option<&'a [f64]>,
    /// The gradient is that of Σ weight · loss / divisor.
    pub divisor: f64,
    pub draw: Draw,
    pub after: After<'a, T>,
    /// Whether updates may go on beside the products of their gradients.
    pub beside: bool,
    pub norms: Shared<'a, f64>,
    /// Σ weight · loss, as bits.
    pub loss: &'a AtomicU64,
    pub norm: &'a AtomicU64,
}

pub(super) struct StepOf<'a, T> {
    pub step: &'a Step<'a, T>,
    pub member: Member<'a>,
}

impl<T: Element> Kernel for StepOf<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (step, member) = (self.step, &self.member);
        let (network, space, rows) = (step.network, step.space, step.batch.rows);
        let panels = member.share(rows.div_ceil(PANEL));
        let upcoming = (!step.batch.upcoming.is_empty()).then(|| {
            let packed = space.packed_by(member, rows);
            let packed = packed.start * PANEL..packed.end * PANEL;
            Upcoming::of(step.batch, network.inputs, packed)
        });
        let meanwhile = || {
            if let Some(upcoming) = &upcoming {
                upcoming.ask();
            }
        };
        phase::begin();
        // SAFETY: the team runs this together, alone at the workspace, the gradients and the optimiser's state; between
        // two barriers members write disjoint parts and read only what was finished before the first.
        unsafe {
            network.load(simd, member, space, &step.batch.x, rows, true);
            network.draw(simd, member, space, rows, step.draw);
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
            network.forward_layers(simd, member, space, rows, true, &meanwhile);
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
            let loss = simd.call(SumLosses {
                losses: share(&space.losses).read(0..rows),
                weights: step.weights,
            });
            if member.index == 0 {
                step.loss.store(loss.to_bits(), Ordering::Relaxed);
            }
            phase::done(Phase::Loss);
            if !loss.is_finite() {
                return;
            }
            let wanted = Wanted {
                rows,
                dx: false,
                accumulate: false,
            };
            // Two calls: the smallest nets would notice a test for what is wanted.
            if let After::Update(state) = step.after {
                let update = Update {
                    state,
                    clip: Clip::new(1.0, step.options.clip_value),
                    keep: step.options.keep_grad,
                    beside: step.beside,
                };
                network.backward_layers(simd, member, space, wanted, Some(&update), &meanwhile);
                return;
            }
            network.backward_layers(simd, member, space, wanted, None, &meanwhile);
            if let After::ClipAndUpdate(state) = step.after {
                member.barrier();
                clip_and_update(simd, member, state, step.options, step.norms, step.norm);
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
        let (mut factors, mut labels) = ([T::ZERO; PANEL], [0; PANEL]);
        for (r, factor) in factors.iter_mut().enumerate().take(count) {
            *factor =
                T::from_f64(self.weights.map_or(1.0, |weights| weights[first + r]) / self.divisor);
        }
        let at = panel * panel_stride(network.outputs);
        let range = at..at + network.outputs * PANEL;
        // SAFETY: the outputs were finished before a barrier or, as the targets, by this member; the rest is the caller's.
        unsafe {
            let targets = match self.batch.targets {
                Targets::Classes(all) => {
                    let labels = &mut labels[..count];
                    for (r, label) in labels.iter_mut().enumerate() {
                        *label = all[picked(self.batch.picks, first + r)];
                    }
                    PanelTargets::Classes(labels)
                }
                Targets::Dense(_) => PanelTargets::Dense(share(&space.targets).read(range.clone())),
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

/// Clipping and update alone.
pub(super) struct Apply<'a, T> {
    pub member: &'a Member<'a>,
    pub state: &'a State<T>,
    pub options: Options,
    pub norms: Shared<'a, f64>,
    pub norm: &'a AtomicU64,
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
