//! The backward pass: layer by layer from the last, first the gradient of the layer's input, then of its parameters.

#![allow(unsafe_code)]

use super::division::run_part;
use super::forward::{ApplyMasks, needs_columns, share};
use super::workspace::Workspace;
use super::{Linear, Network, Rowwise};
use crate::activation::{self, Activation};
use crate::gemm::{LOCAL_ROW, PANEL, Product, Target, panel_stride, sum_rows};
use crate::optim::{Clip, Rectangle, State};
use crate::phase::{self, Phase};
use crate::pool::{Member, Shared};
use crate::simd::{Element, Simd};
use crate::softmax;
use std::ops::Range;
use std::ptr::null_mut;

/// What a backward pass computes beside the gradients of the trained parameters.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub rows: usize,
    /// The gradient of the network's input.
    pub dx: bool,
    /// Add to the gradient buffer instead of overwriting it.
    pub accumulate: bool,
}

/// The update that follows each gradient.
#[derive(Clone, Copy)]
pub struct Update<'a, T> {
    pub state: &'a State<T>,
    pub clip: Clip<T>,
    /// Whether the gradient must be in its buffer afterwards; else it need never be there.
    pub keep: bool,
    /// Whether it may go on beside the products of the gradient, where that can be done.
    pub beside: bool,
}

/// Some rows and columns of a layer's weights.
fn rectangle(linear: &Linear, rows: &Range<usize>, columns: &Range<usize>) -> Rectangle {
    Rectangle {
        start: linear.weight + rows.start * linear.inputs + columns.start,
        stride: linear.inputs,
        rows: rows.len(),
        columns: columns.len(),
    }
}

impl<T: Element> Network<T> {
    /// All layers, from the gradient of the last one's linear output on ([`Network::derive`] has been applied).
    ///
    /// With an `update`, the parameters of a layer follow as soon as their gradient is there, when no thread needs them
    /// any more. `meanwhile` is called with every finished part of an input gradient.
    ///
    /// # Safety
    /// The team runs this together after a forward pass in training mode, with nothing else at the workspace, the
    /// parameters or the gradients; the barrier after what wrote the last layer's gradient has been passed.
    #[inline(always)]
    pub(super) unsafe fn backward_layers<S: Simd>(
        &self,
        simd: S,
        member: &Member<'_>,
        space: &Workspace<T>,
        wanted: Wanted,
        update: Option<&Update<'_, T>>,
        meanwhile: &impl Fn(),
    ) {
        let rows = wanted.rows;
        // Layers whose parameters have no gradient yet, because other members may still read their weights.
        let mut waiting = self.layers.len();
        // Whether all members may read all rows of the last gradient, or each its own.
        let mut met = true;
        for l in (0..self.layers.len()).rev() {
            let layer = &self.layers[l];
            let gradient = &space.layers[l].gradient;
            if let Some(rowwise) = layer.rowwise {
                for panel in member.share(rows.div_ceil(PANEL)) {
                    let at = panel * panel_stride(layer.outputs);
                    let range = at..at + layer.outputs * PANEL;
                    // SAFETY: this panel is this member's; the output was finished in the forward pass.
                    unsafe {
                        let out = share(&space.layers[l].out).read(range.clone());
                        let gradient = share(gradient).write(range);
                        softmax::backward_panel(
                            simd,
                            rowwise == Rowwise::LogSoftmax,
                            layer.outputs,
                            out,
                            gradient,
                        );
                    }
                }
            }
            if l > 0 || wanted.dx {
                // What is computed for the first layer's gradient, which most weights wait for, stays with their thread.
                let own = self.own_panels(l, member, rows).filter(|_| l > 1);
                if own.is_none() && !met {
                    member.barrier();
                }
                let target = if l > 0 {
                    &space.layers[l - 1].gradient
                } else {
                    &space.dx
                };
                // SAFETY: members write disjoint parts of the target, and read what was finished before a barrier or by
                // themselves.
                unsafe {
                    if let Some(linear) = &layer.linear {
                        let packed = share(&space.packed[member.index]);
                        let relu = l > 0 && self.fuses_relu(l - 1);
                        let kept = relu.then(|| space.layers[l - 1].out.as_ptr());
                        let product = linear.shape(rows).input_gradient(
                            self.parameter(linear.weight),
                            gradient.as_ptr(),
                            target.as_mut_pointer(),
                            kept,
                        );
                        let own = own.clone();
                        run_part(
                            simd,
                            &product,
                            member,
                            own,
                            packed.as_ptr(),
                            |features, columns| {
                                meanwhile();
                                for panel in columns.start / PANEL..columns.end.div_ceil(PANEL) {
                                    self.before(simd, l, space, features.clone(), panel, relu);
                                }
                            },
                        );
                    } else {
                        for panel in member.share(rows.div_ceil(PANEL)) {
                            let at = panel * panel_stride(layer.inputs);
                            let range = at..at + layer.inputs * PANEL;
                            share(target)
                                .write(range.clone())
                                .copy_from_slice(share(gradient).read(range));
                            self.before(simd, l, space, 0..layer.inputs, panel, false);
                        }
                    }
                }
                phase::done(Phase::InputGradient);
                met = own.is_none();
                if !met {
                    continue;
                }
                member.barrier();
                phase::done(Phase::InputGradient);
            }
            for l in (l..waiting).rev() {
                // SAFETY: members write disjoint parts of the gradient buffer; these layers' weights were last read
                // before the barrier.
                unsafe { self.parameter_gradients(simd, member, l, space, wanted, update) };
            }
            waiting = l;
        }
    }

