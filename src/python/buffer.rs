//! One flat aligned buffer of which NumPy arrays are views.

use super::array::Float;
use super::compute;
use super::output::view;
use crate::buffer::Flat;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone)]
pub enum AnyFlat {
    F32(Arc<Flat<f32>>),
    F64(Arc<Flat<f64>>),
}

/// A zeroed buffer of float32 or float64.
#[pyclass(frozen, module = "nnrs._core")]
pub struct Buffer {
    pub flat: AnyFlat,
}

/// More elements than this are a slip (or a hostile file): 2⁴⁰.
const MOST: usize = 1 << 40;

#[pymethods]
impl Buffer {
    #[new]
    fn new(py: Python<'_>, dtype: &str, length: usize) -> PyResult<Self> {
        if length > MOST {
            return Err(PyValueError::new_err(format!(
                "length is {length}; a buffer has at most {MOST} elements"
            )));
        }
        // Buffers made one after the other are read side by side: each starts on another line.
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let stagger = 3 * (MADE.fetch_add(1, Ordering::Relaxed) % 5);
        Ok(Self {
            flat: match Float::parse(dtype)? {
                Float::F32 => {
                    AnyFlat::F32(Arc::new(compute(py, 0.0, || Flat::zeros(length, stagger))?))
                }
                Float::F64 => {
                    AnyFlat::F64(Arc::new(compute(py, 0.0, || Flat::zeros(length, stagger))?))
                }
            },
        })
    }

    /// The whole buffer as a writable array that keeps it alive.
    fn array<'py>(this: &Bound<'py, Self>) -> Bound<'py, PyAny> {
        let owner = this.clone().into_any();
        // SAFETY: the array refers to this object, which owns the buffer.
        unsafe {
            match &this.get().flat {
                AnyFlat::F32(flat) => view(owner, flat.as_mut_pointer(), flat.len()),
                AnyFlat::F64(flat) => view(owner, flat.as_mut_pointer(), flat.len()),
            }
        }
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        match self.flat {
            AnyFlat::F32(_) => "float32",
            AnyFlat::F64(_) => "float64",
        }
    }

    fn __len__(&self) -> usize {
        match &self.flat {
            AnyFlat::F32(flat) => flat.len(),
            AnyFlat::F64(flat) => flat.len(),
        }
    }
}
