//! The affine map of a few rows: W is turned as it passes, in registers, and each turned block serves all of them.
//!
//! In panels of 16 rows one row would take a whole panel. Here a vector holds as many outputs as it has lanes, as in a
//! prediction over packed weights, and x is broadcast; to turn 16 × 16 weights costs about as much as to multiply them
//! with five rows.

#![allow(unsafe_code)]

use super::Shape;
use crate::activation::{self, Activation};
use crate::gemm::Join;
use crate::gemm::pack::Source;
use crate::lanes::halve;
use crate::pool::Shared;
use crate::simd::{Element, Kernel, MOST_LANES, Simd, Vector};
use std::ops::Range;

/// Rows up to which it pays.
const FEW: usize = 8;
/// Blocks of outputs that pass together: the chain of one waits while those of the others go on.
const TOGETHER: usize = 2;
/// Of [`Join::Interleaved`].
const CHAINS: usize = 16;

/// Whether a map is best done so.
pub(super) fn pays<T>(shape: Shape, x: &Source<'_, T>) -> bool {
    shape.rows <= FEW && x.column_stride == 1 && x.row_stride >= 0 && x.picks.is_none()
}

/// The work in floating-point operations, or what takes as long.
pub(super) fn flops(shape: Shape) -> f64 {
    let rows = shape.rows + FEW;
    Shape { rows, ..shape }.flops()
}

/// Some outputs of a few rows, which one thread computes.
pub(super) struct FewRows<'a, T> {
    pub(super) shape: Shape,
    /// Rows whose elements lie together.
    pub(super) x: Source<'a, T>,
    pub(super) outputs: Range<usize>,
    /// Of these outputs.
    pub(super) weight: &'a [T],
    pub(super) bias: Option<&'a [T]>,
    pub(super) activation: Activation,
    pub(super) out: Shared<'a, T>,
}

impl<T: Element> Kernel for FewRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mine = self.outputs.len();
        // SAFETY: `x` and the weights hold these elements; these outputs are this thread's alone.
        unsafe {
            match self.shape.join() {
                Join::Interleaved => {
                    for r in 0..self.shape.rows {
                        for output in 0..mine {
                            self.interleaved(simd, r, output);
                        }
                    }
                }
                _ => {
                    for first in (0..mine).step_by(TOGETHER * T::Vector::<S>::LANES) {
                        self.chains(simd, first);
                    }
                }
            }
            for r in 0..self.shape.rows {
                let at = r * self.shape.outputs + self.outputs.start;
                let values = self.out.write(at..at + mine);
                activation::forward_in_place(simd, self.activation, values);
            }
        }
    }
}

