//! The core of nnrs: dense networks on CPUs. Nothing outside `python` knows Python.

pub mod activation;
pub mod buffer;
mod cache;
pub mod dense;
pub mod error;
pub mod file;
pub mod gemm;
pub mod lanes;
pub mod loss;
pub mod math;
mod memory;
pub mod network;
pub mod optim;
pub mod peak;
pub mod phase;
pub mod pool;
pub mod predictor;
#[cfg(feature = "python")]
mod python;
pub mod random;
pub mod simd;
pub mod softmax;
