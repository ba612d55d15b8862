//! The core of nnrs: dense networks on CPUs. Nothing outside `python` knows Python.

pub mod error;
pub mod math;
pub mod optim;
pub mod random;
pub mod simd;
