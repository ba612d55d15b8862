//! The affine map of a few rows: W is turned as it passes, and each turned part serves all of them.
//!
//! In panels of 16 rows one row would take a whole panel. Here a vector holds 16 outputs, as in a prediction over packed
//! weights, and x is broadcast; to turn 16 × 16 weights costs about as much as to multiply them with eight rows.

#![allow(unsafe_code)]

use super::Shape;
use crate::activation::{self, Activation};
use crate::gemm::pack::{Source, pack_rows};
use crate::gemm::{Ahead, Epilogue, Join, Operand, PANEL, Product, Start, Target, panel_stride};
use crate::pool::Shared;
use crate::simd::{Element, Kernel, Simd};
use std::ops::Range;
use std::ptr::{null, null_mut};

/// Rows up to which it pays.
const FEW: usize = 8;
/// Panels of outputs that pass together: eight chains hide the latency of a multiply-add.
const TOGETHER: usize = 8;
/// Inputs at a time: with so many panels, what is turned stays in the first-level cache.
const DEPTH: usize = 64;
/// Inputs up to which all pass at once, where their chains are interleaved.
const MOST_INTERLEAVED: usize = 2048;

/// Elements of scratch memory that a thread needs.
pub(super) const SCRATCH: usize = if TOGETHER * (DEPTH + 1) > MOST_INTERLEAVED + 1 {
    TOGETHER * (DEPTH + 1) * PANEL
} else {
    (MOST_INTERLEAVED + 1) * PANEL
};

/// Whether a map is best done so.
pub(super) fn pays<T>(shape: Shape, x: &Source<'_, T>) -> bool {
    shape.rows <= FEW
        && x.column_stride == 1
        && x.row_stride >= 0
        && x.picks.is_none()
        && (shape.join() == Join::Chain || shape.inputs <= MOST_INTERLEAVED)
}

/// The work in floating-point operations, or what takes as long.
pub(super) fn flops(shape: Shape) -> f64 {
    let rows = shape.rows + FEW;
    Shape { rows, ..shape }.flops()
}

/// Some outputs of a few rows, which one thread computes.
pub(super) struct FewRows<'a, T> {
    pub(super) shape: Shape,
    pub(super) x: Source<'a, T>,
    pub(super) outputs: Range<usize>,
    /// Of these outputs.
    pub(super) weight: &'a [T],
    pub(super) bias: Option<&'a [T]>,
    pub(super) activation: Activation,
    pub(super) scratch: &'a mut [T],
    pub(super) out: Shared<'a, T>,
}

impl<T: Element> Kernel for FewRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Shape {
            outputs,
            inputs,
            rows,
        } = self.shape;
        let mine = self.outputs.len();
        let join = self.shape.join();
        let depth = if join == Join::Chain { DEPTH } else { inputs };
        let fused = if self.activation == Activation::Relu {
            Epilogue::Relu
        } else {
            Epilogue::Store
        };
        let panels = Shared::new(self.scratch);
        for group in (0..mine).step_by(TOGETHER * PANEL) {
            let columns = (mine - group).min(TOGETHER * PANEL);
            let first = self.outputs.start + group;
            // Padded, as vectors are read from it.
            let mut bias = [T::ZERO; TOGETHER * PANEL];
            if let Some(given) = self.bias {
                bias[..columns].copy_from_slice(&given[group..group + columns]);
            }
            for k in (0..inputs.max(1)).step_by(depth.max(1)) {
                let here = depth.min(inputs - k);
                let weights = Source {
                    start: self.weight.as_ptr().wrapping_add(group * inputs + k),
                    row_stride: inputs as isize,
                    column_stride: 1,
                    picks: None,
                };
                let last = k + here == inputs;
                // SAFETY: `x` and the weights hold these elements; the panels and these outputs are this thread's alone.
                unsafe {
                    let across = 0..columns.div_ceil(PANEL);
                    pack_rows(simd, &weights, None, columns, here, across, panels, None);
                    let product = Product {
                        rows,
                        columns,
                        k: here,
                        a: Operand::plain(self.x.start.add(k), self.x.row_stride as usize, 1),
                        b: panels.as_ptr().cast_const(),
                        b_panel: panel_stride(here),
                        c: Target {
                            start: self.out.as_ptr().add(first),
                            row: outputs,
                            panel: PANEL,
                            begin: if k == 0 {
                                Start::Columns(bias.as_ptr())
                            } else {
                                Start::Target
                            },
                            epilogue: if last { fused } else { Epilogue::Store },
                            kept: null(),
                            local: false,
                        },
                        join,
                        ahead: Ahead::nothing(),
                        pack_a: false,
                    };
                    let units = 0..product.units::<S>();
                    product.run(simd, units, null_mut(), |_, _| {});
                }
            }
            if !matches!(self.activation, Activation::Relu | Activation::Identity) {
                for r in 0..rows {
                    let at = r * outputs + first;
                    // SAFETY: these outputs are this thread's alone.
                    let values = unsafe { self.out.write(at..at + columns) };
                    activation::forward_in_place(simd, self.activation, values);
                }
            }
        }
    }
}
