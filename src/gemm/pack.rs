//! From row-major matrices to panels.
//!
//! A batch of `rows` × `features` lies in two forms, both made of the same 16 × 16 blocks, feature-major in one and
//! row-major in the other:
//! * *panels*: `[rows/16][feature][16 rows]`, B of the forward products;
//! * *columns*: `[features/16][row][16 features]`, B of the weight gradient.
//!
//! Both are padded with zeros to whole blocks and have [`panel_stride`] elements from panel to panel. Panels alone of one
//! feature are not padded by further ones.

use super::turn::{AHEAD, is_small, lines, transpose_block, turn};
use super::{PANEL, panel_stride};
use crate::buffer::LINE;
use crate::cache::prefetch_for_writing;
use crate::pool::Shared;
use crate::simd::{Element, Kernel, Simd, Vector};
use std::ops::Range;

/// The number that row r of a batch has in the arrays from which it picks.
#[inline(always)]
pub fn picked(picks: Option<&[u32]>, r: usize) -> usize {
    picks.map_or(r, |picks| picks[r] as usize)
}

/// A row-major matrix of any strides, in elements of T; rows may be picked by number.
#[derive(Clone, Copy)]
pub struct Source<'a, T> {
    pub start: *const T,
    pub row_stride: isize,
    pub column_stride: isize,
    /// Row r of the batch is row `picks[r]` of the matrix.
    pub picks: Option<&'a [u32]>,
}

// SAFETY: a read-only view; the caller of the functions below vouches for the memory.
unsafe impl<T: Sync> Send for Source<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Source<'_, T> {}

impl<'a, T> Source<'a, T> {
    /// A contiguous row-major matrix.
    pub fn rows(matrix: &'a [T], columns: usize) -> Self {
        Self {
            start: matrix.as_ptr(),
            row_stride: columns as isize,
            column_stride: 1,
            picks: None,
        }
    }

    /// The same matrix from row `first` on.
    #[inline(always)]
    pub fn from_row(&self, first: usize) -> Self
    where
        T: Copy,
    {
        Self {
            start: self.start.wrapping_offset(first as isize * self.row_stride),
            ..*self
        }
    }

    /// Where row r begins.
    #[inline(always)]
    pub fn row(&self, r: usize) -> *const T {
        let r = picked(self.picks, r);
        self.start.wrapping_offset(r as isize * self.row_stride)
    }
}

/// y = (x − shift) · factor, feature by feature.
#[derive(Clone, Copy)]
pub struct Scale<'a, T> {
    pub shift: &'a [T],
    pub factor: &'a [T],
}

/// Fills panels `range` of both forms (`columns` only if given) with rows of `source`, scaled.
///
/// # Safety
/// `source` holds `rows` rows of `features` elements; no other thread touches the blocks of these panels.
#[inline(always)]
pub unsafe fn pack_rows<S: Simd, T: Element>(
    simd: S,
    source: &Source<'_, T>,
    scale: Option<Scale<'_, T>>,
    rows: usize,
    features: usize,
    range: Range<usize>,
    panels: Shared<'_, T>,
    columns: Option<Shared<'_, T>>,
) {
    simd.call(PackRows {
        source,
        scale,
        rows,
        features,
        range,
        panels,
        columns,
    });
}

/// [`pack_rows`] as a kernel; its maker keeps that function's promises.
struct PackRows<'a, T> {
    source: &'a Source<'a, T>,
    scale: Option<Scale<'a, T>>,
    rows: usize,
    features: usize,
    range: Range<usize>,
    panels: Shared<'a, T>,
    columns: Option<Shared<'a, T>>,
}

impl<T: Element> Kernel for PackRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if self.features == 1 && self.scale.is_none() && self.columns.is_none() {
            return self.single_column();
        }
        let even = self.source.picks.is_none() && self.source.row_stride >= 0;
        let in_place = self.is_plain() && even && self.columns.is_none();
        let blocks = self.features.div_ceil(PANEL);
        let asks = self.source.column_stride == 1 && !is_small::<T>(self.rows, self.features);
        let mut staging = [[T::ZERO; PANEL * PANEL]; 2];
        for panel in self.range.clone() {
            let whole_panel = in_place && (panel + 1) * PANEL <= self.rows;
            // A block is turned while the next one is copied: loads would wait for stores that are on their way.
            for step in 0..=blocks {
                if asks && step + AHEAD < blocks {
                    self.ask::<S>(panel, step + AHEAD);
                }
                let is_in_place =
                    |block: usize| whole_panel && (block + 1) * PANEL <= self.features;
                if step < blocks && !is_in_place(step) {
                    let rows = self.rows_of_block(panel, step, &mut staging);
                    self.copy_block(simd, panel, step, rows);
                }
                if step > 0 {
                    let block = step - 1;
                    let at = panel * panel_stride(self.features) + block * PANEL * PANEL;
                    // SAFETY: this block is this thread's alone, the caller says.
                    let turned = unsafe { self.panels.write(at..at + PANEL * PANEL) };
                    if is_in_place(block) {
                        let from = self.element(panel * PANEL, block * PANEL);
                        let stride = self.source.row_stride as usize;
                        // SAFETY: 16 rows that lie evenly, 16 elements of each from there on, and a whole block.
                        unsafe { turn(simd, from, stride, turned.as_mut_ptr(), PANEL) };
                    } else {
                        transpose_block(
                            simd,
                            self.rows_of_block(panel, block, &mut staging),
                            turned,
                        );
                    }
                }
            }
        }
    }
}

