//! How a product is cut: tiles, groups, blocks, and how much of k at a time.

use super::ahead::Coming;
use super::kernel::tile_vectors;
use super::product::{Join, Product};
use super::slots::packed_rows;
use super::{CHUNK, PANEL, caches};
use crate::buffer::LINE;
use crate::simd::{Element, Simd, Vector};
use std::ops::Range;

/// A product cut into tiles for one instruction set.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub tiles: usize,
    /// Rows of a tile, as even as can be: so many, and one more before the first of `longer` and from the second on, so that
    /// both halves have as many rows.
    tile_rows: usize,
    longer: [usize; 2],
    pub columns: usize,
    pub groups: usize,
    /// Vectors and columns in a whole group.
    pub vectors: usize,
    pub width: usize,
    /// The next group, where A lies in blocks of k and not all of B stays in the second-level cache.
    pub coming: Option<Coming>,
    /// Row tiles in a block.
    block: usize,
    /// The part of k after which the next tile begins: what a group of B may have, to stay in the second-level cache.
    pub part: usize,
}

impl Grid {
    /// Written with few divisions: for the smallest nets they would take as long as the products.
    pub(super) fn of<S: Simd, T: Element>(product: &Product<T>) -> Self {
        let lanes = T::Vector::<S>::LANES;
        let pages_apart = !product.pack_a && are_pages_apart::<T>(product.a.row);
        let whole_tiles = if pages_apart && S::TILE_ROWS > MOST_PAGES_APART {
            product.rows.div_ceil(MOST_PAGES_APART)
        } else {
            product.rows.div_ceil(S::TILE_ROWS)
        };
        let (tiles, vectors) = match product.join {
            Join::Interleaved => (product.rows, PANEL / lanes),
            _ if product.c.local => (whole_tiles, S::TILE_VECTORS),
            _ => (whole_tiles, tile_vectors::<S>(product.rows)),
        };
        let (tile_rows, longer) = match tiles {
            0 | 1 => (product.rows, 0),
            _ => (product.rows / tiles, product.rows % tiles),
        };
        // Whole panels, so that what comes after a group finds its features' rows side by side; a power of two.
        let width = (vectors * lanes).max(PANEL);
        let half_l2 = caches().l2 / 2 / size_of::<T>();
        let block_rows = if product.pack_a {
            packed_rows::<T>(product.k)
        } else if product.k * MOST_ROWS <= half_l2 {
            MOST_ROWS
        } else {
            half_l2 / product.k
        };
        let block = match product.join {
            Join::Interleaved => block_rows.max(1),
            _ => (block_rows / S::TILE_ROWS).max(1),
        };
        let part = match product.join {
            Join::Chain => (half_l2 >> width.trailing_zeros()).next_multiple_of(PANEL),
            Join::Interleaved => product.k,
            Join::Chunks { .. } => CHUNK,
        };
        let coming =
            (product.a.is_in_blocks() && product.columns * product.k > half_l2).then(|| Coming {
                distance: width / PANEL * product.b_panel,
                panels: width / PANEL,
                lines: (product.k.min(part) * PANEL * size_of::<T>() / LINE)
                    .div_ceil(block.min(tiles.max(1))),
            });
        Self {
            tiles,
            tile_rows,
            longer: [longer.div_ceil(2), tiles - longer / 2],
            columns: product.columns,
            coming,
            groups: (product.columns + width - 1) >> width.trailing_zeros(),
            vectors,
            width,
            block,
            part,
        }
    }

    /// The rows of tile t.
    #[inline(always)]
    pub fn rows_of(&self, t: usize) -> usize {
        let [first, second] = self.longer;
        self.tile_rows + usize::from(t < first || t >= second)
    }

    /// The first row of tile t.
    #[inline(always)]
    pub fn tile_start(&self, t: usize) -> usize {
        let [first, second] = self.longer;
        t * self.tile_rows + t.min(first) + t.saturating_sub(second)
    }

    /// The first tile after t that has another height, or none: as many as there are.
    #[inline(always)]
    pub fn height_end(&self, t: usize) -> usize {
        let [first, second] = self.longer;
        if t < first {
            first
        } else if t < second {
            second
        } else {
            self.tiles
        }
    }

    /// The row tiles and the groups of the first units of a range that make one block: whole row tiles, or the part of
    /// one at the range's edge.
    #[inline(always)]
    pub fn block(&self, units: Range<usize>) -> (Range<usize>, Range<usize>) {
        let (tile, group) = (units.start / self.groups, units.start % self.groups);
        let left = units.len();
        if group == 0 && left >= self.groups {
            // As even as can be: to pass by a tile or two takes a group of columns as long as to pass by a block.
            let tiles = left / self.groups;
            let here = if tiles <= self.block {
                tiles
            } else {
                tiles.div_ceil(tiles.div_ceil(self.block))
            };
            (tile..tile + here, 0..self.groups)
        } else {
            (tile..tile + 1, group..self.groups.min(group + left))
        }
    }
}

/// The most rows of a tile that are whole pages apart in memory: they all meet in one set of the first-level cache, which has
/// as many places.
const MOST_PAGES_APART: usize = 12;

#[inline(always)]
fn are_pages_apart<T>(row: usize) -> bool {
    const PAGE: usize = 4096;
    row > 0 && row.is_multiple_of(PAGE / size_of::<T>())
}

/// The most rows in a block; fewer where they would fill more than half of the second-level cache: the other half is for
/// what streams past.
const MOST_ROWS: usize = 128;

/// Elements of a local C of `width` columns, on any instruction set.
pub const LOCAL_LEN: usize = (MOST_ROWS + MOST_TILE_ROWS) * LOCAL_ROW;

/// Columns of the widest group of more than two rows.
pub const LOCAL_ROW: usize = 32;

/// The rows of the largest tile of any instruction set.
const MOST_TILE_ROWS: usize = 14;
