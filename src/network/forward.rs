//! The forward pass: pack the batch into panels, then layer by layer, all threads in step.

#![allow(unsafe_code)]

use super::division::{run_part, turn_columns};
use super::workspace::{LayerSpace, Workspace};
use super::{Dropout, Layer, Network, Rowwise};
use crate::activation::{self, Activation, Keeps};
use crate::buffer::Aligned;
use crate::gemm::pack::{Scale, Source, pack_rows};
use crate::gemm::turn::unpack_rows;
use crate::gemm::{Epilogue, PANEL, panel_stride};
use crate::pool::{Member, Shared};
use crate::random::DropoutMask;
use crate::simd::{Arithmetic, Element, Kernel, Simd, Vector};
use crate::softmax;
use std::ops::Range;
use std::ptr::null_mut;

/// The members of a team write disjoint parts of it, as each pass says.
pub fn share<T>(buffer: &Aligned<T>) -> Shared<'_, T> {
    // SAFETY: the buffer is valid for its length; disjointness is up to the unsafe accessors' callers.
    unsafe { Shared::from_raw(buffer.as_mut_pointer(), buffer.len()) }
}

/// What draws the masks of a training pass.
#[derive(Clone, Copy)]
pub struct Draw {
    pub seed: u64,
    pub step: u64,
    /// The number of the pass's first row in the whole batch.
    pub first_row: usize,
}

/// Whether the next layer's weight gradient needs this layer's output as columns.
pub fn needs_columns(network: &Network<impl Element>, l: usize) -> bool {
    network
        .layers
        .get(l)
        .is_some_and(|next| next.linear.is_some_and(|linear| linear.train_weight))
}

impl<T: Element> Network<T> {
    pub(super) fn parameter(&self, offset: usize) -> *const T {
        // SAFETY: offsets were checked against the buffer when the network was compiled.
        unsafe { self.parameters.as_mut_pointer().add(offset) }
    }

    /// This member's part of packing the batch; to train, in both forms if the first layer's gradient needs the other.
    ///
    /// # Safety
    /// `source` holds `rows` rows; the team runs this together, with nothing else at the workspace.
    #[inline(always)]
    pub(super) unsafe fn load<S: Simd>(
        &self,
        simd: S,
        member: &Member<'_>,
        space: &Workspace<T>,
        source: &Source<'_, T>,
        rows: usize,
        training: bool,
    ) {
        let scale = self
            .scale
            .as_ref()
            .map(|(shift, factor)| Scale { shift, factor });
        let inputs = space.inputs(member);
        let columns = (training && needs_columns(self, 0)).then(|| share(&inputs.columns));
        // SAFETY: the shares of the members are disjoint panels, or panels of copies of their own.
        unsafe {
            pack_rows(
                simd,
                source,
                scale,
                rows,
                self.inputs,
                space.packed_by(member, rows),
                share(&inputs.panels),
                columns,
            );
        }
    }

    /// This member's part of drawing the masks.
    ///
    /// # Safety
    /// The team runs this together, with nothing else at the masks.
    #[inline(always)]
    pub(super) unsafe fn draw<S: Simd>(
        &self,
        simd: S,
        member: &Member<'_>,
        space: &Workspace<T>,
        rows: usize,
        draw: Draw,
    ) {
        let panels = member.share(rows.div_ceil(PANEL));
        for (layer, space) in self.layers.iter().zip(&space.layers) {
            if let Some(dropout) = layer.dropout {
                // SAFETY: the shares of the members are disjoint panels.
                unsafe { draw_masks(simd, draw, dropout, layer.outputs, panels.clone(), space) };
            }
        }
    }

    /// This member's part of writing the last layer's output to a row-major matrix.
    ///
    /// # Safety
    /// `out` holds `rows` rows; this member is done with [`Network::forward_layers`].
    #[inline(always)]
    pub(super) unsafe fn unload<S: Simd>(
        &self,
        simd: S,
        member: &Member<'_>,
        space: &Workspace<T>,
        rows: usize,
        out: Shared<'_, T>,
    ) {
        let last = share(&space.layers[self.layers.len() - 1].out);
        let (panels, outputs) = (member.share(rows.div_ceil(PANEL)), self.outputs);
        // SAFETY: the shares of the members are disjoint panels.
        unsafe { unpack_rows(simd, rows, outputs, panels, last, out, outputs) };
    }

    /// All layers. After it each member may read the last one's output for its share of the panels. `meanwhile` is called
    /// with every finished part of a layer, some hundreds of nanoseconds apart.
    ///
    /// # Safety
    /// As [`Network::load`], which has been run and its barrier passed.
    #[inline(always)]
    pub(super) unsafe fn forward_layers<S: Simd>(
        &self,
        simd: S,
        member: &Member<'_>,
        space: &Workspace<T>,
        rows: usize,
        training: bool,
        meanwhile: &impl Fn(),
    ) {
        // Whether all members may read all rows of the last layer's output, or each its own.
        let mut met = true;
        for (l, layer) in self.layers.iter().enumerate() {
            let x = if l == 0 {
                &space.inputs(member).panels
            } else {
                &space.layers[l - 1].out
            };
            let own = self.own_panels(l, member, rows);
            if !met && own.is_none() {
                member.barrier();
                met = true;
            }
            // SAFETY: members write disjoint parts of this layer's space, and read what was finished before a barrier or
            // by themselves.
            unsafe {
                if training && l > 0 && needs_columns(self, l) {
                    let columns = share(&space.layers[l - 1].columns);
                    let own = own.clone().filter(|_| !met);
                    turn_columns(simd, member, own, rows, layer.inputs, share(x), columns);
                }
                self.forward_layer(
                    simd,
                    member,
                    l,
                    own.clone(),
                    space,
                    x,
                    rows,
                    training,
                    meanwhile,
                );
            }
            met = own.is_none();
            if met {
                member.barrier();
            }
        }
    }