    /// Whether the derivative of layer l's activation is folded into the product that gives its gradient.
    fn fuses_relu(&self, l: usize) -> bool {
        self.layers[l].activation == Activation::Relu && self.layers[l].rowwise.is_none()
    }

    /// What follows the gradient of layer l's input: the derivative of the layer before, or of the scaler.
    ///
    /// # Safety
    /// No other thread touches these features of the panel.
    #[inline(always)]
    unsafe fn before<S: Simd>(
        &self,
        simd: S,
        l: usize,
        space: &Workspace<T>,
        features: Range<usize>,
        panel: usize,
        relu_done: bool,
    ) {
        if l > 0 {
            // SAFETY: the caller's.
            unsafe { self.derive(simd, l - 1, space, features, panel, relu_done) };
        } else if let Some((_, factor)) = &self.scale {
            let at = panel * panel_stride(self.inputs) + features.start * PANEL;
            // SAFETY: the caller's.
            let values = unsafe { share(&space.dx).write(at..at + features.len() * PANEL) };
            for (values, &factor) in values.chunks_exact_mut(PANEL).zip(&factor[features]) {
                for value in values {
                    *value = *value * factor;
                }
            }
        }
    }

    /// Turns the gradient of layer l's output into that of its linear output, in place, for some features of a panel.
    ///
    /// # Safety
    /// No other thread touches these features of the panel.
    #[inline(always)]
    pub(super) unsafe fn derive<S: Simd>(
        &self,
        simd: S,
        l: usize,
        space: &Workspace<T>,
        features: Range<usize>,
        panel: usize,
        relu_done: bool,
    ) {
        let (layer, space) = (&self.layers[l], &space.layers[l]);
        if layer.rowwise.is_some()
            || (layer.dropout.is_none() && (relu_done || layer.activation == Activation::Identity))
        {
            return;
        }
        let at = panel * panel_stride(layer.outputs);
        let range = at + features.start * PANEL..at + features.end * PANEL;
        // SAFETY: the caller's.
        let gradient = unsafe { share(&space.gradient).write(range.clone()) };
        if let Some(dropout) = layer.dropout {
            let masks = &space.masks[panel * layer.outputs..][features];
            simd.call(ApplyMasks {
                p: dropout.p,
                masks,
                values: gradient,
            });
        }
        if !relu_done {
            let kept = if layer.keeps_apart() {
                &space.kept
            } else {
                &space.out
            };
            // SAFETY: finished in the forward pass.
            let kept = unsafe { share(kept).read(range) };
            activation::backward_in_place(simd, layer.activation, gradient, kept);
        }
    }

