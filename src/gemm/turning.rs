//! Tiles that turn the rows of a batch into panels as they go.
//!
//! To turn a batch before its products takes 784-128-64-10 a twelfth of the step, in which the multipliers wait. So the
//! first tile of a group of columns turns the rows of these columns, four features at a time, beside the products of the
//! four before: loads, shuffles and stores find room between multiply-adds. The tiles below it find the panels there.

#![allow(unsafe_code)]

use super::kernel::{STORE, Tile, TileShape, begin, finish, odd_distances, run_tiles, step};
use super::pack::{Source, pack_rows};
use super::product::Tiles;
use super::{Epilogue, PANEL, Start, panel_stride};
use crate::pool::Shared;
use crate::simd::{Element, Kernel, Opaque, Simd, Vector};
use std::ops::Range;

/// Columns of a group, and its panels.
const GROUP: usize = 2 * PANEL;
const PANELS: usize = GROUP / PANEL;
/// Features turned together.
const TOGETHER: usize = 4;
const PARTS: usize = PANEL / TOGETHER;
/// Groups of which it is known whether they are turned.
const MOST_GROUPS: usize = u64::BITS as usize;

/// Whether there are tiles that turn a batch of these elements.
pub const fn turns<S: Simd, T: Element>() -> bool {
    S::TURNING_TILES && T::Vector::<S>::LANES == PANEL
}

/// A batch in both forms, filled while it is multiplied; for one thread, which uses all of it.
pub struct Turning<'a, T> {
    source: Source<'a, T>,
    rows: usize,
    features: usize,
    panels: Shared<'a, T>,
    columns: Shared<'a, T>,
    /// Bit g: group g is there.
    turned: u64,
}

impl<'a, T: Element> Turning<'a, T> {
    /// If the instruction set has room beside its tiles and the rows are whole blocks.
    #[inline(always)]
    pub fn new<S: Simd>(
        source: Source<'a, T>,
        rows: usize,
        features: usize,
        panels: Shared<'a, T>,
        columns: Shared<'a, T>,
    ) -> Option<Self> {
        let whole = rows.is_multiple_of(GROUP) && features.is_multiple_of(PANEL);
        let few = rows / GROUP <= MOST_GROUPS && features > 0;
        if !turns::<S, T>() || !whole || !few || source.column_stride != 1 {
            return None;
        }
        Some(Self {
            source,
            rows,
            features,
            panels,
            columns,
            turned: 0,
        })
    }

    /// The panels.
    pub fn panels(&self) -> *const T {
        self.panels.as_ptr().cast_const()
    }

    /// Turns the groups that no tile has turned.
    ///
    /// # Safety
    /// The source holds its rows; no other thread touches either form.
    #[inline(always)]
    pub unsafe fn finish<S: Simd>(&mut self, simd: S) {
        for group in 0..self.rows / GROUP {
            if self.is_new(group) {
                // SAFETY: the caller's.
                unsafe { self.turn_alone(simd, group) };
            }
        }
    }

    /// Where the rows of a group begin.
    #[inline(never)]
    fn row_starts(&self, group: usize) -> [*const T; GROUP] {
        let mut starts = [self.source.start; GROUP];
        for (r, start) in starts[..GROUP.opaque()].iter_mut().enumerate() {
            *start = self.source.row(group * GROUP + r);
        }
        starts
    }

    /// Whether a group is not there yet; from now on it is.
    fn is_new(&mut self, group: usize) -> bool {
        let before = self.turned;
        self.turned |= 1 << group;
        self.turned != before
    }

    /// # Safety
    /// As [`Turning::finish`].
    #[inline(never)]
    unsafe fn turn_alone<S: Simd>(&self, simd: S, group: usize) {
        let range = group * PANELS..(group + 1) * PANELS;
        let (panels, columns) = (self.panels, Some(self.columns));
        // SAFETY: the caller's.
        unsafe {
            pack_rows(
                simd,
                &self.source,
                None,
                self.rows,
                self.features,
                range,
                panels,
                columns,
            );
        }
    }
}

/// The tiles of a product whose B may be such a batch; `after` is told of every finished rectangle.
pub struct TurningTiles<'a, 'b, T, F> {
    pub turning: Option<&'a mut Turning<'b, T>>,
    pub after: F,
}

impl<T: Element, F: FnMut(Range<usize>, Range<usize>)> Tiles<T> for TurningTiles<'_, '_, T, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(&mut self, simd: S, shape: TileShape, t: &Tile<'_, T>, count: usize) {
        // SAFETY: the caller's: if there is a batch, it is B, and no other thread touches it.
        unsafe {
            if const { turns::<S, T>() }
                && let Some(turning) = &mut self.turning
                && simd.call(TurnFor { turning, shape, t })
            {
                run_tiles(simd, shape, &t.below(1, shape.rows), count - 1);
            } else {
                run_tiles(simd, shape, t, count);
            }
        }
    }

    #[inline(always)]
    fn after(&mut self, rows: Range<usize>, columns: Range<usize>) {
        (self.after)(rows, columns);
    }
}

/// Turns the columns of a tile, if they are not yet; whether the tile has been computed with it. Its maker keeps the promises
/// of [`run_tiles`] and [`Turning::finish`].
struct TurnFor<'a, 'b, T> {
    turning: &'a mut Turning<'b, T>,
    shape: TileShape,
    t: &'a Tile<'a, T>,
}

