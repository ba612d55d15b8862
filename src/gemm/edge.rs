//! Tiles at the edge of C, which have more columns than C.

#![allow(unsafe_code)]

use super::PANEL;
use super::kernel::{AnyShape, Epilogue, Start, Tile};
use crate::simd::{Element, Kernel, Simd, Vector};
use std::mem::MaybeUninit;

/// Elements of the largest tile: 14 rows of two vectors of 16 lanes.
const LARGEST: usize = 14 * 2 * 16;

/// A tile at the edge of C: done in a whole tile of its own, of which the columns that exist are copied. They end in its
/// last vector.
pub(super) struct Part<'a, T> {
    pub epilogue: Epilogue,
    pub rows: usize,
    pub vectors: usize,
    pub columns: usize,
    pub t: &'a Tile<'a, T>,
}

impl<T: Element> Kernel for Part<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            epilogue,
            rows,
            vectors,
            columns,
            t,
        } = self;
        let width = vectors * T::Vector::<S>::LANES;
        assert!(columns < width && columns.next_multiple_of(T::Vector::<S>::LANES) == width);
        let mut whole = [MaybeUninit::<[T; LARGEST]>::uninit(); 2];
        let [c, kept] = whole.each_mut().map(|tile| tile.as_mut_ptr().cast::<T>());
        let whole = Tile {
            c,
            c_row: width,
            c_panel: PANEL,
            kept,
            ..*t
        };
        // SAFETY: elements of C and the kept outputs that exist, for which the maker vouches, and those of the tile: what is
        // read of it has been written, the columns that do not exist with the others of the last vector.
        unsafe {
            if epilogue == Epilogue::Add || matches!(t.start, Start::Target) {
                copy_columns(simd, rows, columns, (t, t.c), (&whole, c), width);
            }
            if epilogue == Epilogue::ReluMask {
                copy_columns(simd, rows, columns, (t, t.kept), (&whole, kept), width);
            }
            simd.call(AnyShape {
                epilogue,
                rows,
                vectors,
                t: &whole,
                count: 1,
            });
            copy_columns(simd, rows, columns, (&whole, c), (t, t.c), columns);
        }
    }
}

/// Copies the first `columns` columns between memories that are laid out as C of their tiles, and zeros up to `width`.
///
/// # Safety
/// So many columns may be read and written.
#[inline(always)]
unsafe fn copy_columns<S: Simd, T: Element>(
    simd: S,
    rows: usize,
    columns: usize,
    (source, from): (&Tile<'_, T>, *const T),
    (target, to): (&Tile<'_, T>, *mut T),
    width: usize,
) {
    let lanes = T::Vector::<S>::LANES;
    for r in 0..rows {
        for (j, first) in (0..columns).step_by(lanes).enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let from = from.add(source.c_at::<T::Vector<S>>(r, j));
                let to = to.add(target.c_at::<T::Vector<S>>(r, j));
                T::Vector::<S>::load_partial(simd, from, lanes.min(columns - first))
                    .store_partial(to, lanes.min(width - first));
            }
        }
    }
}
