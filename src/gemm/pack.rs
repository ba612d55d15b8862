//! Between row-major matrices and panels.
//!
//! A batch of `rows` × `features` lies in two forms, both made of the same 16 × 16 blocks, feature-major in one and
//! row-major in the other:
//! * *panels*: `[rows/16][feature][16 rows]`, B of the forward products;
//! * *columns*: `[features/16][row][16 features]`, B of the weight gradient.
//!
//! Both are padded with zeros to whole blocks and have [`panel_stride`] elements from panel to panel. Panels alone of one
//! feature are not padded by further ones.

use super::{PANEL, panel_stride};
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
        let mut staging = [[T::ZERO; PANEL * PANEL]; 2];
        for panel in self.range.clone() {
            let whole_panel = in_place && (panel + 1) * PANEL <= self.rows;
            // A block is turned while the next one is copied: loads would wait for stores that are on their way.
            for step in 0..=blocks {
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
unsafe fn turn<S: Simd, T: Element>(
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
        for number in blocks {
            let (block, panel) = (number / across, number % across);
            let from = panel * panel_stride(features) + block * PANEL * PANEL;
            let to = block * panel_stride(rows) + panel * PANEL * PANEL;
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
