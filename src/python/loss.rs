//! Losses of arrays, and what they are compared with.

use super::array::{
    Floats, Number, common_float, floats, integer_slice, integers, is_float_kind, shape_of,
    shape_text, with_float,
};
use super::compute;
use super::config::isa_in_use;
use super::output::Output;
use crate::error::Error;
use crate::loss::{self, Reduction, Targets, Value};
use numpy::PyUntypedArray;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A loss with its settings.
#[pyclass(frozen, module = "nnrs._core")]
pub struct Loss {
    pub loss: loss::Loss,
    kind: String,
}

/// Targets as the core takes them, kept alive.
pub enum Target<'py> {
    Classes(Bound<'py, PyUntypedArray>),
    Dense(Floats<'py>),
}

impl<'py> Target<'py> {
    /// Reads targets for `rows` rows of `outputs` outputs: class numbers where the loss takes them, else values.
    pub fn read<T: Number>(
        loss: &loss::Loss,
        rows: usize,
        outputs: usize,
        target: &Bound<'py, PyAny>,
    ) -> PyResult<Self> {
        if loss.takes_classes(outputs) {
            let float = is_float_kind(target)?;
            if !float {
                let classes = integers("target", target)?;
                if is_column(shape_of(&classes), rows) {
                    return Ok(Target::Classes(classes));
                }
            } else if target_axes(target)? < 2 {
                return Ok(Target::Classes(whole_numbers(target)?))
                    .and_then(|target| target.fits(rows, outputs));
            }
            if !loss.takes_dense(outputs) {
                let shape: Vec<usize> = target
                    .py()
                    .import("numpy")?
                    .call_method1("shape", (target,))?
                    .extract()?;
                return Err(Error::Shape(format!(
                    "target has shape {}; expected ({rows},) class numbers, one for each row of pred",
                    shape_text(&shape)
                ))
                .into());
            }
        }
        Target::Dense(floats("target", target, T::FLOAT)?).fits(rows, outputs)
    }

    /// # Errors
    /// A shape that does not go with the prediction's.
    fn fits(self, rows: usize, outputs: usize) -> PyResult<Self> {
        let shape = match &self {
            Target::Classes(array) => shape_of(array),
            Target::Dense(array) => array.shape(),
        };
        let classes = matches!(self, Target::Classes(_));
        let fits = if classes || outputs == 1 {
            is_column(shape, rows)
        } else {
            *shape == [rows, outputs]
        };
        if fits {
            return Ok(self);
        }
        let expected = if classes {
            format!("({rows},) class numbers")
        } else if outputs == 1 {
            format!("({rows},) or ({rows}, 1)")
        } else {
            format!("({rows}, {outputs})")
        };
        Err(Error::Shape(format!(
            "target has shape {}; expected {expected} to go with pred",
            shape_text(shape)
        ))
        .into())
    }
}

/// (rows,) or (rows, 1).
fn is_column(shape: &[usize], rows: usize) -> bool {
    *shape == [rows] || *shape == [rows, 1] || (rows == 1 && shape.is_empty())
}

fn target_axes(target: &Bound<'_, PyAny>) -> PyResult<usize> {
    target
        .py()
        .import("numpy")?
        .call_method1("ndim", (target,))?
        .extract()
}

/// Class numbers that came as floats.
fn whole_numbers<'py>(target: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let values = floats("target", target, super::array::Float::F64)?;
    let values64 = values.to_slice::<f64>()?;
    if let Some((row, value)) = values64
        .iter()
        .enumerate()
        .find(|(_, value)| value.fract() != 0.0 || value.abs() > 1e15)
    {
        return Err(PyValueError::new_err(format!(
            "target[{row}] is {value}; expected whole class numbers"
        )));
    }
    let array =
        super::output::new_integers(target.py(), values64.iter().map(|&value| value as i64));
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// Weights of rows as float64.
pub fn sample_weights(
    rows: usize,
    weights: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Vec<f64>>> {
    let Some(weights) = weights.filter(|weights| !weights.is_none()) else {
        return Ok(None);
    };
    let array = floats("sample_weight", weights, super::array::Float::F64)?;
    if !is_column(array.shape(), rows) {
        return Err(Error::Shape(format!(
            "sample_weight has shape {}; expected ({rows},), one weight for each row",
            shape_text(array.shape())
        ))
        .into());
    }
    Ok(Some(array.to_slice::<f64>()?.into_owned()))
}

/// A prediction and what it is compared with.
struct Compared<'py> {
    pred: Floats<'py>,
    target: Target<'py>,
    rows: usize,
    outputs: usize,
    weights: Option<Vec<f64>>,
}

impl<'py> Compared<'py> {
    fn read<T: Number>(
        loss: &loss::Loss,
        pred: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
        weights: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let pred = floats("pred", pred, T::FLOAT)?;
        let (rows, outputs) = match *pred.shape() {
            [rows, outputs] => (rows, outputs),
            // One row of class scores where the loss is of classes alone, else one output of many rows.
            [n] if loss.takes_classes(n) && !loss.takes_dense(1) => (1, n),
            [n] => (n, 1),
            ref shape => {
                return Err(Error::Shape(format!(
                    "pred has shape {}; expected (batch, outputs) or (batch,)",
                    shape_text(shape)
                ))
                .into());
            }
        };
        let target = Target::read::<T>(loss, rows, outputs, target)?;
        Ok(Self {
            pred,
            target,
            rows,
            outputs,
            weights: sample_weights(rows, weights)?,
        })
    }

    /// Calls `body` with plain slices, in a computation of its own.
    fn with<T: Number, R>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(&[T], Targets<'_, T>) -> crate::error::Result<R>,
    ) -> PyResult<R> {
        let pred = self.pred.to_slice::<T>()?;
        let dense;
        let targets = match &self.target {
            Target::Classes(array) => Targets::Classes(integer_slice(array)),
            Target::Dense(array) => {
                dense = array.to_slice::<T>()?;
                Targets::Dense(&dense)
            }
        };
        Ok(compute(py, self.flops(), || body(&pred, targets))??)
    }

    fn flops(&self) -> f64 {
        20.0 * (self.rows * self.outputs) as f64
    }
}

fn reduction_named(name: &str) -> PyResult<Reduction> {
    match name {
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        "none" => Ok(Reduction::None),
        _ => Err(PyValueError::new_err(format!(
            "reduction is {name:?}; expected \"mean\", \"sum\" or \"none\""
        ))),
    }
}

#[pymethods]
impl Loss {
    #[new]
    #[pyo3(signature = (kind, parameter = 0.0, class_weight = None, pos_weight = None))]
    fn new(
        kind: &str,
        parameter: f64,
        class_weight: Option<&Bound<'_, PyAny>>,
        pos_weight: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let vector = |name: &str, value: Option<&Bound<'_, PyAny>>| -> PyResult<Option<Vec<f64>>> {
            let Some(value) = value else { return Ok(None) };
            let array = floats(name, value, super::array::Float::F64)?;
            if array.shape().len() > 1 {
                return Err(Error::Shape(format!(
                    "{name} has shape {}; expected one axis",
                    shape_text(array.shape())
                ))
                .into());
            }
            Ok(Some(array.to_slice::<f64>()?.into_owned()))
        };
        let class_weight = vector("class_weight", class_weight)?;
        let pos_weight = vector("pos_weight", pos_weight)?;
        Ok(Self {
            loss: loss::Loss::new(kind, parameter, class_weight, pos_weight)?,
            kind: kind.into(),
        })
    }

    #[getter]
    fn kind(&self) -> &str {
        &self.kind
    }

    /// Refuses targets that it does not take for so many outputs, before anything is computed.
    fn check(&self, target: &Bound<'_, PyAny>, outputs: usize) -> PyResult<()> {
        let float = common_float(&[("target", Some(target))])?;
        with_float!(float, T => {
            match Target::read::<T>(&self.loss, target.len()?, outputs, target)? {
                Target::Classes(array) => {
                    self.loss.check_labels(outputs, integer_slice(&array), None)?;
                }
                Target::Dense(array) => {
                    self.loss.check_dense(outputs, &array.to_slice::<T>()?)?;
                }
            }
        });
        Ok(())
    }

    /// The loss: a number, or one for each row with reduction "none".
    #[pyo3(signature = (pred, target, sample_weight = None, reduction = "mean"))]
    fn value<'py>(
        &self,
        py: Python<'py>,
        pred: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        reduction: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reduction = reduction_named(reduction)?;
        let float = common_float(&[("pred", Some(pred)), ("target", Some(target))])?;
        with_float!(float, T => {
            let c = Compared::read::<T>(&self.loss, pred, target, sample_weight)?;
            let value = c.with::<T, _>(py, |pred, targets| {
                loss::value(isa_in_use(), &self.loss, c.rows, c.outputs, pred, targets, c.weights.as_deref(), reduction)
            })?;
            match value {
                Value::Scalar(value) => Ok(value.into_pyobject(py)?.into_any()),
                Value::Rows(rows) => {
                    let mut out = Output::<T>::new(py, &[rows.len()])?;
                    out.as_mut_slice().copy_from_slice(&rows);
                    Ok(out.into_any())
                }
            }
        })
    }

    /// The gradient of the loss with respect to pred (with reduction "none": of the sum).
    #[pyo3(signature = (pred, target, sample_weight = None, reduction = "mean"))]
    fn gradient<'py>(
        &self,
        py: Python<'py>,
        pred: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        reduction: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reduction = reduction_named(reduction)?;
        let float = common_float(&[("pred", Some(pred)), ("target", Some(target))])?;
        with_float!(float, T => {
            let c = Compared::read::<T>(&self.loss, pred, target, sample_weight)?;
            let mut out = Output::<T>::new(py, c.pred.shape())?;
            let slice = out.as_mut_slice();
            c.with::<T, _>(py, |pred, targets| {
                let weights = c.weights.as_deref();
                loss::gradient(isa_in_use(), &self.loss, c.rows, c.outputs, pred, targets, weights, reduction, slice)
            })?;
            Ok(out.into_any())
        })
    }

    /// The mean loss and its gradient.
    #[pyo3(signature = (pred, target, sample_weight = None))]
    fn value_and_grad<'py>(
        &self,
        py: Python<'py>,
        pred: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let float = common_float(&[("pred", Some(pred)), ("target", Some(target))])?;
        with_float!(float, T => {
            let c = Compared::read::<T>(&self.loss, pred, target, sample_weight)?;
            let mut out = Output::<T>::new(py, c.pred.shape())?;
            let slice = out.as_mut_slice();
            let value = c.with::<T, _>(py, |pred, targets| {
                let weights = c.weights.as_deref();
                loss::value_and_gradient(
                    isa_in_use(), &self.loss, c.rows, c.outputs, pred, targets, weights, Reduction::Mean, slice,
                )
            })?;
            let Value::Scalar(value) = value else { unreachable!("a mean is one number") };
            PyTuple::new(py, [value.into_pyobject(py)?.into_any(), out.into_any()])
        })
    }
}
