//! A whole product, in blocks and tiles; the part of it that one thread does.

use super::PANEL;
use super::ahead::Ahead;
use super::chains::{Chains, chained};
use super::grid::Grid;
use super::kernel::{Epilogue, Start, Tile, TileShape, run_tiles};
use super::packing::{PackingTiles, packs};
use super::slots::{FillSlots, packed_depth, slot_rows};
use crate::simd::{Element, Kernel, Simd, Vector};
use std::ops::Range;

/// The broadcast operand A (rows × k).
#[derive(Clone, Copy)]
pub struct Operand<T> {
    pub start: *const T,
    pub row: usize,
    pub k: usize,
    /// From one block of `k_block` k to the next.
    pub block: usize,
    pub k_block: usize,
}

impl<T> Operand<T> {
    /// A matrix with plain strides.
    pub fn plain(start: *const T, row: usize, k: usize) -> Self {
        Self {
            start,
            row,
            k,
            block: 0,
            k_block: usize::MAX,
        }
    }

    /// The same, in blocks of so many k: with each a tile asks for some of what comes, as in a sum over the batch.
    pub fn in_blocks(self, k_block: usize) -> Self {
        Self {
            k_block,
            block: k_block * self.k,
            ..self
        }
    }

    #[inline(always)]
    pub(super) fn is_in_blocks(&self) -> bool {
        self.k_block != usize::MAX
    }
}

/// C (rows × columns), and what it becomes.
#[derive(Clone, Copy)]
pub struct Target<T> {
    pub start: *mut T,
    pub row: usize,
    pub panel: usize,
    pub begin: Start<T>,
    pub epilogue: Epilogue,
    /// With [`Epilogue::ReluMask`]: the kept outputs, laid out as C.
    pub kept: *const T,
    /// C is a small buffer that every group of columns of a block uses anew: rows count from the block's first, columns
    /// from the group's.
    pub local: bool,
}

/// How parts of k make one element of C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// One chain over all of k.
    Chain,
    /// 16 chains, each over every 16th k, joined by a fixed tree: for few outputs of many inputs ([`chained`]).
    Interleaved,
    /// A chain for each [`super::CHUNK`] of k, added in order; to what C holds when `accumulate` is set.
    Chunks { accumulate: bool },
}

impl Join {
    /// For the outputs of a layer: a rule of its shape alone.
    pub fn of(outputs: usize, inputs: usize) -> Self {
        if chained(outputs, inputs) {
            Join::Interleaved
        } else {
            Join::Chain
        }
    }
}

/// Who computes a product's tiles.
pub trait Tiles<T: Element> {
    /// Some tiles, as [`run_tiles`] does them.
    ///
    /// # Safety
    /// As there.
    unsafe fn run<S: Simd>(&mut self, simd: S, shape: TileShape, t: &Tile<'_, T>, count: usize);

    /// A rectangle (rows, columns), a group of columns of a block, is finished, and near.
    fn after(&mut self, rows: Range<usize>, columns: Range<usize>);
}

/// The micro-kernel's tiles, and what is told of every finished rectangle.
struct Plain<F>(F);

impl<T: Element, F: FnMut(Range<usize>, Range<usize>)> Tiles<T> for Plain<F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(&mut self, simd: S, shape: TileShape, t: &Tile<'_, T>, count: usize) {
        // SAFETY: the caller's.
        unsafe { run_tiles(simd, shape, t, count) }
    }

    #[inline(always)]
    fn after(&mut self, rows: Range<usize>, columns: Range<usize>) {
        (self.0)(rows, columns);
    }
}

/// C ← A · B for `rows` × `columns` elements, over `k`.
///
/// Work is numbered in *units*, one row tile by one group of columns each, row tiles outermost, so that a range of
/// units is a nearly contiguous range of rows.
#[derive(Clone, Copy)]
pub struct Product<T> {
    pub rows: usize,
    pub columns: usize,
    pub k: usize,
    pub a: Operand<T>,
    /// Panels of 16 columns, 16 elements a k, padded to whole panels.
    pub b: *const T,
    pub b_panel: usize,
    pub c: Target<T>,
    pub join: Join,
    /// What will be written after C, its rows as far apart; the addresses are those of row 0, column 0.
    pub ahead: Ahead<T>,
    /// Copy each block of A to a buffer first; A's elements of one k must lie side by side (`a.row` is 1).
    pub pack_a: bool,
}

impl<T: Element> Product<T> {
    /// The product's part in some panels of columns.
    pub fn of_panels(&self, panels: Range<usize>) -> Self {
        let first = panels.start * PANEL;
        let offset = panels.start * self.c.panel;
        let c = Target {
            start: self.c.start.wrapping_add(offset),
            kept: self.c.kept.wrapping_add(offset),
            begin: match self.c.begin {
                Start::Columns(bias) => Start::Columns(bias.wrapping_add(first)),
                other => other,
            },
            ..self.c
        };
        Self {
            columns: self.columns.min(panels.end * PANEL) - first,
            b: self.b.wrapping_add(panels.start * self.b_panel),
            c,
            ahead: self.ahead.from(first),
            ..*self
        }
    }

