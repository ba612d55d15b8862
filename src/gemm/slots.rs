//! A block's rows of A, copied where the rows of one k lie side by side in memory: each tile gets a slot for every k.

use super::grid::Grid;
use super::product::{Block, Product};
use super::{PANEL, caches, padded};
use crate::simd::{Element, Kernel, Simd, Vector};

/// Rows in a block of which A is packed, where k takes more than a slice: as many elements of A are read side by side.
const PACKED_ROWS: usize = 256;

/// The values of k in a slice of it, so that it fills half of the second-level cache.
pub(super) fn packed_depth<T>() -> usize {
    (caches().l2 / 2 / (PACKED_ROWS * size_of::<T>())).next_multiple_of(PANEL)
}

/// The most rows in a block of which A is packed over `k`: more where they are short.
pub(super) fn packed_rows<T>(k: usize) -> usize {
    let depth = packed_depth::<T>();
    PACKED_ROWS * depth / k.clamp(1, depth)
}

/// Elements of the buffer that a thread needs to pack so many rows of A over `k`, on any instruction set: a slot is at most
/// twice its tile.
pub fn packed_len<T>(rows: usize, k: usize) -> usize {
    2 * packed_rows::<T>(k).min(padded(rows)) * k.min(packed_depth::<T>())
}

/// Rows of a tile's slot in a packed block: whole vectors.
pub(super) fn slot_rows<S: Simd, T: Element>() -> usize {
    S::TILE_ROWS.next_multiple_of(T::Vector::<S>::LANES)
}

/// Copies a block's rows of A, whose elements of one k lie side by side, so that a tile reads one stream: `[k][slot]`.
pub(super) struct FillSlots<'a, T> {
    pub product: &'a Product<T>,
    pub block: &'a Block<T>,
    pub grid: &'a Grid,
}

impl<T: Element> Kernel for FillSlots<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        /// Values of k that are copied for one tile, then for the next: the lines of A that two tiles share stay near.
        /// With those that are asked for ahead, no more lines than one set of the first-level cache has: where rows of A
        /// are whole pages apart, they all meet in it.
        const TOGETHER: usize = 4;
        let lanes = T::Vector::<S>::LANES;
        let slot = slot_rows::<S, T>();
        // Copies: for the compiler, a store to the buffer may change what a reference leads to.
        let (block, grid) = (self.block.clone(), *self.grid);
        let Product { rows, a, .. } = *self.product;
        let depth = block.k.len();
        for first in (0..depth).step_by(TOGETHER) {
            let count = TOGETHER.min(depth - first);
            let row = a.start.wrapping_add((block.k.start + first) * a.k);
            let mut to = block.packed.wrapping_add(first * slot);
            let mut start = block.first_row;
            for t in block.tiles.clone() {
                let (here, from) = (grid.rows_of(t), row.wrapping_add(start));
                // SAFETY: A's rows at one k lie side by side, and a whole slot is read only where rows enough follow; the
                // buffer holds a slot for each k and tile; a prefetch may go past the end.
                unsafe {
                    if start + slot <= rows {
                        for k in 0..count {
                            let from = from.add(k * a.k);
                            T::Vector::<S>::prefetch(from.wrapping_add(TOGETHER * a.k));
                            for at in (0..slot).step_by(lanes) {
                                T::Vector::<S>::load(simd, from.add(at))
                                    .store(to.add(k * slot + at));
                            }
                        }
                    } else {
                        for k in 0..count {
                            for at in (0..here).step_by(lanes) {
                                let count = lanes.min(here - at);
                                let from = from.add(k * a.k + at);
                                T::Vector::<S>::load_partial(simd, from, count)
                                    .store_partial(to.add(k * slot + at), count);
                            }
                        }
                    }
                }
                start += here;
                to = to.wrapping_add(depth * slot);
            }
        }
    }
}
