//! The weighted sum of the losses: in float64, in chunks of 256 rows, joined in order.

#![allow(unsafe_code)]

use super::weights::weigh;
use crate::buffer::LINE;
use crate::gemm::CHUNK;
use crate::simd::{Element, Kernel, Simd, Vector, prefetch_far};

/// Chunks of a group. They are summed side by side: a chain waits for each of its additions.
pub(super) const TOGETHER: usize = 16;
/// Rows of a group.
pub(super) const GROUP: usize = TOGETHER * CHUNK;

/// Σ wᵢlᵢ, or Σ lᵢ. A weight of zero makes any loss zero.
pub struct SumLosses<'a, T> {
    pub losses: &'a [T],
    /// At least as many as losses.
    pub weights: Option<&'a [f64]>,
}

impl<T: Element> Kernel for SumLosses<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let mut total = 0.0;
        for (group, losses) in self.losses.chunks(GROUP).enumerate() {
            let weights = self
                .weights
                .map(|weights| &weights[group * GROUP..][..losses.len()]);
            let sums = simd.call(SumChunks {
                losses,
                weights,
                upcoming: [&[]; 2],
            });
            let chunks = &sums[..losses.len().div_ceil(CHUNK)];
            chunks.iter().for_each(|sum| total += sum);
        }
        total
    }
}

/// The sums of the chunks of a group, or of as many as there are; as many weights as losses.
pub(super) struct SumChunks<'a, T> {
    pub losses: &'a [T],
    pub weights: Option<&'a [f64]>,
    /// What is read next, of which as many elements are asked for meanwhile.
    pub upcoming: [&'a [T]; 2],
}

impl<T: Element> Kernel for SumChunks<'_, T> {
    type Output = [f64; TOGETHER];
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f64; TOGETHER] {
        let SumChunks {
            losses,
            weights,
            upcoming,
        } = self;
        assert!(losses.len() <= GROUP);
        let mut sums = [0.0; TOGETHER];
        if let Some(weights) = weights {
            assert_eq!(weights.len(), losses.len());
            let chunks = losses.chunks(CHUNK).zip(weights.chunks(CHUNK));
            for (sum, (losses, weights)) in sums.iter_mut().zip(chunks) {
                let terms = losses.iter().zip(weights);
                *sum = terms.fold(0.0, |sum, (l, &w)| sum + weigh(w, l.to_f64()));
            }
        } else if losses.len() == GROUP {
            for first in (0..TOGETHER).step_by(T::Vector::<S>::LANES) {
                sum_turned(simd, losses, first, upcoming, &mut sums);
            }
        } else {
            let (whole, rest) = losses.split_at(losses.len() / CHUNK * CHUNK);
            let few = whole.chunks(FEW * CHUNK).zip(sums.chunks_exact_mut(FEW));
            few.for_each(|(losses, sums)| sum_few(losses, sums));
            if !rest.is_empty() {
                sums[whole.len() / CHUNK] = rest.iter().fold(0.0, |sum, l| sum + l.to_f64());
            }
        }
        sums
    }
}

/// Chunks whose sums fit registers of one number each.
const FEW: usize = 8;

/// Sums up to [`FEW`] whole chunks.
fn sum_few<T: Element>(losses: &[T], sums: &mut [f64]) {
    macro_rules! side_by_side {
        ($($n:literal)*) => {
            match losses.len() / CHUNK {
                $($n => side_by_side::<T, $n>(losses, sums),)*
                _ => unreachable!("no chunk, or more than few"),
            }
        };
    }
    side_by_side!(1 2 3 4 5 6 7 8);
}

/// Sums N whole chunks.
fn side_by_side<T: Element, const N: usize>(losses: &[T], sums: &mut [f64]) {
    let mut found = [0.0; N];
    for r in 0..CHUNK {
        for (chunk, sum) in found.iter_mut().enumerate() {
            *sum += losses[chunk * CHUNK + r].to_f64();
        }
    }
    sums[..N].copy_from_slice(&found);
}

/// Sums as many chunks as a vector has lanes, from chunk `first` on: square blocks are turned, so that each row of them
/// has a loss of every chunk. With each block as much of `upcoming` is asked for.
#[inline(always)]
fn sum_turned<S: Simd, T: Element>(
    simd: S,
    losses: &[T],
    first: usize,
    upcoming: [&[T]; 2],
    sums: &mut [f64; TOGETHER],
) {
    let lanes = T::Vector::<S>::LANES;
    let losses = &losses[first * CHUNK..(first + lanes) * CHUNK];
    let mut turned = [[T::ZERO; TOGETHER]; TOGETHER];
    let mut found = [0.0; TOGETHER];
    for row in (0..CHUNK).step_by(lanes) {
        // SAFETY: the last of the block's rows ends `lanes` elements after `row` in the last chunk, which `losses` has;
        // `turned` has TOGETHER ≥ lanes rows and columns.
        unsafe {
            T::Vector::<S>::transpose(
                simd,
                losses.as_ptr().add(row),
                CHUNK,
                turned.as_mut_ptr().cast(),
                TOGETHER,
            );
        }
        let begin = first * CHUNK + row * lanes;
        for upcoming in upcoming {
            if let Some(block) = upcoming.get(begin..begin + lanes * lanes) {
                for line in block.chunks(LINE / size_of::<T>()) {
                    prefetch_far(line.as_ptr().cast());
                }
            }
        }
        for terms in &turned[..lanes] {
            for (sum, term) in found.iter_mut().zip(terms) {
                *sum += term.to_f64();
            }
        }
    }
    sums[first..first + lanes].copy_from_slice(&found[..lanes]);
}