    /// Computes the units that `share` picks of so many. `after` is told of every finished rectangle (rows, columns), a
    /// group of columns of a block, while it is near.
    ///
    /// # Safety
    /// The operands' elements lie in memory that may be read, C also written; `share` picks from 0 to the number it is given; no
    /// other thread touches the rectangles of C in these units; `packed` holds [`packed_len`] elements if `pack_a` is set, and C
    /// [`LOCAL_LEN`] if it is local.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(
        &self,
        simd: S,
        share: impl FnOnce(usize) -> Range<usize>,
        packed: *mut T,
        after: impl FnMut(Range<usize>, Range<usize>),
    ) {
        // SAFETY: the caller's.
        unsafe { self.run_with(simd, share, packed, &mut Plain(after)) }
    }

    /// As [`Product::run`], the tiles computed by someone else.
    ///
    /// # Safety
    /// As there; the rectangles of C are whatever `work` makes of them.
    #[inline(always)]
    pub unsafe fn run_with<S: Simd, W: Tiles<T>>(
        &self,
        simd: S,
        share: impl FnOnce(usize) -> Range<usize>,
        packed: *mut T,
        work: &mut W,
    ) {
        let grid = &Grid::of::<S, T>(self);
        let all = grid.tiles * grid.groups;
        if all == 0 {
            return;
        }
        // LOOP 1: blocks.
        let mut left = share(all);
        while !left.is_empty() {
            let (tiles, groups) = grid.block(left.clone());
            left.start += tiles.len() * groups.len();
            simd.call(RunBlock {
                product: self,
                grid,
                tiles,
                groups,
                packed,
                work: &mut *work,
            });
        }
    }

    /// # Safety
    /// As [`Product::run`]; a packed block holds its slice of A.
    #[inline(always)]
    unsafe fn run_group<S: Simd>(
        &self,
        simd: S,
        grid: &Grid,
        block: &Block<T>,
        group: &Group,
        work: &mut impl Tiles<T>,
    ) {
        let columns = &group.columns;
        let lanes = T::Vector::<S>::LANES;
        // LOOP 4: parts of k.
        let mut k = block.k.start;
        loop {
            let k_here = grid.part.min(block.k.end - k);
            // LOOP 5: the group's columns, as many as a tile has; narrower tiles at the end: B has no more than whole panels.
            let mut at = columns.start;
            let mut vectors = grid.vectors;
            while at < columns.end {
                let left = columns.end - at;
                while vectors > 1 && vectors * lanes > left.next_multiple_of(lanes) {
                    vectors /= 2;
                }
                // LOOP 6: row tiles, those of one height together.
                let mut tile = block.tiles.start;
                while tile < block.tiles.end {
                    let end = grid.height_end(tile).min(block.tiles.end);
                    let place = Place {
                        tiles: tile..end,
                        column: at,
                        left,
                        vectors,
                        k: k..k + k_here,
                    };
                    // SAFETY: the caller's.
                    unsafe { self.run_tiles(simd, grid, block, group, place, work) };
                    tile = end;
                }
                at += vectors * lanes;
            }
            k += k_here;
            if k == block.k.end {
                break;
            }
        }
    }

    /// Row tiles of one height, one below the other, over a part of k.
    ///
    /// # Safety
    /// As [`Product::run_group`].
    #[inline(always)]
    unsafe fn run_tiles<S: Simd>(
        &self,
        simd: S,
        grid: &Grid,
        block: &Block<T>,
        group: &Group,
        place: Place,
        work: &mut impl Tiles<T>,
    ) {
        let Place {
            tiles,
            column,
            left,
            vectors,
            k,
        } = place;
        let row = grid.tile_start(tiles.start);
        let rows = grid.rows_of(tiles.start);
        let first = k.start == 0;
        let (begin, epilogue) = self.part_of_chain(first, k.end == self.k);
        let (c_row, c_column) = if self.c.local {
            (row - block.first_row, column - group.columns.start)
        } else {
            (row, column)
        };
        let c = c_row * self.c.row + c_column / PANEL * self.c.panel + c_column % PANEL;
        let ahead =
            (first && self.ahead.count > 0).then(|| self.ahead.from(row * self.ahead.row + column));
        // SAFETY: rows, columns and k lie within the product, and the packed tiles within their slice.
        unsafe {
            let (a, a_tile, a_k) = if self.pack_a {
                let slot = slot_rows::<S, T>();
                let a_tile = block.k.len() * slot;
                let start = block.packed.add((tiles.start - block.tiles.start) * a_tile);
                (
                    Operand::plain(start.cast_const(), 1, slot),
                    a_tile,
                    k.start - block.k.start,
                )
            } else {
                let start = self.a.start.add(row * self.a.row);
                (Operand { start, ..self.a }, rows * self.a.row, k.start)
            };
            let a_start = if a_k == 0 {
                a.start
            } else {
                a.start
                    .add(a_k / a.k_block * a.block + a_k % a.k_block * a.k)
            };
            let tile = Tile {
                k: k.len(),
                k_block: a.k_block,
                a: a_start,
                a_row: a.row,
                a_k: a.k,
                a_block: a.block,
                a_tile,
                b: self
                    .b
                    .add(column / PANEL * self.b_panel + column % PANEL + k.start * PANEL),
                b_panel: self.b_panel,
                c: self.c.start.add(c),
                c_row: self.c.row,
                c_panel: self.c.panel,
                kept: self.c.kept.wrapping_add(c),
                start: match begin {
                    Start::Rows(bias) => Start::Rows(bias.add(row)),
                    Start::Columns(bias) => Start::Columns(bias.add(column)),
                    other => other,
                },
                ahead: ahead.as_ref(),
                coming: grid.coming.as_ref(),
                is_first: group.is_first,
                number: tiles.start - block.tiles.start,
            };
            if self.join == Join::Interleaved {
                simd.call(Chains {
                    epilogue,
                    rows: tiles.len(),
                    columns: left,
                    t: &tile,
                });
            } else {
                let shape = TileShape {
                    rows,
                    vectors,
                    columns: left,
                    epilogue,
                };
                let is_new = group.is_first && column == group.columns.start;
                if is_new && self.pack_a && packs::<S, T>(block.k.len(), grid.part) {
                    simd.call(PackingTiles {
                        product: self,
                        grid,
                        block,
                        tiles,
                        shape,
                        t: &tile,
                    });
                } else {
                    work.run(simd, shape, &tile, tiles.len());
                }
            }
        }
    }

    /// Where the chains of a part of k begin, and what becomes of them.
    #[inline(always)]
    fn part_of_chain(&self, first: bool, last: bool) -> (Start<T>, Epilogue) {
        match self.join {
            Join::Interleaved => (self.c.begin, self.c.epilogue),
            Join::Chain => (
                if first { self.c.begin } else { Start::Target },
                if last {
                    self.c.epilogue
                } else {
                    Epilogue::Store
                },
            ),
            Join::Chunks { accumulate } => (
                Start::Zero,
                if first && !accumulate {
                    Epilogue::Store
                } else {
                    Epilogue::Add
                },
            ),
        }
    }
}

