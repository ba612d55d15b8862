//! The affine map of a few rows: W is turned as it passes, in registers, and each turned block serves all of them.
//!
//! In panels of 16 rows one row would take a whole panel. Here a vector holds as many outputs as it has lanes, as in a
//! prediction over packed weights, and x is broadcast; to turn 16 × 16 weights costs as much as to multiply them with four
//! to six rows.

#![allow(unsafe_code)]

use super::Shape;
use crate::activation::{self, Activation};
use crate::gemm::Join;
use crate::gemm::pack::Source;
use crate::lanes::halve;
use crate::pool::Shared;
use crate::simd::{Arithmetic, Element, Kernel, MOST_LANES, Opaque, Rows, Simd, Vector};
use std::ops::Range;

/// Rows up to which it pays.
const FEW: usize = 8;
/// Blocks of outputs that pass together: the chain of one waits while those of the others go on.
const TOGETHER: usize = 2;
/// Inputs from which on it pays to begin where what is loaded at a time is aligned.
const ALIGN_FROM: usize = 256;
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
                        match self.shape.rows {
                            1 => self.chains::<S, 1>(simd, first),
                            2 => self.chains::<S, 2>(simd, first),
                            3 | 4 => self.chains::<S, 4>(simd, first),
                            _ => self.chains::<S, FEW>(simd, first),
                        }
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

    /// [`TOGETHER`] blocks of outputs from `first` on, or those that are left: one chain each in increasing k. Up to
    /// `ROWS` rows, so many that their sums stay in registers; where there are fewer, the last again.
    ///
    /// # Safety
    /// `x` holds the rows, and no other thread touches these outputs.
    #[inline(always)]
    unsafe fn chains<S: Simd, const ROWS: usize>(&self, simd: S, first: usize) {
        let lanes = T::Vector::<S>::LANES;
        let inputs = self.shape.inputs;
        let count = (self.outputs.len() - first).min(TOGETHER * lanes);
        let mut sums = [[T::Vector::<S>::zero(simd); ROWS]; TOGETHER];
        if let Some(bias) = self.bias {
            for (sums, bias) in sums
                .iter_mut()
                .zip(bias[first..first + count].chunks(lanes))
            {
                *sums = [T::Vector::<S>::load_tail(simd, bias); ROWS];
            }
        }
        let mut x = [self.row(0); ROWS];
        for (r, x) in x.iter_mut().enumerate() {
            *x = self.row(r.min(self.shape.rows - 1));
        }
        let weight = self.weight.as_ptr().wrapping_add(first * inputs);
        // SAFETY: so many outputs and inputs exist.
        unsafe {
            if count == TOGETHER * lanes && inputs >= lanes {
                self.add_whole(simd, weight, &x, &mut sums);
            } else {
                self.add_copied(simd, weight, count, &x, &mut sums);
            }
        }
        for (block, sums) in sums[..count.div_ceil(lanes)].iter().enumerate() {
            let output = block * lanes;
            for (r, sum) in sums[..self.shape.rows].iter().enumerate() {
                // SAFETY: these outputs exist.
                unsafe {
                    sum.store_partial(self.place(r, first + output), lanes.min(count - output))
                };
            }
        }
    }

    /// Adds all inputs to [`TOGETHER`] whole blocks of outputs.
    ///
    /// # Safety
    /// At `weight` lie so many outputs, and at x as many rows, of at least [`Vector::LANES`] inputs.
    #[inline(always)]
    unsafe fn add_whole<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        weight: *const T,
        x: &[*const T; ROWS],
        sums: &mut [[T::Vector<S>; ROWS]; TOGETHER],
    ) {
        let lanes = T::Vector::<S>::LANES;
        let inputs = self.shape.inputs;
        let head = unaligned::<T, S>(weight, inputs);
        let tail = (inputs - head) % lanes;
        let below = weight.wrapping_add(lanes * inputs);
        let blocks = [Rows::new(weight, inputs), Rows::new(below, inputs)];
        // SAFETY: throughout, the caller's.
        unsafe {
            for (weight, sums) in blocks.into_iter().zip(&mut *sums) {
                Self::add_columns(simd, weight, 0..head, x, 0, sums);
            }
            let [mut left, mut right] = *sums;
            for k in (head..inputs - tail).step_by(lanes) {
                left = Self::add_block(simd, blocks[0], x, k, left);
                right = Self::add_block(simd, blocks[1], x, k, right);
            }
            *sums = [left, right];
            for (weight, sums) in blocks.into_iter().zip(sums) {
                let k = inputs - lanes;
                let columns = lanes - tail..lanes;
                Self::add_columns(simd, weight.from_column(k), columns, x, k, sums);
            }
        }
    }

    /// Adds to the sums of a block of outputs the [`Vector::LANES`] inputs from `k` on.
    ///
    /// # Safety
    /// The rows of W and of x hold them.
    #[inline(always)]
    unsafe fn add_block<S: Simd, const ROWS: usize>(
        simd: S,
        weight: Rows<T>,
        x: &[*const T; ROWS],
        k: usize,
        mut sums: [T::Vector<S>; ROWS],
    ) -> [T::Vector<S>; ROWS] {
        let lanes = T::Vector::<S>::LANES;
        let turned = T::Vector::<S>::TURNED;
        let weight = weight.from_column(k);
        for four in 0..lanes.div_ceil(4) {
            for row in weight.four(four) {
                T::Vector::<S>::prefetch(row.wrapping_add(2 * lanes));
            }
        }
        // Or the elements of x would be kept from one block to the next, in memory.
        let k = k.opaque();
        for part in 0..lanes / turned {
            // SAFETY: the caller's.
            let columns = unsafe { T::Vector::<S>::columns(simd, weight, part) };
            for (x, sum) in x.iter().zip(&mut sums) {
                for (j, column) in columns[..turned].iter().enumerate() {
                    // SAFETY: as above.
                    let x = unsafe { *x.add(k + part * turned + j) };
                    *sum = column.mul_add(T::Vector::<S>::splat(simd, x), *sum);
                }
            }
        }
        sums
    }

    /// Adds all inputs to `count` outputs, from copies filled up with zeros.
    ///
    /// # Safety
    /// At `weight` lie so many outputs.
    #[inline(always)]
    unsafe fn add_copied<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        weight: *const T,
        count: usize,
        x: &[*const T; ROWS],
        sums: &mut [[T::Vector<S>; ROWS]; TOGETHER],
    ) {
        let lanes = T::Vector::<S>::LANES;
        let inputs = self.shape.inputs;
        for k in (0..inputs).step_by(lanes) {
            let width = lanes.min(inputs - k);
            for (block, sums) in sums[..count.div_ceil(lanes)].iter_mut().enumerate() {
                let outputs = block * lanes..count.min((block + 1) * lanes);
                let mut copy = [[T::ZERO; MOST_LANES]; MOST_LANES];
                // SAFETY: the caller's; the copy has LANES rows and columns.
                unsafe {
                    for (output, row) in outputs.zip(&mut copy) {
                        let weight = weight.add(output * inputs + k);
                        T::Vector::<S>::load_partial(simd, weight, width).store_slice(row);
                    }
                    let copy = Rows::new(copy.as_ptr().cast(), MOST_LANES);
                    Self::add_columns(simd, copy, 0..width, x, k, sums);
                }
            }
        }
    }

    /// Adds to the sums of a block of outputs some of the inputs from `k` on.
    ///
    /// # Safety
    /// `weight` has [`Vector::LANES`] rows of as many elements; x holds the inputs.
    #[inline(always)]
    unsafe fn add_columns<S: Simd, const ROWS: usize>(
        simd: S,
        weight: Rows<T>,
        columns: Range<usize>,
        x: &[*const T; ROWS],
        k: usize,
        sums: &mut [T::Vector<S>; ROWS],
    ) {
        let turned = T::Vector::<S>::TURNED;
        for part in columns.start / turned..columns.end.div_ceil(turned) {
            // SAFETY: the caller's.
            let block = unsafe { T::Vector::<S>::columns(simd, weight, part) };
            let first = part * turned;
            for j in columns.start.max(first)..columns.end.min(first + turned) {
                for (x, sum) in x.iter().zip(&mut *sums) {
                    // SAFETY: as above.
                    let x = T::Vector::<S>::splat(simd, unsafe { *x.add(k + j) });
                    *sum = block[j - first].mul_add(x, *sum);
                }
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

/// How many columns to do first, so that what is loaded at a time from then on crosses no line of the cache.
#[inline(always)]
fn unaligned<T: Element, S: Simd>(weight: *const T, inputs: usize) -> usize {
    let at_a_time = T::Vector::<S>::TURNED;
    let past = weight.addr() / size_of::<T>() % at_a_time;
    if past == 0 || inputs < ALIGN_FROM || !inputs.is_multiple_of(at_a_time) {
        0
    } else {
        at_a_time - past
    }
}
