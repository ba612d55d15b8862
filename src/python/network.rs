//! A compiled network that Python runs forward and backward.

use super::array::{Float, Number, float_of, floats};
use super::buffer::{AnyFlat, Buffer};
use super::compute;
use super::config::isa_in_use;
use super::output::Output;
use crate::activation::Activation;
use crate::error::Error;
use crate::network::{self, Linear, Rowwise, Stage};
use crate::simd::Element;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::Arc;

#[derive(Clone)]
pub enum AnyNetwork {
    F32(Arc<network::Network<f32>>),
    F64(Arc<network::Network<f64>>),
}

/// A list of stages compiled over a parameter and a gradient buffer.
#[pyclass(frozen, module = "nnrs._core")]
pub struct Network {
    pub any: AnyNetwork,
}

/// One stage from its tuple; the first entry names it.
fn stage_of<T: Number>(stage: &Bound<'_, PyTuple>) -> PyResult<Stage<T>> {
    let name: String = stage.get_item(0)?.extract()?;
    let offset = |at: usize| -> PyResult<Option<usize>> {
        let offset: isize = stage.get_item(at)?.extract()?;
        Ok(usize::try_from(offset).ok())
    };
    let vector = |at: usize, name: &str| -> PyResult<Vec<T>> {
        let array = floats(name, &stage.get_item(at)?, T::FLOAT)?;
        Ok(array.to_slice::<T>()?.into_owned())
    };
    Ok(match name.as_str() {
        "scale" => Stage::Scale {
            shift: vector(1, "shift")?,
            factor: vector(2, "factor")?,
        },
        "linear" => Stage::Linear(Linear {
            inputs: stage.get_item(1)?.extract()?,
            outputs: stage.get_item(2)?.extract()?,
            weight: stage.get_item(3)?.extract()?,
            bias: offset(4)?,
            train_weight: stage.get_item(5)?.extract()?,
            train_bias: stage.get_item(6)?.extract()?,
        }),
        "activation" => {
            let name: String = stage.get_item(1)?.extract()?;
            let activation = Activation::parse(&name, stage.get_item(2)?.extract()?);
            Stage::Activation(
                activation.ok_or_else(|| {
                    PyValueError::new_err(format!("activation {name:?} is unknown"))
                })?,
            )
        }
        "softmax" => Stage::Rowwise(Rowwise::Softmax),
        "log_softmax" => Stage::Rowwise(Rowwise::LogSoftmax),
        "dropout" => Stage::Dropout {
            p: stage.get_item(1)?.extract()?,
            layer: stage.get_item(2)?.extract()?,
        },
        _ => return Err(PyValueError::new_err(format!("stage {name:?} is unknown"))),
    })
}