/// Some row tiles by some groups of columns; its maker keeps the promises of [`Product::run`]. A function of its own: as a
/// part of the step the loops would keep their numbers on the stack, where the smallest nets wait for them.
struct RunBlock<'a, T, W> {
    product: &'a Product<T>,
    grid: &'a Grid,
    tiles: Range<usize>,
    groups: Range<usize>,
    packed: *mut T,
    work: &'a mut W,
}

impl<T: Element, W: Tiles<T>> Kernel for RunBlock<'_, T, W> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            product,
            grid,
            tiles,
            groups,
            packed,
            work,
        } = self;
        let rows = grid.tile_start(tiles.start)..grid.tile_start(tiles.end);
        let mut block = Block {
            tiles,
            first_row: rows.start,
            k: 0..0,
            packed,
        };
        // LOOP 2: slices of k of which A is packed, or all of k; once even when k is zero, so that C is written.
        loop {
            let slice = if product.pack_a {
                packed_depth::<T>()
            } else {
                product.k
            };
            block.k = block.k.end..product.k.min(block.k.end + slice);
            let last = block.k.end == product.k;
            if product.pack_a && !packs::<S, T>(block.k.len(), grid.part) {
                simd.call(FillSlots {
                    product,
                    block: &block,
                    grid,
                });
            }
            // LOOP 3: groups of columns.
            for number in groups.clone() {
                let first = number * grid.width;
                let group = Group {
                    columns: first..grid.columns.min(first + grid.width),
                    is_first: number == groups.start,
                };
                // SAFETY: the maker's promise.
                unsafe { product.run_group(simd, grid, &block, &group, work) };
                if last {
                    work.after(rows.clone(), group.columns);
                }
            }
            if last {
                break;
            }
        }
    }
}

/// Where some tiles of a block lie.
struct Place {
    tiles: Range<usize>,
    /// Their first column.
    column: usize,
    /// Columns from there to the group's end; a tile may be wider.
    left: usize,
    vectors: usize,
    k: Range<usize>,
}

/// Columns that pass by a block.
struct Group {
    columns: Range<usize>,
    /// The block's rows of A are new.
    is_first: bool,
}

/// The part of a product at work: some row tiles, over a slice of k.
#[derive(Clone)]
pub(super) struct Block<T> {
    pub tiles: Range<usize>,
    pub first_row: usize,
    pub k: Range<usize>,
    /// The slice of A, if it is packed.
    pub packed: *mut T,
}
