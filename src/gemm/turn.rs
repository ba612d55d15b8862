//! Panels turned: into columns, and back into rows.

use super::{PANEL, caches, panel_stride};
use crate::buffer::LINE;
use crate::cache::prefetch_for_writing;
use crate::pool::Shared;
use crate::simd::{Element, Kernel, Simd, Vector};
use std::ops::Range;

/// From the block at work to the one that is asked for.
pub(super) const AHEAD: usize = 2;

/// Whether a matrix is too small to be asked for: it fits the first-level cache.
pub(super) fn is_small<T>(rows: usize, features: usize) -> bool {
    rows * features * size_of::<T>() <= caches().l1
}

/// The lines of a 16 × 16 block.
#[inline(always)]
pub(super) fn lines<T>(block: *const T) -> impl Iterator<Item = *const T> {
    (0..PANEL * PANEL)
        .step_by(LINE / size_of::<T>())
        .map(move |at| block.wrapping_add(at))
}

/// Turns a contiguous 16 × 16 block.
#[inline(always)]
pub fn transpose_block<S: Simd, T: Element>(simd: S, source: &[T], target: &mut [T]) {
    assert!(source.len() == PANEL * PANEL && target.len() == PANEL * PANEL);
    // SAFETY: both blocks hold 16 rows of 16 elements.
    unsafe { turn(simd, source.as_ptr(), PANEL, target.as_mut_ptr(), PANEL) };
}

/// Turns a 16 × 16 block whose rows lie so far apart into one whose rows lie so far apart.
///
/// # Safety
/// The blocks may be read and written, with no other thread at them.
#[inline(always)]
pub(super) unsafe fn turn<S: Simd, T: Element>(
    simd: S,
    source: *const T,
    source_stride: usize,
    target: *mut T,
    target_stride: usize,
) {
    let lanes = T::Vector::<S>::LANES;
    for i in (0..PANEL).step_by(lanes) {
        for j in (0..PANEL).step_by(lanes) {
            // SAFETY: the caller's; the lanes divide 16.
            unsafe {
                let from = source.add(i * source_stride + j);
                let to = target.add(j * target_stride + i);
                T::Vector::<S>::transpose(simd, from, source_stride, to, target_stride);
            }
        }
    }
}

/// Turns at most 16 contiguous rows into a panel; the rows that are missing become zero.
///
/// # Panics
/// If `rows` is no whole number of rows, or too many, or the panel holds fewer than `features` features.
#[inline(always)]
pub fn panel_from_rows<S: Simd, T: Element>(simd: S, features: usize, rows: &[T], panel: &mut [T]) {
    let count = rows.len() / features;
    assert!(count <= PANEL && rows.len() == count * features);
    if features == 1 {
        panel[..count].copy_from_slice(rows);
        panel[count..PANEL].fill(T::ZERO);
        return;
    }
    let mut staging = [T::ZERO; PANEL * PANEL];
    let mut turned = [T::ZERO; PANEL * PANEL];
    let blocks = panel[..features * PANEL].chunks_mut(PANEL * PANEL);
    for (block, panel) in blocks.enumerate() {
        let width = panel.len() / PANEL;
        for (row, staging) in rows
            .chunks_exact(features)
            .zip(staging.chunks_exact_mut(PANEL))
        {
            staging[..width].copy_from_slice(&row[block * PANEL..][..width]);
        }
        transpose_block(simd, &staging, &mut turned);
        panel.copy_from_slice(&turned[..width * PANEL]);
    }
}

/// Turns a panel back into at most 16 contiguous rows.
///
/// # Panics
/// As [`panel_from_rows`].
#[inline(always)]
pub fn rows_from_panel<S: Simd, T: Element>(simd: S, features: usize, panel: &[T], rows: &mut [T]) {
    let count = rows.len() / features;
    assert!(count <= PANEL && rows.len() == count * features);
    if features == 1 {
        rows.copy_from_slice(&panel[..count]);
        return;
    }
    let mut staging = [T::ZERO; PANEL * PANEL];
    let mut turned = [T::ZERO; PANEL * PANEL];
    for (block, panel) in panel[..features * PANEL].chunks(PANEL * PANEL).enumerate() {
        let width = panel.len() / PANEL;
        staging[..panel.len()].copy_from_slice(panel);
        transpose_block(simd, &staging, &mut turned);
        for (row, turned) in rows
            .chunks_exact_mut(features)
            .zip(turned.chunks_exact(PANEL))
        {
            row[block * PANEL..][..width].copy_from_slice(&turned[..width]);
        }
    }
}