impl<T: Element> PackRows<'_, T> {
    /// Whether rows are copied as they are.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.scale.is_none() && self.source.column_stride == 1
    }

    /// Asks for a block: in the source, and in the panel, which other threads have read, to be written. A
    /// function of its own: beside the copies its numbers would stand in the smallest nets' way.
    #[inline(never)]
    fn ask<S: Simd>(&self, panel: usize, block: usize) {
        let first = panel * PANEL;
        for row in first..self.rows.min(first + PANEL) {
            let row = self.element(row, block * PANEL);
            for at in (0..PANEL).step_by(LINE / size_of::<T>()) {
                T::Vector::<S>::prefetch(row.wrapping_add(at));
            }
        }
        let at = panel * panel_stride(self.features) + block * PANEL * PANEL;
        lines(self.panels.as_ptr().wrapping_add(at)).for_each(prefetch_for_writing);
    }

    /// Rows of one element need no turning: the targets of a network with one output.
    #[inline(always)]
    fn single_column(&self) {
        let source = *self.source;
        for panel in self.range.clone() {
            let first = panel * PANEL;
            let count = PANEL.min(self.rows - first);
            let at = panel * panel_stride(1);
            // SAFETY: this panel is this thread's alone, the caller says, and the source has these rows.
            unsafe {
                let (present, missing) = self.panels.write(at..at + PANEL).split_at_mut(count);
                if source.picks.is_none() && source.row_stride == 1 {
                    present.copy_from_slice(std::slice::from_raw_parts(source.row(first), count));
                } else {
                    for (r, value) in present.iter_mut().enumerate() {
                        *value = *source.row(first + r);
                    }
                }
                missing.fill(T::ZERO);
            }
        }
    }

    /// The copy of 16 features of a panel's rows: in the column form, or staged for this and the next block.
    #[inline(always)]
    fn rows_of_block<'b>(
        &'b self,
        panel: usize,
        block: usize,
        staging: &'b mut [[T; PANEL * PANEL]; 2],
    ) -> &'b mut [T] {
        let at = block * panel_stride(self.rows) + panel * PANEL * PANEL;
        match &self.columns {
            // SAFETY: this block is this thread's alone, the caller says.
            Some(all) => unsafe { all.write(at..at + PANEL * PANEL) },
            None => &mut staging[block % 2],
        }
    }

    #[inline(always)]
    fn element(&self, row: usize, feature: usize) -> *const T {
        let along = feature as isize * self.source.column_stride;
        self.source.row(row).wrapping_offset(along)
    }

    /// Copies 16 features of a panel's rows, scaled; zeros where there is none.
    #[inline(always)]
    fn copy_block<S: Simd>(&self, simd: S, panel: usize, block: usize, rows: &mut [T]) {
        let (first, feature) = (panel * PANEL, block * PANEL);
        let count = PANEL.min(self.rows - first);
        let width = PANEL.min(self.features - feature);
        let lanes = T::Vector::<S>::LANES;
        // A copy: for the compiler, a store to the block may change what a reference leads to.
        let source = *self.source;
        let (present, missing) = rows.split_at_mut(count * PANEL);
        let present = present.chunks_exact_mut(PANEL).enumerate();
        if !self.is_plain() {
            for (r, out) in present {
                self.copy_row(simd, first + r, feature, width, out);
            }
        } else if width == PANEL {
            for (r, out) in present {
                let from = source.row(first + r).wrapping_add(feature);
                for (j, out) in out.chunks_exact_mut(lanes).enumerate() {
                    // SAFETY: the row has 16 elements from `feature` on.
                    unsafe { T::Vector::<S>::load(simd, from.add(j * lanes)) }.store_slice(out);
                }
            }
        } else {
            for (r, out) in present {
                let from = source.row(first + r).wrapping_add(feature);
                for (j, out) in out.chunks_exact_mut(lanes).enumerate() {
                    let from = from.wrapping_add(j * lanes);
                    let here = width.saturating_sub(j * lanes).min(lanes);
                    // SAFETY: the row has `width` elements from `feature` on, `here` from these.
                    unsafe { T::Vector::<S>::load_partial(simd, from, here) }.store_slice(out);
                }
            }
        }
        missing.fill(T::ZERO);
    }

    /// One row's part of a block, scaled, and zeros after it: whole vectors, because a load that meets several stores
    /// that are still on their way waits for them.
    #[inline(always)]
    fn copy_row<S: Simd>(&self, simd: S, row: usize, feature: usize, width: usize, out: &mut [T]) {
        let mut gathered = [T::ZERO; PANEL];
        let from = self.element(row, feature);
        // SAFETY: the row has `features` elements, `width` from `feature` on.
        let from = unsafe {
            if self.source.column_stride == 1 {
                std::slice::from_raw_parts(from, width)
            } else {
                for (j, value) in gathered[..width].iter_mut().enumerate() {
                    *value = *from.offset(j as isize * self.source.column_stride);
                }
                &gathered[..width]
            }
        };
        let lanes = T::Vector::<S>::LANES;
        for (j, out) in out.chunks_exact_mut(lanes).enumerate() {
            let part = (j * lanes).min(width)..(j * lanes + lanes).min(width);
            let mut value = T::Vector::<S>::load_tail(simd, &from[part.clone()]);
            if let Some(s) = self.scale {
                let part = feature + part.start..feature + part.end;
                let shift = T::Vector::<S>::load_tail(simd, &s.shift[part.clone()]);
                let factor = T::Vector::<S>::load_tail(simd, &s.factor[part]);
                value = (value - shift) * factor;
            }
            value.store_slice(out);
        }
    }
}
