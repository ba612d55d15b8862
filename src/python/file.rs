//! Model files: arrays and strings in, arrays and strings out.

use super::FileFormatError;
use super::array::{Float, Number, float_of, floats, with_float};
use super::array::{integer_slice, integers, shape_of};
use super::output::Output;
use crate::error::Error;
use crate::file::{self, Content, FileError, Tensor, TensorType};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::collections::HashMap;
use std::path::PathBuf;

fn raise(path: &std::path::Path, error: FileError) -> PyErr {
    match error {
        FileError::Io(error) => {
            let raised: PyErr = std::io::Error::from(error.kind()).into();
            let code = error.raw_os_error();
            Python::attach(|py| {
                let message = error.to_string();
                let reason = message
                    .split(" (os error")
                    .next()
                    .unwrap_or_default()
                    .to_string();
                // OSError(number, reason, file name): the form in which Python's own functions raise it.
                match raised.get_type(py).call1((code.unwrap_or(0), reason, path)) {
                    Ok(value) => PyErr::from_value(value),
                    Err(_) => raised,
                }
            })
        }
        FileError::Format(message) => {
            FileFormatError::new_err(format!("{} is not a model file: {message}", path.display()))
        }
    }
}

/// An array's type, shape and little-endian bytes.
fn tensor_of(name: &str, array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    fn of<T: Number>(name: &str, array: &Bound<'_, PyAny>, dtype: TensorType) -> PyResult<Tensor> {
        let array = floats(name, array, T::FLOAT)?;
        let mut bytes = Vec::with_capacity(array.len() * size_of::<T>());
        for value in array.to_slice::<T>()?.iter() {
            // float64 represents every float32, so the way back is exact.
            match dtype {
                TensorType::F32 => bytes.extend((value.to_f64() as f32).to_le_bytes()),
                _ => bytes.extend(value.to_f64().to_le_bytes()),
            }
        }
        Ok(Tensor {
            dtype,
            shape: array.shape().to_vec(),
            bytes,
        })
    }
    match float_of(array) {
        Some(Float::F32) => of::<f32>(name, array, TensorType::F32),
        Some(Float::F64) => of::<f64>(name, array, TensorType::F64),
        None => {
            let array = integers(name, array)?;
            let bytes = integer_slice(&array)
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Ok(Tensor {
                dtype: TensorType::I64,
                shape: shape_of(&array).to_vec(),
                bytes,
            })
        }
    }
}

/// Writes arrays and strings to a safetensors file, whole or not at all.
#[pyfunction]
fn save_safetensors(
    py: Python<'_>,
    path: PathBuf,
    tensors: &Bound<'_, PyDict>,
    metadata: HashMap<String, String>,
) -> PyResult<()> {
    let mut content = Content {
        tensors: Vec::new(),
        metadata,
    };
    for (name, array) in tensors.iter() {
        let name: String = name.extract()?;
        let tensor = tensor_of(&name, &array)?;
        content.tensors.push((name, tensor));
    }
    py.detach(|| file::save(&path, &content))
        .map_err(|error| raise(&path, error))
}

/// Reads a safetensors file: (arrays by name, strings by name).
#[pyfunction]
fn load_safetensors(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyTuple>> {
    let content = py
        .detach(|| file::load(&path))
        .map_err(|error| raise(&path, error))?;
    let tensors = PyDict::new(py);
    for (name, tensor) in &content.tensors {
        tensors.set_item(name, array_of(py, tensor)?)?;
    }
    let metadata = PyDict::new(py);
    for (name, value) in &content.metadata {
        metadata.set_item(name, value)?;
    }
    PyTuple::new(py, [tensors.into_any(), metadata.into_any()])
}

fn array_of<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let float = match tensor.dtype {
        TensorType::I64 => {
            let values = tensor
                .bytes
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes")));
            let array = super::output::new_integers(py, values);
            return array.call_method1("reshape", (PyTuple::new(py, &tensor.shape)?,));
        }
        TensorType::F32 => Float::F32,
        TensorType::F64 => Float::F64,
    };
    fn fill<'py, T: Number>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
        let size = size_of::<T>();
        let mut out = Output::<T>::new(py, &tensor.shape)?;
        let slice = out.as_mut_slice();
        if size_of_val(slice) != tensor.bytes.len() {
            return Err(Error::Shape("a tensor's bytes do not fit its shape".into()).into());
        }
        for (out, bytes) in slice.iter_mut().zip(tensor.bytes.chunks_exact(size)) {
            *out = match bytes.try_into() {
                Ok(four) => T::from_f64(f64::from(f32::from_le_bytes(four))),
                Err(_) => T::from_f64(f64::from_le_bytes(bytes.try_into().expect("8 bytes"))),
            };
        }
        Ok(out.into_any())
    }
    with_float!(float, T => fill::<T>(py, tensor))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(save_safetensors, m)?)?;
    m.add_function(wrap_pyfunction!(load_safetensors, m)?)?;
    Ok(())
}
