//! What is asked for ahead, while a tile's k passes by: memory that its update writes, and operands of the tiles that follow.

use super::kernel::Tile;
use crate::buffer::LINE;
use crate::cache::prefetch_for_writing;
use crate::simd::prefetch_far;
use std::ops::Range;

/// Memory that will be written after the tile, laid out as its rows: its cache lines are asked for row by row while k
/// passes by, a few at a time, so that they never keep the operands' own lines waiting.
#[derive(Clone, Copy)]
pub struct Ahead<T> {
    /// The tile's first element in each of `count` buffers.
    pub buffers: [*const T; MOST_BUFFERS],
    pub count: usize,
    pub row: usize,
}

/// Operands that are read after the tile, asked for into the second-level cache, a few lines with each block of its k.
#[derive(Clone, Copy)]
pub struct Coming {
    /// Elements from B to that of the next group of columns.
    pub distance: usize,
    /// Panels of a group, and lines of each that a tile of a block asks for.
    pub panels: usize,
    pub lines: usize,
}

/// The weights and up to three slots of an optimiser.
pub const MOST_BUFFERS: usize = 4;

impl<T> Ahead<T> {
    pub fn nothing() -> Self {
        Self {
            buffers: [std::ptr::null(); MOST_BUFFERS],
            count: 0,
            row: 0,
        }
    }

    /// The same from another element on.
    #[inline(always)]
    pub(super) fn from(&self, element: usize) -> Self
    where
        T: Copy,
    {
        let mut ahead = *self;
        for buffer in &mut ahead.buffers {
            *buffer = buffer.wrapping_add(element);
        }
        ahead
    }

    /// Asks for some rows, `elements` long.
    #[inline(always)]
    pub fn ask(&self, rows: Range<usize>, elements: usize) {
        for r in rows {
            for buffer in &self.buffers[..self.count.min(MOST_BUFFERS)] {
                for at in (0..elements).step_by(LINE / size_of::<T>()) {
                    prefetch_for_writing(buffer.wrapping_add(r * self.row + at));
                }
            }
        }
    }
}

impl<T> Tile<'_, T> {
    /// Asks for the part of what comes that falls to some of the k of a tile of so many rows and columns, `below` tiles under this
    /// one, its A at `a`.
    #[inline(always)]
    pub(super) fn ask(
        &self,
        [rows, columns]: [usize; 2],
        below: usize,
        a: *const T,
        k: Range<usize>,
    ) {
        let part = |all: usize| all * k.start / self.k..all * k.end / self.k;
        if let Some(ahead) = self.ahead {
            let rows = part(rows).start + below * rows..part(rows).end + below * rows;
            ahead.ask(rows, columns);
        }
        let Some(coming) = self.coming else {
            return;
        };
        for panel in 0..coming.panels {
            let panel = self.b.wrapping_add(coming.distance + panel * self.b_panel);
            for line in part(coming.lines) {
                let line = (self.number + below) * coming.lines + line;
                prefetch_far(panel.wrapping_byte_add(line * LINE).cast());
            }
        }
        if self.is_first {
            for r in 0..rows {
                prefetch_far(a.wrapping_add(self.a_tile + r * self.a_row).cast());
            }
        }
    }
}
