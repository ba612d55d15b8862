//! A frozen network that Python calls.

use super::array::{Float, Number, floats};
use super::compute;
use super::config::{check_precision, isa_in_use};
use super::network::{AnyNetwork, Network};
use super::output::Output;
use crate::predictor;
use pyo3::prelude::*;
use std::sync::Arc;

pub enum AnyPredictor {
    F32(predictor::Predictor<f32>),
    F64(predictor::Predictor<f64>),
}

/// An immutable copy of a network with packed weights; `predictor(x)` evaluates it.
#[pyclass(frozen, subclass, module = "nnrs._core")]
pub struct Predictor {
    any: Arc<AnyPredictor>,
}

#[pymethods]
impl Predictor {
    /// Freezes a network as it is now. `precision` names the matmul precision, `num_threads` caps a call's threads.
    #[new]
    #[pyo3(signature = (network, precision = "highest", num_threads = None))]
    fn new(network: &Network, precision: &str, num_threads: Option<usize>) -> PyResult<Self> {
        check_precision(precision)?;
        let isa = isa_in_use();
        let any = match &network.any {
            AnyNetwork::F32(network) => {
                AnyPredictor::F32(predictor::Predictor::new(network, isa, num_threads))
            }
            AnyNetwork::F64(network) => {
                AnyPredictor::F64(predictor::Predictor::new(network, isa, num_threads))
            }
        };
        Ok(Self { any: Arc::new(any) })
    }

    #[pyo3(signature = (x, out = None))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match &*self.any {
            AnyPredictor::F32(predictor) => predict(py, predictor, x, out),
            AnyPredictor::F64(predictor) => predict(py, predictor, x, out),
        }
    }

    #[getter]
    fn in_features(&self) -> usize {
        match &*self.any {
            AnyPredictor::F32(predictor) => predictor.inputs,
            AnyPredictor::F64(predictor) => predictor.inputs,
        }
    }

    #[getter]
    fn out_features(&self) -> usize {
        match &*self.any {
            AnyPredictor::F32(predictor) => predictor.outputs,
            AnyPredictor::F64(predictor) => predictor.outputs,
        }
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        match &*self.any {
            AnyPredictor::F32(_) => Float::F32.name(),
            AnyPredictor::F64(_) => Float::F64.name(),
        }
    }
}

fn predict<'py, T: Number>(
    py: Python<'py>,
    predictor: &predictor::Predictor<T>,
    x: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let x = floats("x", x, T::FLOAT)?;
    let rows = x.as_rows::<T>("x", predictor.inputs, "the predictor")?;
    let shape = [rows.rows, predictor.outputs];
    let mut out = Output::<T>::checked(py, out, &shape[usize::from(rows.single)..], &[("x", &x)])?;
    let flops = predictor.flops() * rows.rows as f64;
    let slice = out.as_mut_slice();
    // SAFETY: the rows are kept alive by `x`; `out` shares no memory with them.
    compute(py, flops, || unsafe {
        predictor.predict(rows.source, rows.rows, slice)
    })?;
    Ok(out.into_any())
}
