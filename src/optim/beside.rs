//! The update beside the products that make its gradient.
//!
//! A square root and a quotient of every parameter keep a core's divider busy while its multipliers wait, and the products
//! of the gradient the multipliers alone. So a tile of a weight gradient is updated while the next tile's products run,
//! a row with every two k, where the machine has a form for it ([`adam_tile`](super::adam_tile)).

#![allow(unsafe_code)]

use super::adam_tile::{self, Constants, Products, Waiting, width};
use super::{Clip, Rectangle, Rule, State};
use crate::gemm::kernel::{Tile, TileShape, run_tiles};
use crate::gemm::{CHUNK, Epilogue, PANEL, Start, Tiles};
use crate::simd::{Element, Simd, Vector};
use std::ops::Range;

/// Computes the tiles of a weight gradient, and updates the weights.
pub struct Beside<'a, T> {
    state: &'a State<T>,
    rule: Constants,
    /// Two finished tiles: one whose rows wait, one that is next.
    tiles: [*mut T; 2],
    waiting: Waiting,
}

impl<T: Element> State<T> {
    /// For the weights that begin at `start`, of so many outputs and inputs, and `k` rows of the batch; if the machine has a form
    /// for it, the rule is Adam's and nothing else is done to the gradient.
    ///
    /// # Safety
    /// Whatever it computes is a weight gradient of these weights, its C the place that it has in this state's gradient.
    /// `local` holds [`LOCAL_LEN`](crate::gemm::LOCAL_LEN) elements, for nothing else until [`Beside::finish`].
    #[inline(always)]
    pub unsafe fn beside<S: Simd>(
        &self,
        clip: Clip<T>,
        start: usize,
        [outputs, inputs]: [usize; 2],
        k: usize,
        local: *mut T,
    ) -> Option<Beside<'_, T>> {
        let Some(Rule::Adam(rule)) = self.rules.rule_at(start) else {
            return None;
        };
        let plain = clip.is_none() && !rule.amsgrad() && rule.decay == T::ZERO;
        // Up to two rows have wider tiles, and more k more than one part.
        let whole = outputs > 2 && inputs >= width::<S>() && k <= CHUNK;
        let can = S::ADAM_TILES && size_of::<T>() == size_of::<f32>() && plain && whole;
        can.then(|| Beside {
            state: self,
            rule: Constants::new(rule),
            tiles: [local, local.wrapping_add(S::TILE_ROWS * width::<S>())],
            waiting: Waiting::none(),
        })
    }
}

impl<T: Element> Beside<'_, T> {
    /// The weights' offset in their buffer.
    fn offset(&self) -> usize {
        (self.waiting.weights.addr() - self.state.adam_buffers()[0].addr()) / size_of::<T>()
    }

    /// Updates the rows that wait.
    ///
    /// # Safety
    /// No other thread touches them; the finished tile is where it was.
    #[inline(always)]
    pub unsafe fn finish<S: Simd>(&mut self, simd: S) {
        // SAFETY: the caller's; the tile is there.
        unsafe { self.update(simd, width::<S>()) };
    }

    /// # Safety
    /// As [`Beside::finish`].
    #[inline(always)]
    unsafe fn update<S: Simd>(&mut self, simd: S, columns: usize) {
        let Waiting {
            gradient,
            stride,
            rows,
            ..
        } = self.waiting;
        if rows > 0 {
            let at = Rectangle {
                start: self.offset(),
                stride,
                rows,
                columns,
            };
            // SAFETY: the caller's.
            unsafe {
                self.state
                    .update_rows(simd, Clip::none(), at, gradient.cast(), width::<S>())
            };
            self.waiting.rows = 0;
        }
    }
}

impl<T: Element> Tiles<T> for Beside<'_, T> {
    /// C is not written: its addresses say which weights the tiles belong to.
    #[inline(always)]
    unsafe fn run<S: Simd>(&mut self, simd: S, shape: TileShape, t: &Tile<'_, T>, count: usize) {
        assert!((t.a_row, t.a_k, t.k_block) == (PANEL, 1, PANEL));
        assert!(shape.epilogue == Epilogue::Store && matches!(t.start, Start::Zero));
        let TileShape {
            rows,
            vectors,
            columns,
            ..
        } = shape;
        let lanes = T::Vector::<S>::LANES;
        let columns = columns.min(vectors * lanes);
        let first = (t.c.addr() - self.state.gradients().addr()) / size_of::<T>();
        let end = first + (count * rows - 1) * t.c_row + columns;
        assert!(size_of::<T>() == size_of::<f32>() && vectors <= 2 && end <= self.state.len());
        for below in 0..count {
            let tile = t.below(below, rows);
            // SAFETY: the caller's for the operands; the elements are float32. The tiles lie in the local
            // buffer, the weights and slots where the gradient's element lies in its own.
            unsafe {
                if columns == 2 * lanes {
                    let products = Products {
                        k: tile.k,
                        a: tile.a.cast(),
                        a_block: tile.a_block,
                        b: tile.b.cast(),
                        b_second: if lanes == PANEL { tile.b_panel } else { lanes },
                        c: self.tiles[1].cast(),
                        ahead: t.ahead.map(|ahead| &*std::ptr::from_ref(ahead).cast()),
                        first_row: below * rows,
                    };
                    adam_tile::run(simd, rows, &products, &mut self.waiting, &self.rule);
                    self.finish(simd);
                } else {
                    self.finish(simd);
                    let alone = Tile {
                        c: self.tiles[1],
                        c_row: 2 * lanes,
                        c_panel: PANEL,
                        ..tile
                    };
                    run_tiles(simd, shape, &alone, 1);
                }
                self.tiles.swap(0, 1);
                let offset = tile.c.addr() - self.state.gradients().addr();
                let [weights, first, second] = self
                    .state
                    .adam_buffers()
                    .map(|buffer| buffer.wrapping_byte_add(offset).cast());
                self.waiting = Waiting {
                    weights,
                    first,
                    second,
                    stride: tile.c_row,
                    gradient: self.tiles[0].cast_const().cast(),
                    rows,
                };
                if columns < 2 * lanes {
                    self.update(simd, columns);
                }
            }
        }
    }

    #[inline(always)]
    fn after(&mut self, _: Range<usize>, _: Range<usize>) {}
}
