//! The core of nnrs: dense networks on CPUs. Nothing outside `python` knows Python.

pub mod math;
pub mod simd;