/// Turns blocks of the panel form into the column form; `blocks` numbers them, features outermost.
///
/// # Safety
/// No other thread writes these blocks' panels, or touches their columns.
#[inline(always)]
pub unsafe fn panels_to_columns<S: Simd, T: Element>(
    simd: S,
    rows: usize,
    features: usize,
    blocks: Range<usize>,
    panels: Shared<'_, T>,
    columns: Shared<'_, T>,
) {
    simd.call(PanelsToColumns {
        rows,
        features,
        blocks,
        panels,
        columns,
    });
}

/// [`panels_to_columns`] as a kernel; its maker keeps that function's promises.
struct PanelsToColumns<'a, T> {
    rows: usize,
    features: usize,
    blocks: Range<usize>,
    panels: Shared<'a, T>,
    columns: Shared<'a, T>,
}

impl<T: Element> Kernel for PanelsToColumns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            rows,
            features,
            blocks,
            panels,
            columns,
        } = self;
        let across = rows.div_ceil(PANEL);
        let asks = !is_small::<T>(rows, features);
        let places = |number: usize| {
            let (block, panel) = (number / across, number % across);
            [
                panel * panel_stride(features) + block * PANEL * PANEL,
                block * panel_stride(rows) + panel * PANEL * PANEL,
            ]
        };
        for number in blocks {
            if asks {
                let [from, to] = places(number + AHEAD);
                lines(panels.as_ptr().wrapping_add(from).cast_const())
                    .for_each(T::Vector::<S>::prefetch);
                lines(columns.as_ptr().wrapping_add(to)).for_each(prefetch_for_writing);
            }
            let [from, to] = places(number);
            // SAFETY: the caller's.
            let (source, target) = unsafe {
                (
                    panels.read(from..from + PANEL * PANEL),
                    columns.write(to..to + PANEL * PANEL),
                )
            };
            transpose_block(simd, source, target);
        }
    }
}

/// The number of blocks of [`panels_to_columns`].
pub fn blocks(rows: usize, features: usize) -> usize {
    rows.div_ceil(PANEL) * features.div_ceil(PANEL)
}

/// Writes panels `range` to a row-major matrix, `stride` elements from row to row.
///
/// # Safety
/// `target` holds the rows, and no other thread touches those of these panels, or writes the panels.
#[inline(always)]
pub unsafe fn unpack_rows<S: Simd, T: Element>(
    simd: S,
    rows: usize,
    features: usize,
    range: Range<usize>,
    panels: Shared<'_, T>,
    target: Shared<'_, T>,
    stride: usize,
) {
    simd.call(UnpackRows {
        rows,
        features,
        range,
        panels,
        target,
        stride,
    });
}

/// [`unpack_rows`] as a kernel; its maker keeps that function's promises.
struct UnpackRows<'a, T> {
    rows: usize,
    features: usize,
    range: Range<usize>,
    panels: Shared<'a, T>,
    target: Shared<'a, T>,
    stride: usize,
}

impl<T: Element> Kernel for UnpackRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            rows,
            features,
            range,
            panels,
            target,
            stride,
        } = self;
        let lanes = T::Vector::<S>::LANES;
        let mut staging = [T::ZERO; PANEL * PANEL];
        for panel in range {
            let first = panel * PANEL;
            let count = PANEL.min(rows - first);
            for feature in (0..features).step_by(PANEL) {
                let at = panel * panel_stride(features) + feature * PANEL;
                let width = PANEL.min(features - feature);
                let to = first * stride + feature;
                // SAFETY: the caller's.
                unsafe {
                    let block = panels.read(at..at + PANEL * PANEL);
                    if count == PANEL && width == PANEL {
                        turn(simd, block.as_ptr(), PANEL, target.as_ptr().add(to), stride);
                        continue;
                    }
                    turn(simd, block.as_ptr(), PANEL, staging.as_mut_ptr(), PANEL);
                    for (r, row) in staging.chunks_exact(PANEL).take(count).enumerate() {
                        let at = to + r * stride;
                        let out = target.write(at..at + width);
                        for (out, row) in out.chunks_mut(lanes).zip(row.chunks_exact(lanes)) {
                            T::Vector::<S>::load_slice(simd, row).store_tail(out);
                        }
                    }
                }
            }
        }
    }
}
