//! A frozen network: packed weights, immutable, for many threads at once.
//!
//! Weights lie in panels of 16 outputs, `[outputs/16][input][16]`, whatever the instruction set; a vector holds the
//! same input's weights of several outputs, and the rows of the batch are read in place by broadcast. So one row is a
//! matrix-vector product that reads each weight once, and the result is row-major as it comes. Every output is the same
//! chain of fused multiply-adds as in training: the same bits.

#![allow(unsafe_code)]

use crate::activation::{self, Activation};
use crate::buffer::{Aligned, with_scratch};
use crate::gemm::pack::{Scale, Source, pack_rows};
use crate::gemm::{
    Ahead, Epilogue, Join, Operand, PANEL, Product, Start, Target, caches, padded, panel_stride,
    panels_len,
};
use crate::network::{Network, Rowwise};
use crate::pool::{self, Member, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::softmax;
use std::ops::Range;
use std::ptr::{null, null_mut};

pub struct Predictor<T> {
    pub inputs: usize,
    pub outputs: usize,
    scale: Option<(Vec<T>, Vec<T>)>,
    layers: Vec<Layer>,
    /// Weights and biases of all layers in one block: large ones lie on huge pages then.
    numbers: Aligned<T>,
    /// Elements from row to row of an intermediate result.
    row: usize,
    flops: f64,
    /// Whether the weights are more than the last cache is likely to keep beside those of others.
    is_far: bool,
    isa: Isa,
    threads: Option<usize>,
}

struct Layer {
    /// Where weights and bias begin; none for a layer that only applies a function.
    linear: Option<[usize; 2]>,
    activation: Activation,
    rowwise: Option<Rowwise>,
    inputs: usize,
    outputs: usize,
}

/// Rows that pass through all layers together: their intermediate results stay in the second-level cache.
const BLOCK_ROWS: usize = 112;

/// The k after which more of far weights are asked for.
const ASK_EVERY: usize = 16;

struct Pack<'a, T> {
    weights: &'a [T],
    outputs: usize,
    inputs: usize,
    panels: &'a mut [T],
}
impl<T: Element> Kernel for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let source = Source::rows(self.weights, self.inputs);
        let panels = Shared::new(self.panels);
        let all = 0..self.outputs.div_ceil(PANEL);
        // SAFETY: one thread; the weights are outputs × inputs, the panels as long as panels_len says.
        unsafe {
            pack_rows(
                simd,
                &source,
                None,
                self.outputs,
                self.inputs,
                all,
                panels,
                None,
            )
        }
    }
}

impl<T: Element> Predictor<T> {
    /// Copies the parameters as they are now. `threads` caps the threads of a call.
    pub fn new(network: &Network<T>, isa: Isa, threads: Option<usize>) -> Self {
        let mut len = 0;
        let layers: Vec<_> = network
            .layers
            .iter()
            .map(|layer| Layer {
                linear: layer.linear.map(|linear| {
                    let weights = len;
                    let bias = weights + panels_len(linear.outputs, linear.inputs);
                    len = bias + padded(linear.outputs);
                    [weights, bias]
                }),
                activation: layer.activation,
                rowwise: layer.rowwise,
                inputs: layer.inputs,
                outputs: layer.outputs,
            })
            .collect();
        let mut numbers = Aligned::zeros(len);
        for (layer, packed) in network.layers.iter().zip(&layers) {
            if let (Some(linear), Some([weights, bias])) = (layer.linear, packed.linear) {
                isa.run(Pack {
                    weights: &network.read(linear.weights()),
                    outputs: linear.outputs,
                    inputs: linear.inputs,
                    panels: &mut numbers[weights..bias],
                });
                if let Some(biases) = linear.biases() {
                    numbers[bias..][..linear.outputs].copy_from_slice(&network.read(biases));
                }
            }
        }
        let widest = layers
            .iter()
            .map(|layer| layer.inputs.max(layer.outputs))
            .max()
            .unwrap_or(0);
        Self {
            inputs: network.inputs,
            outputs: network.outputs,
            scale: network.scale.clone(),
            layers,
            is_far: len * size_of::<T>() > caches().l3 / 4,
            numbers,
            // A line more than whole lines, so that rows do not meet in the same cache sets.
            row: padded(widest) + PANEL,
            flops: network.flops(),
            isa,
            threads,
        }
    }

    /// Floating-point operations of a row.
    pub fn flops(&self) -> f64 {
        self.flops
    }

    /// Computes `rows` rows of `out` (row-major, contiguous).
    ///
    /// # Safety
    /// `x` holds `rows` rows of `inputs` elements that nobody writes meanwhile.
    ///
    /// # Panics
    /// If `out` does not hold rows × outputs elements.
    pub unsafe fn predict(&self, x: Source<'_, T>, rows: usize, out: &mut [T]) {
        assert!(out.len() == rows * self.outputs);
        let out = Shared::new(out);
        let work = |member: Member<'_>| {
            self.isa.run(Predict {
                predictor: self,
                x,
                out,
                rows: member.share(rows),
            });
        };
        let flops = self.flops * rows as f64;
        let before = self
            .threads
            .map(|cap| pool::set_local_num_threads(cap.min(pool::num_threads())));
        pool::run(flops, &work);
        if let Some(before) = before {
            pool::set_local_num_threads(before);
        }
    }
}

