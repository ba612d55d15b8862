//! The affine map of a layer, Z = X·Wᵀ + b, and its gradients: as products over panels, and as functions on matrices.

mod few;
mod gradients;
mod linear;

#[cfg(test)]
mod tests;

pub use gradients::linear_backward;
pub use linear::linear;

use crate::gemm::{
    Ahead, Epilogue, Join, Operand, PANEL, Product, Start, Target, caches, panel_stride,
};
use std::ptr::null;

/// The sizes of a layer and a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub outputs: usize,
    pub inputs: usize,
    pub rows: usize,
}

/// Inputs from which on packing the columns of W pays, if there are more than a few; below, they are read in place.
const PACK_FROM: usize = 128;

impl Shape {
    /// Zᵀ = W·Xᵀ + b, over panels.
    pub fn forward<T>(
        self,
        weight: *const T,
        bias: Option<*const T>,
        x: *const T,
        out: *mut T,
        epilogue: Epilogue,
    ) -> Product<T> {
        Product {
            rows: self.outputs,
            columns: self.rows,
            k: self.inputs,
            a: Operand::plain(weight, self.inputs, 1),
            b: x,
            b_panel: panel_stride(self.inputs),
            c: Target {
                start: out,
                row: PANEL,
                panel: panel_stride(self.outputs),
                begin: bias.map_or(Start::Zero, Start::Rows),
                epilogue,
                kept: null(),
                local: false,
            },
            join: self.join(),
            ahead: Ahead::nothing(),
            pack_a: false,
        }
    }

    /// dXᵀ = Wᵀ·dZᵀ, over panels; zero where a `kept` ReLU output is not above zero.
    pub fn input_gradient<T>(
        self,
        weight: *const T,
        dout: *const T,
        dx: *mut T,
        kept: Option<*const T>,
    ) -> Product<T> {
        Product {
            rows: self.inputs,
            columns: self.rows,
            k: self.outputs,
            a: Operand::plain(weight, 1, self.inputs),
            b: dout,
            b_panel: panel_stride(self.outputs),
            c: Target {
                start: dx,
                row: PANEL,
                panel: panel_stride(self.inputs),
                begin: Start::Zero,
                epilogue: if kept.is_some() {
                    Epilogue::ReluMask
                } else {
                    Epilogue::Store
                },
                kept: kept.unwrap_or(null()),
                local: false,
            },
            join: Join::Chain,
            ahead: Ahead::nothing(),
            pack_a: self.rows > 2 * PANEL
                && self.inputs >= PACK_FROM
                && !self.has_few_weights::<T>(),
        }
    }

    /// dW = dZᵀ·X from panels of dZ and columns of X, row-major.
    pub fn weight_gradient<T>(
        self,
        dout: *const T,
        x_columns: *const T,
        dweight: *mut T,
        accumulate: bool,
    ) -> Product<T> {
        Product {
            rows: self.outputs,
            columns: self.inputs,
            k: self.rows,
            a: Operand {
                start: dout,
                row: PANEL,
                k: 1,
                block: panel_stride(self.outputs),
                k_block: PANEL,
            },
            b: x_columns,
            b_panel: panel_stride(self.rows),
            c: Target {
                start: dweight,
                row: self.inputs,
                panel: PANEL,
                begin: Start::Zero,
                epilogue: Epilogue::Store,
                kept: null(),
                local: false,
            },
            join: Join::Chunks { accumulate },
            ahead: Ahead::nothing(),
            pack_a: false,
        }
    }

    /// Whether the weights take so little of the second-level cache that each thread may read all of them, where they lie.
    pub fn has_few_weights<T>(self) -> bool {
        self.outputs * self.inputs * size_of::<T>() <= caches().l2 / 16
    }

    /// How the parts of a sum over the inputs are joined: a rule of the layer's shape alone.
    pub fn join(self) -> Join {
        Join::of(self.outputs, self.inputs)
    }

    /// Floating-point operations of one product.
    pub fn flops(self) -> f64 {
        2.0 * self.outputs as f64 * self.inputs as f64 * self.rows as f64
    }
}

/// Rows that a function on matrices takes at a time, so that its scratch memory stays bounded; whole chunks.
const BLOCK_ROWS: usize = 512;
