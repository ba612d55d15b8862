//! Tiles that pack A as they go.
//!
//! To copy a block's rows of A before its products takes a tenth of the gradient of the input, in which the multipliers wait
//! for memory. So the tiles of a block's first group of columns read A where it lies, and copy it beside their products; those
//! of the other groups find the slots there.

#![allow(unsafe_code)]

use super::grid::Grid;
use super::kernel::{STORE, Tile, TileShape, begin, finish, odd_distances, run_tiles, step};
use super::product::{Block, Product};
use super::slots::{FillSlots, slot_rows};
use super::{Epilogue, PANEL, Start};
use crate::simd::{Element, Kernel, Simd, Vector, prefetch_far};
use std::ops::Range;

/// Of fewer rows a tile has too few multiply-adds to hide the copying.
const FEWEST_ROWS: usize = 12;
/// What is copied for fewer k is near, and a tile that packs goes over its C once more.
const FEWEST_K: usize = 128;
/// So many k ahead are lines of A asked for: as long as memory takes. Into the second level: where rows of A are whole pages
/// apart, they all meet in one set of the first.
const AHEAD: usize = 64;

/// Whether tiles pack A over a slice of so many k, in a product that takes `part` of k at a time: the slice at once, and long.
#[inline(always)]
pub(super) fn packs<S: Simd, T: Element>(depth: usize, part: usize) -> bool {
    let can = const { S::TILE_ROWS > FEWEST_ROWS && T::Vector::<S>::LANES == PANEL };
    can && (FEWEST_K..=part).contains(&depth)
}

/// Tiles of one height, one below the other, that fill their slots; its maker keeps the promises of [`run_tiles`].
pub(super) struct PackingTiles<'a, T> {
    pub product: &'a Product<T>,
    pub grid: &'a Grid,
    pub block: &'a Block<T>,
    pub tiles: Range<usize>,
    pub shape: TileShape,
    /// The first of them, over the block's slice of k.
    pub t: &'a Tile<'a, T>,
}

impl<T: Element> Kernel for PackingTiles<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            product,
            grid,
            block,
            tiles,
            shape,
            t,
        } = self;
        let slot = slot_rows::<S, T>();
        let wide = shape.vectors == 2 && shape.columns >= 2 * T::Vector::<S>::LANES;
        for (number, tile) in tiles.enumerate() {
            let t = &t.below(number, shape.rows);
            let row = grid.tile_start(tile);
            if wide && shape.rows >= FEWEST_ROWS {
                let at = row + block.k.start * product.a.k;
                simd.call(PackingTile {
                    t,
                    shape,
                    from: product.a.start.wrapping_add(at),
                    from_k: product.a.k,
                });
            } else {
                let before = (tile - block.tiles.start) * block.k.len() * slot;
                let block = &Block {
                    tiles: tile..tile + 1,
                    first_row: row,
                    k: block.k.clone(),
                    packed: block.packed.wrapping_add(before),
                };
                simd.call(FillSlots {
                    product,
                    block,
                    grid,
                });
                // SAFETY: the maker's promise; the tile's slot has just been filled.
                unsafe { run_tiles(simd, shape, t, 1) };
            }
        }
    }
}

/// A tile, and its rows of A where they lie: side by side for each k. Its maker keeps the promises of [`run_tiles`], and that the
/// tile's slots may be written.
struct PackingTile<'a, T> {
    t: &'a Tile<'a, T>,
    shape: TileShape,
    from: *const T,
    /// From one k to the next.
    from_k: usize,
}

impl<T: Element> Kernel for PackingTile<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            t,
            shape,
            from,
            from_k,
        } = self;
        macro_rules! heights {
            ($($r:literal)*) => {
                match shape.rows {
                    $($r => simd.call(OfHeight::<T, $r> { t, from, from_k }),)*
                    rows => unreachable!("no tile of {rows} rows"),
                }
            };
        }
        heights!(12 13 14);
        if shape.epilogue != Epilogue::Store {
            let stored = Tile {
                k: 0,
                start: Start::Target,
                ..*t
            };
            // SAFETY: the maker's promise; the tile has just been written.
            unsafe { run_tiles(simd, shape, &stored, 1) };
        }
    }
}

/// [`PackingTile`] of one height.
struct OfHeight<'a, T, const R: usize> {
    t: &'a Tile<'a, T>,
    from: *const T,
    from_k: usize,
}

impl<T: Element, const R: usize> Kernel for OfHeight<'_, T, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { t, from, from_k } = self;
        // A's rows at one k lie side by side.
        let odd = odd_distances::<T>(1);
        let (mut from, mut b) = (from, t.b);
        let mut slot = t.a.cast_mut();
        let lanes = T::Vector::<S>::LANES;
        // SAFETY: the maker's promises; what is asked for need not exist.
        unsafe {
            let mut sums = begin::<S, T, R, 2>(simd, t, 0, t.c);
            for _ in 0..t.k {
                let ahead = from.wrapping_add(AHEAD * from_k);
                prefetch_far(ahead.cast());
                prefetch_far(ahead.wrapping_add(lanes - 1).cast());
                T::Vector::<S>::load_partial(simd, from, R).store(slot);
                step::<S, T, R, 2>(simd, &mut sums, from, odd, b, t.b_panel);
                from = from.wrapping_add(from_k);
                slot = slot.wrapping_add(t.a_k);
                b = b.wrapping_add(lanes);
            }
            finish::<S, T, R, 2, STORE>(simd, t, 0, t.c, sums);
        }
    }
}
