//! The core of nnrs: dense networks on CPUs. Nothing outside `python` knows Python.

pub mod buffer;
pub mod error;
pub mod gemm;
pub mod lanes;
pub mod loss;
pub mod math;
pub mod optim;
pub mod pool;
pub mod random;
pub mod simd;
pub mod softmax;