fn compile<T: Number>(
    inputs: usize,
    stages: &[Bound<'_, PyTuple>],
    parameters: &Arc<crate::buffer::Flat<T>>,
    gradients: &Arc<crate::buffer::Flat<T>>,
) -> PyResult<Arc<network::Network<T>>> {
    let stages = stages.iter().map(stage_of).collect::<PyResult<Vec<_>>>()?;
    Ok(Arc::new(network::Network::new(
        inputs,
        stages,
        parameters.clone(),
        gradients.clone(),
    )?))
}

#[pymethods]
impl Network {
    #[new]
    fn new(
        dtype: &str,
        in_features: usize,
        stages: Vec<Bound<'_, PyTuple>>,
        parameters: &Buffer,
        gradients: &Buffer,
    ) -> PyResult<Self> {
        let any = match (Float::parse(dtype)?, &parameters.flat, &gradients.flat) {
            (Float::F32, AnyFlat::F32(p), AnyFlat::F32(g)) => {
                AnyNetwork::F32(compile(in_features, &stages, p, g)?)
            }
            (Float::F64, AnyFlat::F64(p), AnyFlat::F64(g)) => {
                AnyNetwork::F64(compile(in_features, &stages, p, g)?)
            }
            _ => {
                return Err(PyTypeError::new_err(format!(
                    "the buffers are not of dtype {dtype}"
                )));
            }
        };
        Ok(Self { any })
    }

    #[getter]
    fn in_features(&self) -> usize {
        match &self.any {
            AnyNetwork::F32(network) => network.inputs,
            AnyNetwork::F64(network) => network.inputs,
        }
    }

    #[getter]
    fn out_features(&self) -> usize {
        match &self.any {
            AnyNetwork::F32(network) => network.outputs,
            AnyNetwork::F64(network) => network.outputs,
        }
    }

    /// The network in evaluation mode.
    #[pyo3(signature = (x, out = None))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match &self.any {
            AnyNetwork::F32(network) => predict(py, network, x, out),
            AnyNetwork::F64(network) => predict(py, network, x, out),
        }
    }

    /// The network in training mode; keeps what `backward` needs.
    #[pyo3(signature = (x, seed = 0, step = 0))]
    fn forward<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        seed: u64,
        step: u64,
    ) -> PyResult<Bound<'py, PyAny>> {
        match &self.any {
            AnyNetwork::F32(network) => forward(py, network, x, seed, step),
            AnyNetwork::F64(network) => forward(py, network, x, seed, step),
        }
    }

    /// Adds the parameters' gradients to their buffer; returns the input's.
    #[pyo3(signature = (dout, need_dx = true))]
    fn backward<'py>(
        &self,
        py: Python<'py>,
        dout: &Bound<'py, PyAny>,
        need_dx: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.any {
            AnyNetwork::F32(network) => backward(py, network, dout, need_dx),
            AnyNetwork::F64(network) => backward(py, network, dout, need_dx),
        }
    }

    /// Drops what `forward` kept.
    fn forget(&self) -> PyResult<()> {
        match &self.any {
            AnyNetwork::F32(network) => network.forget()?,
            AnyNetwork::F64(network) => network.forget()?,
        }
        Ok(())
    }
}

fn needs<T: Element>(network: &network::Network<T>) -> String {
    format!(
        "the model, whose first layer has {} inputs,",
        network.inputs
    )
}

fn predict<'py, T: Number>(
    py: Python<'py>,
    network: &network::Network<T>,
    x: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let x = floats("x", x, T::FLOAT)?;
    let rows = x.as_rows::<T>("x", network.inputs, "the model")?;
    let shape = [rows.rows, network.outputs];
    let mut out = Output::<T>::checked(py, out, &shape[usize::from(rows.single)..], &[("x", &x)])?;
    let slice = out.as_mut_slice();
    compute(py, network.flops() * rows.rows as f64, || {
        // SAFETY: the rows are kept alive by `x`; `out` shares no memory with them.
        unsafe { network.predict(isa_in_use(), rows.source, rows.rows, slice) }
    })?;
    Ok(out.into_any())
}

fn forward<'py, T: Number>(
    py: Python<'py>,
    network: &network::Network<T>,
    x: &Bound<'py, PyAny>,
    seed: u64,
    step: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let x = floats("x", x, T::FLOAT)?;
    let rows = x.as_rows::<T>("x", network.inputs, &needs(network))?;
    let shape = [rows.rows, network.outputs];
    let mut out = Output::<T>::new(py, &shape[usize::from(rows.single)..])?;
    let slice = out.as_mut_slice();
    compute(py, network.flops() * rows.rows as f64, || {
        // SAFETY: the rows are kept alive by `x`.
        unsafe { network.forward(isa_in_use(), rows.source, rows.rows, seed, step, slice) }
    })??;
    Ok(out.into_any())
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    network: &network::Network<T>,
    dout: &Bound<'py, PyAny>,
    need_dx: bool,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if float_of(dout).is_some_and(|float| float != T::FLOAT) {
        return Err(Error::Type(format!(
            "dout has another dtype than the model's {}",
            T::NAME
        ))
        .into());
    }
    let dout = floats("dout", dout, T::FLOAT)?;
    let rows = dout.as_rows::<T>("dout", network.outputs, "the output of the last forward")?;
    let shape = [rows.rows, network.inputs];
    let mut dx = need_dx
        .then(|| Output::<T>::new(py, &shape[usize::from(rows.single)..]))
        .transpose()?;
    let slice = dx.as_mut().map(Output::as_mut_slice);
    compute(py, 2.0 * network.flops() * rows.rows as f64, || {
        // SAFETY: the rows are kept alive by `dout`.
        unsafe { network.backward(isa_in_use(), rows.source, rows.rows, slice) }
    })??;
    Ok(dx.map(Output::into_any))
}