impl<T: Element> Kernel for TurnFor<'_, '_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let Self { turning, shape, t } = self;
        let offset = (t.b.addr() - turning.panels.as_ptr().addr()) / size_of::<T>();
        let first = offset / t.b_panel / PANELS;
        let width = shape.columns.min(shape.vectors * PANEL);
        // Tiles of one or two rows are several groups wide.
        for group in first..first + width.div_ceil(GROUP) {
            if turning.is_new(group) {
                if is_whole(shape, t, turning.features) {
                    // SAFETY: the maker's promise.
                    unsafe { first_tile(simd, shape, t, group, turning) };
                    return true;
                }
                // SAFETY: the maker's promise.
                unsafe { turning.turn_alone(simd, group) };
            }
        }
        false
    }
}

/// Whether a tile is a [`first_tile`]: of a whole group, over all features.
#[inline(always)]
fn is_whole<T>(shape: TileShape, t: &Tile<'_, T>, features: usize) -> bool {
    let begun = matches!(t.start, Start::Zero | Start::Rows(_));
    let plain = t.k_block >= t.k && t.a_k == 1 && begun;
    let known = matches!(shape.epilogue, Epilogue::Store | Epilogue::Relu);
    shape.rows >= FEWEST_ROWS
        && shape.vectors == 2
        && shape.columns >= GROUP
        && t.k == features
        && plain
        && known
}

/// Of fewer rows a tile has too few multiply-adds to hide the turning.
const FEWEST_ROWS: usize = 12;

/// A group's first tile, which turns the group.
///
/// # Safety
/// As [`run_tiles`] and [`Turning::finish`].
#[inline(always)]
unsafe fn first_tile<S: Simd, T: Element>(
    simd: S,
    shape: TileShape,
    t: &Tile<'_, T>,
    group: usize,
    turning: &Turning<'_, T>,
) {
    macro_rules! heights {
        ($($r:literal)*) => {
            match shape.rows {
                $($r => simd.call(FirstTile::<T, $r> { t, group, turning }),)*
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
        // SAFETY: the caller's; the tile has just been written.
        unsafe { run_tiles(simd, shape, &stored, 1) };
    }
}

/// [`first_tile`] of one height; its maker keeps the promises of [`run_tiles`] and [`Turning::finish`].
struct FirstTile<'a, 'b, T, const R: usize> {
    t: &'a Tile<'a, T>,
    group: usize,
    turning: &'a Turning<'b, T>,
}

impl<T: Element, const R: usize> Kernel for FirstTile<'_, '_, T, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { t, group, turning } = self;
        let odd = odd_distances::<T>(t.a_row);
        let b_panel = t.b_panel;
        let blocks = turning.features / PANEL;
        // From a block of the column form to that of the next features.
        let next = panel_stride(turning.rows);
        let rows = turning.row_starts(group);
        let group_at = group * PANELS * PANEL * PANEL;
        let mut block = turning.columns.as_ptr().wrapping_add(group_at);
        let mut turned = turning
            .panels
            .as_ptr()
            .wrapping_add(group * PANELS * b_panel);
        let (mut a, mut b) = (t.a, t.b);
        // SAFETY: the maker's promises; the blocks and panels of this group are whole.
        unsafe {
            let start = if let Start::Rows(bias) = t.start {
                Start::Rows(bias)
            } else {
                Start::Zero
            };
            let mut sums = begin::<S, T, R, 2>(simd, &Tile { start, ..*t }, 0, t.c);
            for first in (0..GROUP.opaque()).step_by(TOGETHER) {
                copy(simd, &rows, 0, block, first..first + TOGETHER);
            }
            turn(simd, block, 0, turned, b_panel);
            for number in 1..=blocks {
                let coming = block.wrapping_add(next);
                // Not unrolled, as the other loops: that would be 20 kB for each height.
                for part in 0..PARTS.opaque() {
                    // Ahead of their use: loads would wait for stores that are on their way.
                    if number < blocks {
                        for panel in 0..PANELS {
                            let first = panel * PANEL + part * TOGETHER;
                            copy(simd, &rows, number * PANEL, coming, first..first + TOGETHER);
                        }
                    }
                    turned = turned.wrapping_add(TOGETHER * PANEL);
                    if part + 1 < PARTS || number < blocks {
                        let (from, part) = if part + 1 < PARTS {
                            (block, part + 1)
                        } else {
                            (coming, 0)
                        };
                        turn(simd, from, part, turned, b_panel);
                    }
                    for _ in 0..TOGETHER.opaque() {
                        step::<S, T, R, 2>(simd, &mut sums, a, odd, b, b_panel);
                        a = a.wrapping_add(1);
                        b = b.wrapping_add(PANEL);
                    }
                }
                block = coming;
            }
            finish::<S, T, R, 2, STORE>(simd, t, 0, t.c, sums);
        }
    }
}

/// Turns four features of a block of each panel.
///
/// # Safety
/// The blocks may be read, and the panels written.
#[inline(always)]
unsafe fn turn<S: Simd, T: Element>(
    simd: S,
    block: *const T,
    part: usize,
    turned: *mut T,
    b_panel: usize,
) {
    for panel in 0..PANELS {
        // SAFETY: the caller's.
        unsafe {
            let from = block.add(panel * PANEL * PANEL);
            let columns = T::Vector::<S>::four_columns(simd, from, part);
            for (c, column) in columns.into_iter().enumerate() {
                column.store(turned.add(panel * b_panel + c * PANEL));
            }
        }
    }
}

/// Copies 16 features of some rows side by side.
///
/// # Safety
/// The rows have 16 elements from `feature` on; `block` holds so many for each of all rows.
#[inline(always)]
unsafe fn copy<S: Simd, T: Element>(
    simd: S,
    rows: &[*const T; GROUP],
    feature: usize,
    block: *mut T,
    these: Range<usize>,
) {
    for r in these {
        // SAFETY: the caller's.
        unsafe {
            T::Vector::<S>::load(simd, rows[r].add(feature)).store(block.add(r * PANEL));
        }
    }
}
