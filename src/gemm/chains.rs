//! Few outputs of many inputs: 16 interleaved chains over k, so that one row does not wait for one long chain.
//!
//! Chain c sums k = c, c + 16, c + 32, …; the sixteen are joined by halving (c with c + 8, then + 4, + 2, + 1); the
//! bias is added last.

use super::PANEL;
use super::kernel::{Epilogue, Start, Tile};
use crate::simd::{Arithmetic, Element, Kernel, Simd, Vector};

const CHAINS: usize = 16;

/// Whether the forward pass of a layer of this shape uses interleaved chains: a rule of the shape alone.
#[inline(always)]
pub(super) fn chained(outputs: usize, inputs: usize) -> bool {
    outputs < 16 && inputs >= 256
}

/// One row by up to a panel of columns. Half of the chains at a time, so that they fit in any register file.
///
/// The maker vouches for the operands, as for the micro-kernel's.
pub(super) struct Chains<'a, T> {
    pub epilogue: Epilogue,
    /// Columns of C that exist.
    pub columns: usize,
    pub t: &'a Tile<'a, T>,
}

impl<T: Element> Kernel for Chains<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: the maker's.
        unsafe { run_chains(simd, self.epilogue, self.columns, self.t) }
    }
}

/// # Safety
/// As the micro-kernel's.
#[inline(always)]
unsafe fn run_chains<S: Simd, T: Element>(
    simd: S,
    epilogue: Epilogue,
    columns: usize,
    t: &Tile<'_, T>,
) {
    let lanes = T::Vector::<S>::LANES;
    // SAFETY: throughout, the addresses are those of the operands that the caller vouches for.
    unsafe {
        for j in 0..PANEL / lanes {
            let exists = columns.saturating_sub(j * lanes).min(lanes);
            if exists == 0 {
                break;
            }
            let b = t.b.add(j * lanes);
            let low = half::<S, T>(simd, t, b, 0);
            let high = half::<S, T>(simd, t, b, CHAINS / 2);
            let mut sums = low;
            for (sum, other) in sums.iter_mut().zip(high) {
                *sum = *sum + other;
            }
            let mut width = CHAINS / 4;
            while width > 0 {
                for c in 0..width {
                    sums[c] = sums[c] + sums[c + width];
                }
                width /= 2;
            }
            let bias = match t.start {
                Start::Rows(bias) => T::Vector::<S>::splat(simd, *bias),
                Start::Columns(bias) => {
                    T::Vector::<S>::load_partial(simd, bias.add(j * lanes), exists)
                }
                _ => T::Vector::<S>::zero(simd),
            };
            let mut result = sums[0] + bias;
            if epilogue == Epilogue::Relu {
                let zero = T::Vector::<S>::zero(simd);
                result = T::Vector::<S>::select(result.le(zero), zero, result);
            }
            result.store_partial(t.c.add(j * lanes), exists);
        }
    }
}

/// The eight chains from `first` on.
///
/// # Safety
/// As the micro-kernel's.
#[inline(always)]
unsafe fn half<S: Simd, T: Element>(
    simd: S,
    t: &Tile<'_, T>,
    b: *const T,
    first: usize,
) -> [T::Vector<S>; CHAINS / 2] {
    let mut sums = [T::Vector::<S>::zero(simd); CHAINS / 2];
    let mut k = first;
    while k < t.k {
        let here = (t.k - k).min(CHAINS / 2);
        // SAFETY: k + c < t.k.
        let step = |c: usize, sum: T::Vector<S>| unsafe {
            let factor = T::Vector::<S>::splat(simd, *t.a.add((k + c) * t.a_k));
            factor.mul_add(T::Vector::<S>::load(simd, b.add((k + c) * PANEL)), sum)
        };
        if here == CHAINS / 2 {
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = step(c, *sum);
            }
        } else {
            for (c, sum) in sums.iter_mut().enumerate().take(here) {
                *sum = step(c, *sum);
            }
        }
        k += CHAINS;
    }
    sums
}