struct Predict<'a, T> {
    predictor: &'a Predictor<T>,
    x: Source<'a, T>,
    out: Shared<'a, T>,
    rows: Range<usize>,
}

impl<T: Element> Kernel for Predict<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let p = self.predictor;
        let block = BLOCK_ROWS.min(self.rows.len());
        with_scratch(2 * block * p.row, |scratch| {
            simd.call(Blocks {
                predict: self,
                block,
                scratch,
            })
        });
    }
}

/// [`Predict`] with scratch memory for two intermediate results of `block` rows.
struct Blocks<'a, T> {
    predict: Predict<'a, T>,
    block: usize,
    scratch: &'a mut [T],
}

impl<T: Element> Kernel for Blocks<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Predict {
            predictor: p,
            x,
            out,
            rows,
        } = self.predict;
        let (ping, pong) = self.scratch.split_at_mut(self.block * p.row);
        let mut done = rows.start;
        while done < rows.end {
            let here = done..rows.end.min(done + self.block);
            done = here.end;
            // SAFETY: these rows of the result are this member's alone; the input is nobody's to write.
            unsafe { block_of_rows(simd, p, &x, out, here, ping, pong) }
        }
    }
}

/// # Safety
/// The rows of `out` are this thread's, `x` has these rows, and the scratch halves hold as many rows.
#[inline(always)]
unsafe fn block_of_rows<'a, S: Simd, T: Element>(
    simd: S,
    p: &Predictor<T>,
    x: &Source<'_, T>,
    out: Shared<'_, T>,
    rows: Range<usize>,
    mut ping: &'a mut [T],
    mut pong: &'a mut [T],
) {
    let count = rows.len();
    let (mut input, mut stride) = if p.scale.is_none() && x.column_stride == 1 && x.row_stride >= 0
    {
        (
            x.start.wrapping_add(rows.start * x.row_stride as usize),
            x.row_stride as usize,
        )
    } else {
        // SAFETY: the caller's.
        unsafe { copy_input(p, x, rows.clone(), ping) };
        let copied = ping.as_ptr();
        std::mem::swap(&mut ping, &mut pong);
        (copied, p.row)
    };
    for (l, layer) in p.layers.iter().enumerate() {
        let last = l + 1 == p.layers.len();
        let (target, row) = if last {
            // SAFETY: the caller's.
            (
                unsafe { out.write(rows.start * p.outputs..rows.end * p.outputs) },
                p.outputs,
            )
        } else {
            (&mut ping[..count * p.row], p.row)
        };
        let start = target.as_mut_ptr();
        let relu = layer.activation == Activation::Relu;
        let plain = layer.rowwise.is_none() && (relu || layer.activation == Activation::Identity);
        if let Some([weights, bias]) = layer.linear {
            let mut a = Operand::plain(input, stride, 1);
            // One row of tiles would ask for as many lines as it reads.
            if p.is_far && count > S::TILE_ROWS {
                a = a.in_blocks(ASK_EVERY);
            }
            let product = Product {
                rows: count,
                columns: layer.outputs,
                k: layer.inputs,
                a,
                b: p.numbers[weights..].as_ptr(),
                b_panel: panel_stride(layer.inputs),
                c: Target {
                    start,
                    row,
                    panel: PANEL,
                    begin: Start::Columns(p.numbers[bias..].as_ptr()),
                    epilogue: if relu {
                        Epilogue::Relu
                    } else {
                        Epilogue::Store
                    },
                    kept: null(),
                    local: false,
                },
                join: Join::of(layer.outputs, layer.inputs),
                ahead: Ahead::nothing(),
                pack_a: false,
            };
            // SAFETY: `count` rows of the input and of the target, and the packed weights and bias of this layer.
            unsafe { product.run(simd, |all| 0..all, null_mut(), |_, _| {}) };
        } else {
            for r in 0..count {
                // SAFETY: a row of the input, of the layer's width.
                let from =
                    unsafe { std::slice::from_raw_parts(input.add(r * stride), layer.inputs) };
                target[r * row..][..layer.outputs].copy_from_slice(from);
            }
        }
        if !plain || (relu && layer.linear.is_none()) {
            for values in target.chunks_mut(row.max(1)).take(count) {
                let values = &mut values[..layer.outputs];
                match layer.rowwise {
                    Some(rowwise) => {
                        softmax::forward_row(simd, rowwise == Rowwise::LogSoftmax, values)
                    }
                    None => activation::forward_in_place(simd, layer.activation, values),
                }
            }
        }
        (input, stride) = (start, row);
        std::mem::swap(&mut ping, &mut pong);
    }
}

/// Copies rows of the input to row-major scratch, scaled.
///
/// # Safety
/// `x` has these rows.
#[inline(always)]
unsafe fn copy_input<T: Element>(
    p: &Predictor<T>,
    x: &Source<'_, T>,
    rows: Range<usize>,
    target: &mut [T],
) {
    let scale = p
        .scale
        .as_ref()
        .map(|(shift, factor)| Scale { shift, factor });
    for (r, target) in rows.zip(target.chunks_exact_mut(p.row)) {
        let from = x.start.wrapping_offset(r as isize * x.row_stride);
        for (j, target) in target[..p.inputs].iter_mut().enumerate() {
            // SAFETY: an element of the row.
            let value = unsafe { *from.wrapping_offset(j as isize * x.column_stride) };
            *target = scale.map_or(value, |s| (value - s.shift[j]) * s.factor[j]);
        }
    }
}