    /// # Safety
    /// As [`Network::forward_layers`].
    #[inline(always)]
    unsafe fn forward_layer<S: Simd>(
        &self,
        simd: S,
        member: &Member<'_>,
        l: usize,
        own_panels: Option<Range<usize>>,
        space: &Workspace<T>,
        x: &Aligned<T>,
        rows: usize,
        training: bool,
        meanwhile: &impl Fn(),
    ) {
        let (layer, space) = (&self.layers[l], &space.layers[l]);
        let Some(linear) = &layer.linear else {
            let panels = member.share(rows.div_ceil(PANEL));
            for panel in panels {
                let at = panel * panel_stride(layer.outputs);
                let range = at..at + layer.outputs * PANEL;
                // SAFETY: this panel is this member's; the input was finished before the barrier.
                unsafe {
                    let input = share(x).read(range.clone());
                    if let Some(rowwise) = layer.rowwise {
                        let out = share(&space.out).write(range);
                        softmax::forward_panel(
                            simd,
                            rowwise == Rowwise::LogSoftmax,
                            layer.outputs,
                            input,
                            out,
                        );
                    } else {
                        let first = if training && layer.keeps_apart() {
                            &space.kept
                        } else {
                            &space.out
                        };
                        share(first).write(range).copy_from_slice(input);
                        finish(simd, layer, space, training, 0..layer.outputs, panel);
                    }
                }
            }
            return;
        };
        let fused = layer.activation == Activation::Relu;
        let epilogue = if fused {
            Epilogue::Relu
        } else {
            Epilogue::Store
        };
        let apart = training && layer.keeps_apart();
        let out = if apart { &space.kept } else { &space.out };
        let shape = linear.shape(rows);
        let bias = linear.bias.map(|bias| self.parameter(bias));
        let weight = self.parameter(linear.weight);
        let product = shape.forward(weight, bias, x.as_ptr(), out.as_mut_pointer(), epilogue);
        let done = (fused || layer.activation == Activation::Identity)
            && !(training && layer.dropout.is_some());
        // SAFETY: the members' parts are disjoint rectangles of the output.
        unsafe {
            run_part(
                simd,
                &product,
                member,
                own_panels,
                null_mut(),
                |features, columns| {
                    meanwhile();
                    if !done {
                        for panel in columns.start / PANEL..columns.end.div_ceil(PANEL) {
                            finish(simd, layer, space, training, features.clone(), panel);
                        }
                    }
                },
            );
        }
    }
}

/// Activation (unless fused) and dropout of some features of a panel whose linear output is in place.
///
/// # Safety
/// No other thread touches these features of the panel.
#[inline(always)]
unsafe fn finish<S: Simd, T: Element>(
    simd: S,
    layer: &Layer,
    space: &LayerSpace<T>,
    training: bool,
    features: Range<usize>,
    panel: usize,
) {
    let at = panel * panel_stride(layer.outputs);
    let range = at + features.start * PANEL..at + features.end * PANEL;
    // SAFETY: the caller's.
    let out = unsafe { share(&space.out).write(range.clone()) };
    if training && layer.keeps_apart() {
        // SAFETY: the caller's.
        let kept = unsafe { share(&space.kept).write(range) };
        if layer.activation.keeps() == Keeps::Input {
            activation::forward(simd, layer.activation, kept, out);
        } else {
            activation::forward_in_place(simd, layer.activation, kept);
            out.copy_from_slice(kept);
        }
    } else if layer.linear.is_none() || layer.activation != Activation::Relu {
        activation::forward_in_place(simd, layer.activation, out);
    }
    if let (true, Some(dropout)) = (training, layer.dropout) {
        let masks = &space.masks[panel * layer.outputs..][features];
        simd.call(ApplyMasks {
            p: dropout.p,
            masks,
            values: out,
        });
    }
}

/// Zeroes what is dropped and scales what is kept: a bit of `masks` for each of 16 rows of a feature.
pub(super) struct ApplyMasks<'a, T> {
    pub p: f64,
    pub masks: &'a [u16],
    pub values: &'a mut [T],
}

impl<T: Element> Kernel for ApplyMasks<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let lanes = T::Vector::<S>::LANES;
        let scale = T::Vector::<S>::splat(simd, DropoutMask::scale(self.p));
        let zero = T::Vector::<S>::zero(simd);
        for (mask, values) in self.masks.iter().zip(self.values.chunks_exact_mut(PANEL)) {
            for (j, values) in values.chunks_exact_mut(lanes).enumerate() {
                let keep = T::Vector::<S>::mask_from_bits(simd, u32::from(*mask) >> (j * lanes));
                let scaled = T::Vector::<S>::load_slice(simd, values) * scale;
                T::Vector::<S>::select(keep, scaled, zero).store_slice(values);
            }
        }
    }
}

/// # Safety
/// No other thread touches these panels' masks.
#[inline(always)]
unsafe fn draw_masks<S: Simd, T: Element>(
    simd: S,
    draw: Draw,
    dropout: Dropout,
    features: usize,
    panels: Range<usize>,
    space: &LayerSpace<T>,
) {
    let masks = share(&space.masks);
    let mask = DropoutMask::new(draw.seed, draw.step, dropout.layer, dropout.p);
    for panel in panels {
        // SAFETY: the caller's.
        let masks = unsafe { masks.write(panel * features..(panel + 1) * features) };
        mask.rows(simd, draw.first_row + panel * PANEL, 0, masks);
    }
}
