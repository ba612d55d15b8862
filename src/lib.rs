//! The core of nnrs: dense networks on CPUs. Nothing outside `python` knows Python.

pub mod activation;
pub mod buffer;
pub mod error;
pub mod gemm;
pub mod math;
pub mod optim;
pub mod pool;
pub mod random;
pub mod simd;
