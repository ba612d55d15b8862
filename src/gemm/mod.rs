//! Matrix products of a dense layer: C ← A · B, A read in place by broadcast, B in panels.
//!
//! A layer has weights W (outputs × inputs, row-major) and sees a batch. Activations lie in *panels* of [`PANEL`] rows
//! of the batch: within a panel feature j holds its 16 rows side by side. So a vector holds one feature of several
//! rows, a weight is broadcast, and each product is of one form ([`Product`]):
//!
//! | product            | C                | A (broadcast)             | B (vectors)                     |
//! |--------------------|------------------|---------------------------|---------------------------------|
//! | forward Zᵀ = W·Xᵀ  | panels of Z      | rows of W, in place       | panels of X                     |
//! | dXᵀ = Wᵀ·dZᵀ       | panels of dX     | columns of W, packed      | panels of dZ                    |
//! | dW = dZᵀ·X         | dW, row-major    | panels of dZ, in place    | *columns* of X: panels of 16 inputs, batch rows along k |
//! | prediction Z = X·Wᵀ| Z, row-major     | rows of X, in place       | packed W: panels of 16 outputs  |
//!
//! Every element of C is one chain of fused multiply-adds in increasing k. The loops, outermost first:
//!
//! * LOOP 1: blocks of row tiles, so many that the block of A fills half of the second-level cache;
//! * LOOP 2: slices of k, where A is packed; else all of k;
//! * LOOP 3: groups of columns, a few vectors wide, which pass by;
//! * LOOP 4: parts of k, for products so deep that a group of B would not stay in that cache (the chain continues in C),
//!   or the chunks of 256 rows of a sum over the batch (each a chain of its own, added to C);
//! * LOOP 5: the columns of a group, a tile's width at a time;
//! * LOOP 6: row tiles of the block, those of one height by one call of the micro-kernel ([`kernel`]), which loops over k. Where A is
//!   packed, those of the block's first group pack it as they go ([`packing`]), or it is copied before ([`slots`]).

#![allow(unsafe_code)]

mod ahead;
mod blocks;
mod chains;
mod edge;
mod grid;
pub mod kernel;
pub mod pack;
mod packing;
mod product;
mod slots;
mod sums;
#[cfg(test)]
mod tests;
pub mod turn;

pub use ahead::{Ahead, MOST_BUFFERS};
pub use blocks::{Caches, caches};
pub use grid::{LOCAL_LEN, LOCAL_ROW};
pub use kernel::{Epilogue, Start};
pub use product::{Join, Operand, Product, Target, Tiles};
pub use slots::packed_len;
pub use sums::sum_rows;

/// Rows of the batch (or outputs of packed weights) side by side in a panel, whatever the element and the machine.
pub const PANEL: usize = 16;

/// Rows of the batch in one chain of a sum over the batch.
pub const CHUNK: usize = 256;

/// n rounded up to whole panels.
#[inline(always)]
pub fn padded(n: usize) -> usize {
    n.next_multiple_of(PANEL)
}

/// Elements from one panel to the next: a line more than it holds, so that panels do not meet in the same cache sets.
#[inline(always)]
pub fn panel_stride(n: usize) -> usize {
    (padded(n) + 1) * PANEL
}

/// Elements of a matrix in panels: `across` rows (or inputs) in panels, `along` features (or rows) in each.
#[inline(always)]
pub fn panels_len(across: usize, along: usize) -> usize {
    across.div_ceil(PANEL) * panel_stride(along)
}
