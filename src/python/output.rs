//! NumPy arrays as results: new ones, the caller's `out`, and views of the core's memory.

use super::array::{Floats, Number, header, shape_text};
use numpy::npyffi::{self, NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE, PY_ARRAY_API};
use numpy::{PyArray1, PyArrayDescrMethods, PyUntypedArray};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::ffi::c_int;

/// NumPy's own limit.
const MOST_AXES: usize = 64;

/// A result to be: new, or the caller's `out`.
pub struct Output<'py, T: Number> {
    array: Bound<'py, PyUntypedArray>,
    kind: std::marker::PhantomData<T>,
}

impl<'py, T: Number> Output<'py, T> {
    /// # Errors
    /// `MemoryError`, as NumPy raises it.
    pub fn new(py: Python<'py>, shape: &[usize]) -> PyResult<Self> {
        let mut dims = [0; MOST_AXES];
        let Some(dims) = dims.get_mut(..shape.len()) else {
            return Err(PyValueError::new_err(format!(
                "a result cannot have {} axes",
                shape.len()
            )));
        };
        for (dim, &n) in dims.iter_mut().zip(shape) {
            *dim = n as npyffi::npy_intp;
        }
        // SAFETY: a new C-contiguous array; every element is written before Python sees it. A null pointer comes with
        // the error that NumPy has set.
        let array = unsafe {
            let array = PY_ARRAY_API.PyArray_NewFromDescr(
                py,
                npyffi::get_type_object(py, npyffi::NpyTypes::PyArray_Type),
                numpy::dtype::<T>(py).into_dtype_ptr(),
                dims.len() as c_int,
                dims.as_mut_ptr(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                0,
                std::ptr::null_mut(),
            );
            Bound::from_owned_ptr_or_err(py, array)?
        };
        Ok(Self {
            array: array.cast_into().expect("an array"),
            kind: std::marker::PhantomData,
        })
    }

    /// The caller's array, if it can take the result and shares no memory with an input.
    pub fn checked(
        py: Python<'py>,
        out: Option<&Bound<'py, PyAny>>,
        shape: &[usize],
        inputs: &[(&str, &Floats<'py>)],
    ) -> PyResult<Self> {
        let Some(out) = out else {
            return Self::new(py, shape);
        };
        let Ok(array) = out.cast::<PyUntypedArray>() else {
            let kind: String = out.get_type().name()?.extract()?;
            return Err(PyTypeError::new_err(format!(
                "out is a {kind}; expected a NumPy array of {}",
                T::NAME
            )));
        };
        let header = header(array);
        let problem = if header.float() != Some(T::FLOAT) {
            let has: String = out.getattr("dtype")?.str()?.extract()?;
            return Err(PyTypeError::new_err(format!(
                "out has dtype {has}; expected {}",
                T::NAME
            )));
        } else if header.shape != shape {
            format!(
                "out has shape {}; expected {}",
                shape_text(header.shape),
                shape_text(shape)
            )
        } else if header.flags & NPY_ARRAY_WRITEABLE == 0 {
            "out is read-only; expected a writeable array".into()
        } else if !header.contiguous() || header.flags & NPY_ARRAY_ALIGNED == 0 {
            "out is not C-contiguous; expected an array whose elements lie side by side".into()
        } else {
            let extent = header.extent(size_of::<T>());
            let overlaps = |other: &Floats<'_>| {
                let other = self::header(&other.array).extent(size_of::<T>());
                extent.start < other.end && other.start < extent.end
            };
            match inputs.iter().find(|(_, input)| overlaps(input)) {
                Some((name, _)) => {
                    format!("out shares memory with {name}; expected an array of its own")
                }
                None => {
                    return Ok(Self {
                        array: array.clone(),
                        kind: std::marker::PhantomData,
                    });
                }
            }
        };
        Err(PyValueError::new_err(problem))
    }

    /// The elements, contiguous.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        let header = header(&self.array);
        let len: usize = header.shape.iter().product();
        if len == 0 {
            return &mut [];
        }
        // SAFETY: contiguous, aligned, of this type, and either new or checked to overlap no input; a new array's
        // bytes, whatever they are, are numbers.
        unsafe { std::slice::from_raw_parts_mut(header.data.cast(), len) }
    }

    pub fn into_any(self) -> Bound<'py, PyAny> {
        self.array.into_any()
    }
}

/// A NumPy view of memory that `owner` keeps alive.
///
/// # Safety
/// `len` elements at `start` stay valid as long as `owner` lives.
pub unsafe fn view<'py, T: Number>(
    owner: Bound<'py, PyAny>,
    start: *mut T,
    len: usize,
) -> Bound<'py, PyAny> {
    let py = owner.py();
    let mut dims = [len as npyffi::npy_intp];
    // SAFETY: one axis of `len` contiguous elements; the array takes over a reference to its owner.
    unsafe {
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            npyffi::get_type_object(py, npyffi::NpyTypes::PyArray_Type),
            numpy::dtype::<T>(py).into_dtype_ptr(),
            1,
            dims.as_mut_ptr(),
            std::ptr::null_mut(),
            start.cast(),
            NPY_ARRAY_WRITEABLE,
            std::ptr::null_mut(),
        );
        PY_ARRAY_API.PyArray_SetBaseObject(py, array.cast(), owner.into_ptr());
        Bound::from_owned_ptr(py, array)
    }
}

/// A new int64 array.
pub fn new_integers<'py>(
    py: Python<'py>,
    values: impl ExactSizeIterator<Item = i64>,
) -> Bound<'py, PyAny> {
    PyArray1::from_iter(py, values).into_any()
}
