//! Random arrays addressed by (seed, purpose, step, layer).

use super::array::{Float, Number, with_float};
use super::config::isa_in_use;
use super::output::{Output, new_integers};
use crate::error::Error;
use crate::random::{self, Purpose, Stream};
use crate::simd::FloatControl;
use pyo3::prelude::*;

fn stream(seed: u64, purpose: &str, step: u64, layer: u32) -> PyResult<Stream> {
    Ok(Stream::new(seed, purpose.parse::<Purpose>()?, step, layer))
}

/// The product of a shape, if it is not absurd.
fn elements(shape: &[usize]) -> PyResult<usize> {
    let count = shape
        .iter()
        .try_fold(1usize, |count, &n| count.checked_mul(n));
    count
        .filter(|&n| n <= 1 << 40)
        .ok_or_else(|| Error::Value(format!("shape is {shape:?}; it has too many elements")).into())
}

/// Uniform numbers in [low, high).
#[pyfunction]
fn random_uniform<'py>(
    py: Python<'py>,
    seed: u64,
    purpose: &str,
    step: u64,
    layer: u32,
    shape: Vec<usize>,
    low: f64,
    high: f64,
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let stream = stream(seed, purpose, step, layer)?;
    elements(&shape)?;
    fn fill<'py, T: Number>(
        py: Python<'py>,
        stream: Stream,
        shape: &[usize],
        low: f64,
        high: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _control = FloatControl::enter();
        let mut out = Output::<T>::new(py, shape)?;
        random::uniform(stream, columns(shape), low, high, out.as_mut_slice())?;
        Ok(out.into_any())
    }
    with_float!(Float::parse(dtype)?, T => fill::<T>(py, stream, &shape, low, high))
}

/// Elements of a row: numbers are counted by (row, column).
fn columns(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1)
}

/// Normal numbers.
#[pyfunction]
fn random_normal<'py>(
    py: Python<'py>,
    seed: u64,
    purpose: &str,
    step: u64,
    layer: u32,
    shape: Vec<usize>,
    mean: f64,
    std: f64,
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let stream = stream(seed, purpose, step, layer)?;
    elements(&shape)?;
    fn fill<'py, T: Number>(
        py: Python<'py>,
        stream: Stream,
        shape: &[usize],
        mean: f64,
        std: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _control = FloatControl::enter();
        let mut out = Output::<T>::new(py, shape)?;
        random::normal(
            isa_in_use(),
            stream,
            columns(shape),
            mean,
            std,
            out.as_mut_slice(),
        )?;
        Ok(out.into_any())
    }
    with_float!(Float::parse(dtype)?, T => fill::<T>(py, stream, &shape, mean, std))
}

/// A matrix with orthonormal rows or columns, whichever are fewer.
#[pyfunction]
fn random_orthogonal<'py>(
    py: Python<'py>,
    seed: u64,
    layer: u32,
    shape: (usize, usize),
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let stream = Stream::new(seed, Purpose::Init, 0, layer);
    let shape = [shape.0, shape.1];
    elements(&shape)?;
    fn fill<'py, T: Number>(
        py: Python<'py>,
        stream: Stream,
        shape: [usize; 2],
    ) -> PyResult<Bound<'py, PyAny>> {
        let _control = FloatControl::enter();
        let mut out = Output::<T>::new(py, &shape)?;
        random::orthogonal(isa_in_use(), stream, shape[0], shape[1], out.as_mut_slice())?;
        Ok(out.into_any())
    }
    with_float!(Float::parse(dtype)?, T => fill::<T>(py, stream, shape))
}

/// The numbers 0..n in a random order.
#[pyfunction]
fn permutation<'py>(
    py: Python<'py>,
    seed: u64,
    purpose: &str,
    step: u64,
    n: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let order = random::permutation(isa_in_use(), stream(seed, purpose, step, 0)?, n)?;
    Ok(new_integers(py, order.into_iter().map(i64::from)))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(random_uniform, m)?)?;
    m.add_function(wrap_pyfunction!(random_normal, m)?)?;
    m.add_function(wrap_pyfunction!(random_orthogonal, m)?)?;
    m.add_function(wrap_pyfunction!(permutation, m)?)?;
    Ok(())
}
