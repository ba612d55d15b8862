//! The next batch: its rows are asked for while this one is at work.
//!
//! Rows that an epoch picks in random order lie anywhere in memory, and a core waits for no more than some sixteen lines at
//! a time. A few are asked for with every finished block of a product, with their targets and weights, so that they are near
//! when they are packed.

use super::session::{Batch, Targets};
use crate::buffer::LINE;
use crate::simd::{Element, prefetch_far};
use std::cell::Cell;
use std::ops::Range;

/// Cache lines that are asked for at a time: about as many as a core can wait for.
const TOGETHER: usize = 16;

/// The most lines of a row that are asked for: the hardware finds the next ones by itself.
const MOST: usize = 8;

/// Rows of the next batch that one thread will pack.
pub struct Upcoming<'a, T> {
    /// The batch before it, of the same arrays.
    batch: &'a Batch<'a, T>,
    /// Elements of a row that are asked for.
    elements: usize,
    /// Rows that are asked for at a time.
    together: usize,
    next: Cell<usize>,
    end: usize,
}

impl<'a, T: Element> Upcoming<'a, T> {
    /// Of rows of so many elements; `rows` are those of a batch that this thread packs.
    pub fn of(batch: &'a Batch<'a, T>, features: usize, rows: Range<usize>) -> Self {
        let elements = features.min(MOST * LINE / size_of::<T>());
        let lines = (elements * size_of::<T>()).div_ceil(LINE) + 1;
        Self {
            batch,
            elements,
            together: TOGETHER.div_ceil(lines),
            next: Cell::new(rows.start),
            end: rows.end.min(batch.upcoming.len()),
        }
    }

    /// Asks for some more.
    #[inline(never)]
    pub fn ask(&self) {
        let first = self.next.get();
        let end = self.end.min(first + self.together);
        for row in first..end {
            let row = self.batch.upcoming[row] as usize;
            ask(self.batch.x.from_row(row).start, self.elements);
            match self.batch.targets {
                Targets::Dense(source) => prefetch_far(source.from_row(row).start.cast()),
                Targets::Classes(labels) => prefetch_far(labels.as_ptr().wrapping_add(row).cast()),
            }
            if let Some(weights) = self.batch.sample_weight {
                prefetch_far(weights.as_ptr().wrapping_add(row).cast());
            }
        }
        self.next.set(first.max(end));
    }
}

/// Asks for the lines of a row.
#[inline(always)]
fn ask<T>(row: *const T, elements: usize) {
    let (first, bytes) = (row.cast::<u8>(), elements * size_of::<T>());
    for at in (0..bytes).step_by(LINE) {
        prefetch_far(first.wrapping_add(at));
    }
    prefetch_far(first.wrapping_add(bytes.saturating_sub(1)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::pack::Source;

    #[test]
    fn all_rows_are_asked_for_and_no_more() {
        let (matrix, picks) = ([0.0f32; 300], [9, 3, 3, 0, 7, 1]);
        for (features, rows) in [
            (30, 0..6),
            (30, 2..9),
            (1, 0..4),
            (300, 0..6),
            (0, 0..6),
            (30, 8..9),
        ] {
            let batch = Batch {
                x: Source::rows(&matrix, 30),
                targets: Targets::Dense(Source::rows(&matrix, 1)),
                sample_weight: None,
                rows: 9,
                picks: None,
                upcoming: &picks,
            };
            let upcoming = Upcoming::of(&batch, features, rows.clone());
            let some = upcoming.together;
            assert!((1..=TOGETHER).contains(&some));
            let end = rows.end.min(picks.len()).max(rows.start);
            for asked in 1..9 {
                upcoming.ask();
                assert_eq!(upcoming.next.get(), end.min(rows.start + asked * some));
            }
            assert_eq!(upcoming.next.get(), end);
        }
    }
}
