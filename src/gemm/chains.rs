//! Few outputs of many inputs: 16 interleaved chains over k, so that one row does not wait for one long chain.
//!
//! Chain c sums k = c, c + 16, c + 32, …; the sixteen are joined by halving (c with c + 8, then + 4, + 2, + 1); the
//! bias is added last.

use super::PANEL;
use super::kernel::{Epilogue, Start, Tile};
use crate::simd::{Arithmetic, Element, Kernel, Simd, Vector};
use std::mem::MaybeUninit;

const CHAINS: usize = 16;

/// Whether the forward pass of a layer of this shape uses interleaved chains: a rule of the shape alone.
#[inline(always)]
pub(super) fn chained(outputs: usize, inputs: usize) -> bool {
    outputs < 16 && inputs >= 256
}

/// Some rows by up to a panel of columns, a few rows at a time: they share what is loaded of B.
///
/// The maker vouches for the operands, as for the micro-kernel's.
pub(super) struct Chains<'a, T> {
    pub epilogue: Epilogue,
    pub rows: usize,
    /// Columns of C that exist.
    pub columns: usize,
    pub t: &'a Tile<'a, T>,
}

impl<T: Element> Kernel for Chains<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let lanes = T::Vector::<S>::LANES;
        // Six rows of four chains fill 24 registers, three 12.
        let most = if S::TILE_ROWS < 12 { 3 } else { 6 };
        let mut row = 0;
        while row < self.rows {
            let left = self.rows - row;
            // The last two parts as even as can be.
            let here = if left > most && left < 2 * most {
                left.div_ceil(2)
            } else {
                left.min(most)
            };
            for j in 0..self.columns.div_ceil(lanes).min(PANEL / lanes) {
                // SAFETY: the maker's.
                unsafe {
                    match here {
                        1 => self.some_rows::<S, 1, 8>(simd, row, j),
                        2 => self.some_rows::<S, 2, 4>(simd, row, j),
                        3 => self.some_rows::<S, 3, 4>(simd, row, j),
                        4 if most > 3 => self.some_rows::<S, 4, 4>(simd, row, j),
                        5 if most > 3 => self.some_rows::<S, 5, 4>(simd, row, j),
                        6 if most > 3 => self.some_rows::<S, 6, 4>(simd, row, j),
                        _ => unreachable!("{here} rows together"),
                    }
                }
            }
            row += here;
        }
    }
}

impl<T: Element> Chains<'_, T> {
    /// `R` rows from `row` on, vector `j` of the columns; `TOGETHER` chains at a time, which fit in the registers.
    ///
    /// # Safety
    /// As the micro-kernel's; so many rows are left.
    #[inline(always)]
    unsafe fn some_rows<S: Simd, const R: usize, const TOGETHER: usize>(
        &self,
        simd: S,
        row: usize,
        j: usize,
    ) {
        let (t, at) = (self.t, j * T::Vector::<S>::LANES);
        let exists = (self.columns - at).min(T::Vector::<S>::LANES);
        let mut all = MaybeUninit::<[[T::Vector<S>; CHAINS]; R]>::uninit();
        // SAFETY: throughout, the addresses are those of the operands that the maker vouches for; all chains are written
        // before they are read.
        unsafe {
            for first in (0..CHAINS).step_by(TOGETHER) {
                let some = self.some_chains::<S, R, TOGETHER>(simd, row, t.b.add(at), first);
                for (r, some) in some.into_iter().enumerate() {
                    let row = all
                        .as_mut_ptr()
                        .cast::<T::Vector<S>>()
                        .add(r * CHAINS + first);
                    row.cast::<[T::Vector<S>; TOGETHER]>().write(some);
                }
            }
            for (r, sums) in all.assume_init_mut().iter_mut().enumerate() {
                let mut width = CHAINS / 2;
                while width > 0 {
                    for c in 0..width {
                        sums[c] = sums[c] + sums[c + width];
                    }
                    width /= 2;
                }
                let bias = match t.start {
                    Start::Rows(bias) => T::Vector::<S>::splat(simd, *bias.add(row + r)),
                    Start::Columns(bias) => {
                        T::Vector::<S>::load_partial(simd, bias.add(at), exists)
                    }
                    _ => T::Vector::<S>::zero(simd),
                };
                let mut result = sums[0] + bias;
                if self.epilogue == Epilogue::Relu {
                    let zero = T::Vector::<S>::zero(simd);
                    result = T::Vector::<S>::select(result.le(zero), zero, result);
                }
                result.store_partial(t.c.add((row + r) * t.c_row + at), exists);
            }
        }
    }

    /// The chains from `first` on.
    ///
    /// # Safety
    /// As [`Chains::some_rows`].
    #[inline(always)]
    unsafe fn some_chains<S: Simd, const R: usize, const TOGETHER: usize>(
        &self,
        simd: S,
        row: usize,
        b: *const T,
        first: usize,
    ) -> [[T::Vector<S>; TOGETHER]; R] {
        let t = self.t;
        let mut sums = [[T::Vector::<S>::zero(simd); TOGETHER]; R];
        macro_rules! step {
            ($k:expr, $c:expr) => {
                // SAFETY: k + c < t.k.
                unsafe {
                    let vector = T::Vector::<S>::load(simd, b.add(($k + $c) * PANEL));
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = t.a.add((row + r) * t.a_tile + ($k + $c) * t.a_k);
                        let factor = T::Vector::<S>::splat(simd, *a);
                        sums[$c] = factor.mul_add(vector, sums[$c]);
                    }
                }
            };
        }
        let mut k = first;
        while k + TOGETHER <= t.k {
            for c in 0..TOGETHER {
                step!(k, c);
            }
            k += CHAINS;
        }
        // Fewer are left of the last one. Not in the loop, whose sums would go to memory.
        for c in 0..TOGETHER {
            if k + c < t.k {
                step!(k, c);
            }
        }
        sums
    }
}
