//! Whole networks: against plain float64 loops, against differences, and bit for bit against themselves.

mod allocation;
mod bits;
mod clipping;
mod compile;
mod differences;
mod epochs;
mod golden;
mod model;
mod nonfinite;
mod passes;
mod plain;
mod rows;
mod steps;
mod threads;
mod weights;
