//! An optimiser that Python sets and steps.

use super::buffer::{AnyFlat, Buffer};
use super::compute;
use super::config::isa_in_use;
use super::output::view;
use crate::error::Error;
use crate::optim::{Group, Kind, Segment, State};
use numpy::{PyArray2, PyReadonlyArray2};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Arc, Mutex, MutexGuard};

pub enum AnyState {
    F32(State<f32>),
    F64(State<f64>),
}

/// Calls a method of the state, whatever its element type.
macro_rules! each_state {
    ($any:expr, $state:ident => $body:expr) => {
        match $any {
            AnyState::F32($state) => $body,
            AnyState::F64($state) => $body,
        }
    };
}

/// Rules and state of an optimisation over one flat buffer.
#[pyclass(frozen, module = "nnrs._core")]
pub struct Optimizer {
    pub state: Arc<Mutex<AnyState>>,
}

/// Reads a group's settings over what it has.
fn group_of(mut group: Group, values: &Bound<'_, PyDict>) -> PyResult<Group> {
    for (name, value) in values.iter() {
        let name: String = name.extract()?;
        let number = || {
            value.extract::<f64>().map_err(|_| {
                let kind = value
                    .get_type()
                    .name()
                    .map_or_else(|_| "?".into(), |name| name.to_string());
                PyTypeError::new_err(format!("{name} is a {kind}; expected a number"))
            })
        };
        match name.as_str() {
            "lr" => group.lr = number()?,
            "weight_decay" => group.weight_decay = number()?,
            "momentum" => group.momentum = number()?,
            "dampening" => group.dampening = number()?,
            "beta1" => group.beta1 = number()?,
            "beta2" => group.beta2 = number()?,
            "eps" => group.eps = number()?,
            "nesterov" => group.nesterov = value.is_truthy()?,
            "amsgrad" => group.amsgrad = value.is_truthy()?,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "{name:?} is not a setting of an optimiser"
                )));
            }
        }
    }
    Ok(group)
}

impl Optimizer {
    pub fn lock(&self) -> PyResult<MutexGuard<'_, AnyState>> {
        self.state
            .try_lock()
            .map_err(|_| PyRuntimeError::new_err("busy: another thread trains with this optimiser"))
    }
}

#[pymethods]
impl Optimizer {
    #[new]
    fn new(
        py: Python<'_>,
        kind: &str,
        parameters: &Buffer,
        gradients: &Buffer,
        segments: Vec<(usize, usize, usize)>,
        groups: Vec<Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let kind: Kind = kind.parse()?;
        let segments: Vec<_> = segments
            .into_iter()
            .map(|(offset, length, group)| Segment {
                offset,
                length,
                group,
            })
            .collect();
        let groups = groups
            .iter()
            .map(|group| group_of(Group::new(1e-3), group))
            .collect::<PyResult<Vec<_>>>()?;
        let state = match (&parameters.flat, &gradients.flat) {
            (AnyFlat::F32(p), AnyFlat::F32(g)) => AnyState::F32(compute(py, 0.0, || {
                State::new(kind, p.clone(), g.clone(), &segments, &groups)
            })??),
            (AnyFlat::F64(p), AnyFlat::F64(g)) => AnyState::F64(compute(py, 0.0, || {
                State::new(kind, p.clone(), g.clone(), &segments, &groups)
            })??),
            _ => {
                return Err(
                    Error::Type("parameters and gradients have different dtypes".into()).into(),
                );
            }
        };
        Ok(Self {
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// Changes settings of a group from the next step on.
    fn set_group(&self, group: usize, values: &Bound<'_, PyDict>) -> PyResult<()> {
        each_state!(&mut *self.lock()?, state => {
            let groups = state.rules.groups();
            let Some(old) = groups.get(group).copied() else {
                return Err(PyValueError::new_err(format!("group is {group}; there are {}", groups.len())));
            };
            state.set_group(group, group_of(old, values)?)?;
        });
        Ok(())
    }

    /// One step from the gradient as it lies in its buffer.
    fn step(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.lock()?;
        each_state!(&mut *state, state => {
            let flops = 30.0 * state.rules.segments().iter().map(|s| s.length as f64).sum::<f64>();
            compute(py, flops, || state.step(isa_in_use()))?;
        });
        Ok(())
    }

    #[getter]
    fn get_step_count(&self) -> PyResult<u64> {
        Ok(each_state!(&*self.lock()?, state => state.rules.step_count()))
    }

    #[setter]
    fn set_step_count(&self, count: u64) -> PyResult<()> {
        each_state!(&mut *self.lock()?, state => state.rules.set_step_count(count));
        Ok(())
    }

    /// The names of the state arrays in use, torch's.
    fn state_names(&self) -> PyResult<Vec<&'static str>> {
        Ok(each_state!(&*self.lock()?, state => state.rules.slot_names().to_vec()))
    }

    /// A state array: a flat writable view, laid out as the parameters.
    fn state<'py>(this: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let state = this.get().lock()?;
        let flat = match &*state {
            AnyState::F32(state) => state.slot(name).map(|flat| AnyFlat::F32(flat.clone())),
            AnyState::F64(state) => state.slot(name).map(|flat| AnyFlat::F64(flat.clone())),
        };
        let Some(flat) = flat else {
            return Err(PyValueError::new_err(format!(
                "{name:?} is not a state of this optimiser"
            )));
        };
        let owner = Bound::new(this.py(), Buffer { flat: flat.clone() })?.into_any();
        // SAFETY: the array refers to a buffer object that shares the ownership of the memory.
        Ok(unsafe {
            match flat {
                AnyFlat::F32(flat) => view(owner, flat.as_mut_pointer(), flat.len()),
                AnyFlat::F64(flat) => view(owner, flat.as_mut_pointer(), flat.len()),
            }
        })
    }

    /// The running powers of the betas, (groups, 2).
    fn powers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let powers: Vec<Vec<f64>> = each_state!(&*self.lock()?, state => state.rules.powers().iter().map(|p| p.to_vec()).collect());
        if powers.is_empty() {
            return Ok(PyArray2::zeros(py, [0, 2], false));
        }
        Ok(PyArray2::from_vec2(py, &powers)?)
    }

    fn set_powers(&self, values: PyReadonlyArray2<'_, f64>) -> PyResult<()> {
        let view = values.as_array();
        if view.ncols() != 2 {
            return Err(PyValueError::new_err(format!(
                "values has {} columns; expected 2",
                view.ncols()
            )));
        }
        let powers: Vec<[f64; 2]> = view
            .rows()
            .into_iter()
            .map(|row| [row[0], row[1]])
            .collect();
        if powers
            .iter()
            .flatten()
            .any(|power| !(0.0..=1.0).contains(power))
        {
            return Err(PyValueError::new_err("values must lie in [0, 1]"));
        }
        each_state!(&mut *self.lock()?, state => state.rules.set_powers(&powers)?);
        Ok(())
    }
}
