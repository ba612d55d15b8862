//! Settings: instruction set, threads, precision.

use super::array::{Float, with_float};
use crate::gemm::caches;
use crate::peak;
use crate::pool;
use crate::simd::Isa;
use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

static ISA: OnceLock<Isa> = OnceLock::new();

/// The instruction set of this process: the best, or what `NNRS_ISA` names.
pub fn isa_in_use() -> Isa {
    *ISA.get_or_init(Isa::best)
}

/// # Errors
/// `NNRS_ISA` names an instruction set that is unknown or that this machine lacks.
fn choose_isa() -> PyResult<()> {
    if let Some(name) = std::env::var_os("NNRS_ISA").filter(|name| !name.is_empty()) {
        let isa = name
            .to_string_lossy()
            .parse::<Isa>()
            .map_err(|error| PyImportError::new_err(format!("NNRS_ISA: {error}")))?;
        let _ = ISA.set(isa);
    }
    Ok(())
}

const PRECISIONS: [&str; 3] = ["highest", "high", "medium"];
static PRECISION: AtomicU8 = AtomicU8::new(0);

/// # Errors
/// A name that is not one of the three.
pub fn check_precision(mode: &str) -> PyResult<u8> {
    PRECISIONS
        .iter()
        .position(|name| *name == mode)
        .map(|at| at as u8)
        .ok_or_else(|| {
            PyValueError::new_err(format!(
                "precision is {mode:?}; expected \"highest\", \"high\" or \"medium\""
            ))
        })
}

/// The instruction set in use.
#[pyfunction]
fn isa() -> &'static str {
    isa_in_use().name()
}

/// The instruction sets that this machine has, best first.
#[pyfunction]
fn available_isas() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

/// Bytes of the caches that a core sees.
#[pyfunction]
fn cache_sizes(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let caches = caches();
    let sizes = PyDict::new(py);
    for (name, bytes) in [("l1", caches.l1), ("l2", caches.l2), ("l3", caches.l3)] {
        sizes.set_item(name, bytes)?;
    }
    Ok(sizes)
}

fn check_threads(n: usize) -> PyResult<usize> {
    if n == 0 || n > pool::MOST_THREADS {
        return Err(PyValueError::new_err(format!(
            "n is {n}; expected 1 to {}",
            pool::MOST_THREADS
        )));
    }
    Ok(n)
}

/// Sets the number of threads of a call.
#[pyfunction]
fn set_num_threads(n: usize) -> PyResult<()> {
    pool::set_num_threads(check_threads(n)?);
    Ok(())
}

/// The number of threads that a large call from this thread would use.
#[pyfunction]
fn get_num_threads() -> usize {
    pool::num_threads()
}

/// Where the number of threads comes from.
#[pyfunction]
fn num_threads_source() -> &'static str {
    pool::num_threads_and_source().1
}

/// Sets the number of threads for the calling thread alone; None takes that back. Returns what was set before.
#[pyfunction]
#[pyo3(signature = (n))]
fn set_local_num_threads(n: Option<usize>) -> PyResult<Option<usize>> {
    let n = n.map(check_threads).transpose()?;
    let before = pool::set_local_num_threads(n.unwrap_or(0));
    Ok((before > 0).then_some(before))
}

/// The most threads that took part in one call since the last reset.
#[pyfunction]
fn parallel_threads_used() -> usize {
    pool::most_threads_used()
}

#[pyfunction]
fn reset_parallel_threads_used() {
    pool::reset_most_threads_used();
}

/// Sets the precision of float32 products.
#[pyfunction]
fn set_float32_matmul_precision(mode: &str) -> PyResult<()> {
    PRECISION.store(check_precision(mode)?, Ordering::Relaxed);
    Ok(())
}

#[pyfunction]
fn get_float32_matmul_precision() -> &'static str {
    PRECISIONS[PRECISION.load(Ordering::Relaxed) as usize]
}

/// Most seconds that a measurement may be asked to take.
const LONGEST: f64 = 60.0;

fn check_seconds(seconds: f64) -> PyResult<f64> {
    if (0.0..=LONGEST).contains(&seconds) {
        return Ok(seconds);
    }
    Err(PyValueError::new_err(format!(
        "seconds is {seconds}; expected 0 to {LONGEST}"
    )))
}

/// Floating-point operations a second of one core: independent fused multiply-adds in registers.
#[pyfunction]
#[pyo3(signature = (dtype, seconds = 0.05))]
fn fma_peak(py: Python<'_>, dtype: &str, seconds: f64) -> PyResult<f64> {
    let (float, seconds) = (Float::parse(dtype)?, check_seconds(seconds)?);
    Ok(py.detach(|| with_float!(float, T => peak::fma_peak::<T>(isa_in_use(), seconds))))
}

/// Bytes a second that one core reads, again and again, from a buffer of so many bytes.
#[pyfunction]
#[pyo3(signature = (bytes, seconds = 0.05))]
fn read_bandwidth(py: Python<'_>, bytes: usize, seconds: f64) -> PyResult<f64> {
    const MOST: usize = 1 << 34;
    if bytes == 0 || bytes > MOST {
        return Err(PyValueError::new_err(format!(
            "bytes is {bytes}; expected 1 to {MOST}"
        )));
    }
    let seconds = check_seconds(seconds)?;
    Ok(py.detach(|| peak::read_bandwidth(isa_in_use(), bytes, seconds)))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    choose_isa()?;
    m.add_function(wrap_pyfunction!(isa, m)?)?;
    m.add_function(wrap_pyfunction!(fma_peak, m)?)?;
    m.add_function(wrap_pyfunction!(read_bandwidth, m)?)?;
    m.add_function(wrap_pyfunction!(available_isas, m)?)?;
    m.add_function(wrap_pyfunction!(cache_sizes, m)?)?;
    m.add_function(wrap_pyfunction!(set_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(get_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(num_threads_source, m)?)?;
    m.add_function(wrap_pyfunction!(set_local_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(parallel_threads_used, m)?)?;
    m.add_function(wrap_pyfunction!(reset_parallel_threads_used, m)?)?;
    m.add_function(wrap_pyfunction!(set_float32_matmul_precision, m)?)?;
    m.add_function(wrap_pyfunction!(get_float32_matmul_precision, m)?)?;
    Ok(())
}