impl<T: Element> FewRows<'_, T> {
    #[inline(always)]
    fn row(&self, r: usize) -> *const T {
        self.x.start.wrapping_offset(r as isize * self.x.row_stride)
    }

    /// Where output `output` of these for row `r` goes.
    #[inline(always)]
    fn place(&self, r: usize, output: usize) -> *mut T {
        let at = r * self.shape.outputs + self.outputs.start + output;
        self.out.as_ptr().wrapping_add(at)
    }

    /// [`TOGETHER`] blocks of outputs from `first` on, or those that are left: one chain each in increasing k.
    ///
    /// # Safety
    /// `x` holds the rows, and no other thread touches these outputs.
    #[inline(always)]
    unsafe fn chains<S: Simd>(&self, simd: S, first: usize) {
        let lanes = T::Vector::<S>::LANES;
        let Shape { inputs, rows, .. } = self.shape;
        let count = (self.outputs.len() - first).min(TOGETHER * lanes);
        let mut sums = [[T::Vector::<S>::zero(simd); TOGETHER]; FEW];
        let sums = &mut sums[..rows];
        if let Some(bias) = self.bias {
            for (block, bias) in bias[first..first + count].chunks(lanes).enumerate() {
                let bias = T::Vector::<S>::load_tail(simd, bias);
                sums.iter_mut().for_each(|sums| sums[block] = bias);
            }
        }
        let weight = self.weight.as_ptr().wrapping_add(first * inputs);
        let whole = if count == TOGETHER * lanes {
            inputs / lanes * lanes
        } else {
            0
        };
        for k in (0..whole).step_by(lanes) {
            for block in 0..TOGETHER {
                // SAFETY: so many outputs and inputs exist.
                unsafe {
                    let weight = weight.add(block * lanes * inputs + k);
                    for output in 0..lanes {
                        let next = weight.wrapping_add(output * inputs + 2 * lanes);
                        T::Vector::<S>::prefetch(next);
                    }
                    let columns = T::Vector::<S>::columns(simd, weight, inputs);
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let x = self.row(r).add(k);
                        let mut sum = sums[block];
                        for (j, column) in columns[..lanes].iter().enumerate() {
                            sum = column.mul_add(T::Vector::<S>::splat(simd, *x.add(j)), sum);
                        }
                        sums[block] = sum;
                    }
                }
            }
        }
        // What makes no whole block is turned in a copy.
        for k in (whole..inputs).step_by(lanes) {
            let width = lanes.min(inputs - k);
            for block in 0..count.div_ceil(lanes) {
                let outputs = block * lanes..count.min((block + 1) * lanes);
                let mut copy = [[T::ZERO; MOST_LANES]; MOST_LANES];
                let mut turned = copy;
                // SAFETY: as above; the copies have LANES rows and columns.
                unsafe {
                    for (output, row) in outputs.zip(&mut copy) {
                        let weight = weight.add(output * inputs + k);
                        T::Vector::<S>::load_partial(simd, weight, width).store_slice(row);
                    }
                    let (from, to) = (copy.as_ptr().cast(), turned.as_mut_ptr().cast());
                    T::Vector::<S>::transpose(simd, from, MOST_LANES, to, MOST_LANES);
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let x = self.row(r).add(k);
                        for (j, column) in turned[..width].iter().enumerate() {
                            let column = T::Vector::<S>::load_slice(simd, column);
                            let x = T::Vector::<S>::splat(simd, *x.add(j));
                            sums[block] = column.mul_add(x, sums[block]);
                        }
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (block, sum) in sums[..count.div_ceil(lanes)].iter().enumerate() {
                let output = block * lanes;
                // SAFETY: these outputs exist.
                unsafe {
                    sum.store_partial(self.place(r, first + output), lanes.min(count - output))
                };
            }
        }
    }

    /// One output of one row: sixteen chains along k, joined by halving; the bias is added last.
    ///
    /// # Safety
    /// As [`FewRows::chains`].
    #[inline(always)]
    unsafe fn interleaved<S: Simd>(&self, simd: S, r: usize, output: usize) {
        let lanes = T::Vector::<S>::LANES;
        let inputs = self.shape.inputs;
        let weight = &self.weight[output * inputs..][..inputs];
        // SAFETY: the row has as many elements.
        let x = unsafe { std::slice::from_raw_parts(self.row(r), inputs) };
        let mut sums = [T::Vector::<S>::zero(simd); CHAINS];
        let vectors = CHAINS / lanes;
        for (x, weight) in x.chunks(CHAINS).zip(weight.chunks(CHAINS)) {
            for (v, sum) in sums[..vectors].iter_mut().enumerate() {
                let here = (v * lanes).min(x.len())..((v + 1) * lanes).min(x.len());
                let factor = T::Vector::<S>::load_tail(simd, &x[here.clone()]);
                let next =
                    factor.mul_add(T::Vector::<S>::load_tail(simd, &weight[here.clone()]), *sum);
                let exists = T::Vector::<S>::mask_from_bits(simd, (1 << here.len()) - 1);
                *sum = T::Vector::<S>::select(exists, next, *sum);
            }
        }
        let mut chains = [T::ZERO; CHAINS];
        for (sum, chains) in sums.iter().zip(chains.chunks_exact_mut(lanes)) {
            sum.store_slice(chains);
        }
        let bias = self.bias.map_or(T::ZERO, |bias| bias[output]);
        // SAFETY: this output exists.
        unsafe { *self.place(r, output) = halve(&mut chains) + bias };
    }
}
