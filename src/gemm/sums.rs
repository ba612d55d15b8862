//! Sums over the rows of the batch.

#![allow(unsafe_code)]

use super::turn::transpose_block;
use super::{PANEL, panel_stride};
use crate::pool::Shared;
use crate::simd::{Arithmetic, Element, Kernel, Simd, Vector};
use std::ops::Range;

/// Sums of panels over the rows of the batch, feature by feature: the bias gradient, in chunks of 256 rows.
///
/// # Safety
/// No other thread writes the panels, or touches these features of `sums`.
#[inline(always)]
pub unsafe fn sum_rows<S: Simd, T: Element>(
    simd: S,
    rows: usize,
    features: usize,
    blocks: Range<usize>,
    panels: Shared<'_, T>,
    sums: Shared<'_, T>,
    accumulate: bool,
) {
    simd.call(SumRows {
        rows,
        features,
        blocks,
        panels,
        sums,
        accumulate,
    });
}

/// Vectors of the narrowest instruction set in 16 elements.
const MOST_VECTORS: usize = 8;

/// [`sum_rows`] as a kernel; its maker keeps that function's promises.
struct SumRows<'a, T> {
    rows: usize,
    features: usize,
    blocks: Range<usize>,
    panels: Shared<'a, T>,
    sums: Shared<'a, T>,
    accumulate: bool,
}

impl<T: Element> Kernel for SumRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            rows,
            features,
            blocks,
            panels,
            sums,
            accumulate,
        } = self;
        let lanes = T::Vector::<S>::LANES;
        let mut staging = [T::ZERO; PANEL * PANEL];
        for block in blocks {
            let feature = block * PANEL;
            let width = PANEL.min(features - feature);
            // SAFETY: the caller's.
            let total = unsafe { sums.write(feature..feature + width) };
            if !accumulate {
                total.fill(T::ZERO);
            }
            // The chunk's sums in registers: 16 features are at most eight vectors.
            let mut chunk = [T::Vector::<S>::zero(simd); MOST_VECTORS];
            let panel_count = rows.div_ceil(PANEL);
            for panel in 0..panel_count {
                let at = panel * panel_stride(features) + feature * PANEL;
                // SAFETY: the caller's.
                transpose_block(
                    simd,
                    unsafe { panels.read(at..at + PANEL * PANEL) },
                    &mut staging,
                );
                for row in staging.chunks_exact(PANEL).take(rows - panel * PANEL) {
                    for (sum, values) in chunk.iter_mut().zip(row.chunks_exact(lanes)) {
                        *sum = *sum + T::Vector::<S>::load_slice(simd, values);
                    }
                }
                let end_of_chunk =
                    ((panel + 1) * PANEL).is_multiple_of(super::CHUNK) || panel + 1 == panel_count;
                if end_of_chunk {
                    let mut parts = [T::ZERO; PANEL];
                    for (sum, parts) in chunk.iter_mut().zip(parts.chunks_exact_mut(lanes)) {
                        sum.store_slice(parts);
                        *sum = T::Vector::<S>::zero(simd);
                    }
                    for (total, part) in total.iter_mut().zip(parts) {
                        *total = *total + part;
                    }
                }
            }
        }
    }
}
