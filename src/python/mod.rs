//! The Python face: checks arguments, turns NumPy arrays into slices and errors into exceptions.
//!
//! Nothing outside this folder knows Python. Every function checks all of its arguments before the first write.

#![allow(unsafe_code)]

mod array;
mod buffer;
mod config;
mod file;
mod functional;
mod loss;
mod network;
mod optimizer;
mod output;
mod predictor;
mod random;
mod session;

use crate::buffer::OutOfMemory;
use crate::error::Error;
use crate::simd::FloatControl;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pyo3::create_exception!(
    nnrs._core,
    FileFormatError,
    PyValueError,
    "A model file that is damaged, hostile or of another format."
);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Shape(message) | Error::Value(message) => PyValueError::new_err(message),
            Error::Type(message) => PyTypeError::new_err(message),
            Error::State(message) | Error::NonFinite(message) => PyRuntimeError::new_err(message),
        }
    }
}

/// Work below this (floating-point operations) is done with the interpreter held: letting go and taking it again would
/// cost more than others could gain.
const WORTH_DETACHING: f64 = 1e6;

/// Runs a computation that touches no Python object, without holding the interpreter if it is long.
///
/// # Errors
/// `MemoryError` if it needs more memory than there is.
fn compute<R>(py: Python<'_>, flops: f64, work: impl FnOnce() -> R) -> PyResult<R> {
    let guarded = || {
        // What is computed beside the passes follows the caller's rounding mode no more than they do.
        let _control = FloatControl::enter();
        catch_unwind(AssertUnwindSafe(work))
    };
    let outcome = if flops < WORTH_DETACHING {
        guarded()
    } else {
        struct Away<W>(W);
        // SAFETY: the closure runs on this same thread; `detach` wants `Send` only to keep Python's tokens out of it,
        // and the closures of this folder capture slices and networks alone.
        unsafe impl<W> Send for Away<W> {}
        impl<R, W: FnOnce() -> R> Away<W> {
            fn run(self) -> Away<R> {
                Away((self.0)())
            }
        }
        let away = Away(guarded);
        py.detach(move || away.run()).0
    };
    outcome.map_err(|payload| match payload.downcast::<OutOfMemory>() {
        Ok(short) => {
            PyMemoryError::new_err(format!("{} bytes of memory are not to be had", short.0))
        }
        Err(payload) => resume_unwind(payload),
    })
}

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("FileFormatError", m.py().get_type::<FileFormatError>())?;
    config::register(m)?;
    random::register(m)?;
    functional::register(m)?;
    file::register(m)?;
    m.add_class::<buffer::Buffer>()?;
    m.add_class::<loss::Loss>()?;
    m.add_class::<network::Network>()?;
    m.add_class::<optimizer::Optimizer>()?;
    m.add_class::<predictor::Predictor>()?;
    m.add_class::<session::Session>()?;
    Ok(())
}