    /// dW = dZᵀ·X and db of layer l, if it has any, this member's part.
    ///
    /// # Safety
    /// As [`Network::backward_layers`].
    #[inline(always)]
    unsafe fn parameter_gradients<S: Simd>(
        &self,
        simd: S,
        member: &Member<'_>,
        l: usize,
        space: &Workspace<T>,
        wanted: Wanted,
        update: Option<&Update<'_, T>>,
    ) {
        let Some(linear) = &self.layers[l].linear else {
            return;
        };
        let gradient = &space.layers[l].gradient;
        let flat = self.gradients.as_mut_pointer();
        if linear.train_weight {
            debug_assert!(needs_columns(self, l));
            let x = if l == 0 {
                &space.inputs(member).columns
            } else {
                &space.layers[l - 1].columns
            };
            // SAFETY: the offset was checked against the buffer when the network was compiled.
            let dweight = unsafe { flat.add(linear.weight) };
            let shape = linear.shape(wanted.rows);
            let product =
                shape.weight_gradient(gradient.as_ptr(), x.as_ptr(), dweight, wanted.accumulate);
            let units = |all| member.share(all);
            // SAFETY: the shares of units are disjoint rectangles of the gradient and the parameters; the local buffer
            // is this member's.
            unsafe {
                match update {
                    None => product.run(simd, units, null_mut(), |_, _| {}),
                    // Rows narrower than a panel lie there side by side, to be updated as one.
                    Some(update) if update.keep || linear.inputs < PANEL => {
                        product.run(simd, units, null_mut(), |rows, columns| {
                            let at = rectangle(linear, &rows, &columns);
                            let gradient = flat.add(at.start).cast_const();
                            update.state.update_rows(
                                simd,
                                update.clip,
                                at,
                                gradient,
                                linear.inputs,
                            );
                        });
                    }
                    Some(update) => {
                        let local = share(&space.local[member.index]).as_ptr();
                        // Every thread has read some columns of all weights for the gradient of the input.
                        let read_by_others = member.count > 1 && (l > 0 || wanted.dx);
                        let ahead = update.state.ahead(
                            linear.weight,
                            linear.outputs.div_ceil(member.count),
                            linear.inputs,
                            read_by_others,
                        );
                        let beside = update.beside.then(|| {
                            update.state.beside::<S>(
                                update.clip,
                                linear.weight,
                                [linear.outputs, linear.inputs],
                                wanted.rows,
                                local,
                            )
                        });
                        if let Some(mut beside) = beside.flatten() {
                            let product = Product { ahead, ..product };
                            product.run_with(simd, units, null_mut(), &mut beside);
                            beside.finish(simd);
                        } else {
                            let c = Target {
                                start: local,
                                row: LOCAL_ROW,
                                local: true,
                                ..product.c
                            };
                            let product = Product {
                                c,
                                ahead,
                                ..product
                            };
                            product.run(simd, units, null_mut(), |rows, columns| {
                                phase::done(Phase::WeightGradient);
                                let at = rectangle(linear, &rows, &columns);
                                update
                                    .state
                                    .update_rows(simd, update.clip, at, local, LOCAL_ROW);
                                phase::done(Phase::Update);
                            });
                        }
                    }
                }
            }
        }
        phase::done(Phase::WeightGradient);
        if let (true, Some(biases)) = (linear.train_bias, linear.biases()) {
            // SAFETY: within the buffer, as checked when the network was compiled.
            let sums = unsafe { Shared::from_raw(flat.add(biases.start), biases.len()) };
            let blocks = member.share(linear.outputs.div_ceil(PANEL));
            let done = biases.start + (blocks.start * PANEL).min(linear.outputs)
                ..biases.start + (blocks.end * PANEL).min(linear.outputs);
            // SAFETY: the shares of feature blocks are disjoint.
            unsafe {
                let panels = share(gradient);
                sum_rows(
                    simd,
                    wanted.rows,
                    linear.outputs,
                    blocks,
                    panels,
                    sums,
                    wanted.accumulate,
                );
            }
            if let Some(update) = update {
                // SAFETY: as the sums.
                unsafe { update.state.update(simd, update.clip, done) };
            }
            phase::done(Phase::BiasGradient);
        }
    }
}
