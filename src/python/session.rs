//! Training that Python drives: one call a step, or one an epoch.

use super::array::{Number, floats, integer_slice, integers};
use super::compute;
use super::config::isa_in_use;
use super::loss::{Loss, Target, sample_weights};
use super::network::{AnyNetwork, Network};
use super::optimizer::{AnyState, Optimizer};
use crate::error::Error;
use crate::network::{self, Batch, Options, Plan, Targets};
use crate::optim::State;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

enum AnySession {
    F32(network::Session<f32>),
    F64(network::Session<f64>),
}

/// One training run over a network.
#[pyclass(frozen, module = "nnrs._core")]
pub struct Session {
    session: Mutex<AnySession>,
    optimizer: Arc<Mutex<AnyState>>,
}

/// How often an epoch's progress is told.
const TELL_AFTER: Duration = Duration::from_millis(50);

/// The two halves of a run, of one element type.
macro_rules! each_session {
    ($session:expr, $state:expr, ($s:ident, $o:ident) => $body:expr) => {
        match (&mut *$session, &mut *$state) {
            (AnySession::F32($s), AnyState::F32($o)) => $body,
            (AnySession::F64($s), AnyState::F64($o)) => $body,
            _ => unreachable!("checked when the session was made"),
        }
    };
}

/// An error of an epoch: the core's, or Python's.
enum Stopped {
    Core(Error),
    Python(PyErr),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Core(error)
    }
}

impl From<Stopped> for PyErr {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Core(error) => error.into(),
            Stopped::Python(error) => error,
        }
    }
}

impl Session {
    fn lock(&self) -> PyResult<(MutexGuard<'_, AnySession>, MutexGuard<'_, AnyState>)> {
        let busy = || Error::State("busy: another thread is training this model".into());
        Ok((
            self.session.try_lock().map_err(|_| busy())?,
            self.optimizer.try_lock().map_err(|_| busy())?,
        ))
    }

    fn lock_session(&self) -> PyResult<MutexGuard<'_, AnySession>> {
        let busy = || Error::State("busy: another thread is training this model".into());
        Ok(self.session.try_lock().map_err(|_| busy())?)
    }
}

/// Arguments of a step, read and checked; `body` gets them as a batch.
fn with_batch<T: Number, R>(
    session: &network::Session<T>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    sample_weight: Option<&Bound<'_, PyAny>>,
    body: impl FnOnce(&Batch<'_, T>) -> PyResult<R>,
) -> PyResult<R> {
    let (inputs, outputs) = (session.network().inputs, session.network().outputs);
    let x = floats("x", x, T::FLOAT)?;
    let rows = x.as_rows::<T>("x", inputs, "the model")?;
    let target = Target::read::<T>(session.loss(), rows.rows, outputs, y)?;
    let weights = sample_weights(rows.rows, sample_weight)?;
    let targets = match &target {
        Target::Classes(array) => Targets::Classes(integer_slice(array)),
        Target::Dense(array) => {
            session
                .loss()
                .check_dense(outputs, &array.to_slice::<T>()?)?;
            Targets::Dense(array.as_columns::<T>(outputs))
        }
    };
    body(&Batch {
        x: rows.source,
        targets,
        sample_weight: weights.as_deref(),
        rows: rows.rows,
        picks: None,
        upcoming: &[],
    })
}

fn step<T: Number>(
    py: Python<'_>,
    session: &mut network::Session<T>,
    state: &mut State<T>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    sample_weight: Option<&Bound<'_, PyAny>>,
) -> PyResult<f64> {
    // The closure below borrows the session mutably, so what reading the arguments needs of it is borrowed apart.
    let reader: *const network::Session<T> = session;
    // SAFETY: reading looks at the network and the loss alone, which a step does not change.
    with_batch(unsafe { &*reader }, x, y, sample_weight, |batch| {
        let flops = session.flops(batch.rows);
        // SAFETY: the arrays are kept alive by the arguments.
        Ok(compute(py, flops, || unsafe {
            session.train(isa_in_use(), state, batch)
        })??)
    })
}

fn gradients<T: Number>(
    py: Python<'_>,
    session: &mut network::Session<T>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    sample_weight: Option<&Bound<'_, PyAny>>,
    first_row: usize,
    total_weight: Option<f64>,
) -> PyResult<f64> {
    let reader: *const network::Session<T> = session;
    // SAFETY: as in `step`.
    with_batch(unsafe { &*reader }, x, y, sample_weight, |batch| {
        let flops = session.flops(batch.rows);
        // SAFETY: the arrays are kept alive by the arguments.
        Ok(compute(py, flops, || unsafe {
            session.gradients(isa_in_use(), batch, first_row, total_weight)
        })??)
    })
}

fn epoch<T: Number>(
    py: Python<'_>,
    session: &mut network::Session<T>,
    state: &mut State<T>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    sample_weight: Option<&Bound<'_, PyAny>>,
    plan: &Plan<'_>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<(f64, f64)> {
    let reader: *const network::Session<T> = session;
    // SAFETY: as in `step`.
    with_batch(unsafe { &*reader }, x, y, sample_weight, |batch| {
        let progress = progress.map(|progress| progress.clone().unbind());
        let mut told = Instant::now();
        let look = |rows: usize, mean: f64| {
            Python::attach(|py| {
                py.check_signals().map_err(Stopped::Python)?;
                if let Some(progress) = &progress
                    && told.elapsed() >= TELL_AFTER
                {
                    progress.call1(py, (rows, mean)).map_err(Stopped::Python)?;
                    told = Instant::now();
                }
                Ok::<(), Stopped>(())
            })
        };
        let flops = session.flops(plan.stop.min(batch.rows));
        // SAFETY: the arrays are kept alive by the arguments.
        Ok(compute(py, flops, || unsafe {
            session.epoch(isa_in_use(), state, batch, plan, look)
        })??)
    })
}

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (network, loss, optimizer, seed, clip_grad_norm = None, clip_grad_value = None, keep_grad = false))]
    fn new(
        network: &Network,
        loss: &Loss,
        optimizer: &Optimizer,
        seed: u64,
        clip_grad_norm: Option<f64>,
        clip_grad_value: Option<f64>,
        keep_grad: bool,
    ) -> PyResult<Self> {
        let options = Options {
            clip_norm: clip_grad_norm,
            clip_value: clip_grad_value,
            keep_grad,
        };
        let foreign =
            || PyValueError::new_err("the optimizer is not over the parameters of this model");
        let state = optimizer.lock()?;
        let session = match (&network.any, &*state) {
            (AnyNetwork::F32(network), AnyState::F32(state)) => {
                if !network.is_trained_by(state) {
                    return Err(foreign());
                }
                AnySession::F32(network::Session::new(
                    network.clone(),
                    loss.loss.clone(),
                    options,
                    seed,
                )?)
            }
            (AnyNetwork::F64(network), AnyState::F64(state)) => {
                if !network.is_trained_by(state) {
                    return Err(foreign());
                }
                AnySession::F64(network::Session::new(
                    network.clone(),
                    loss.loss.clone(),
                    options,
                    seed,
                )?)
            }
            _ => return Err(foreign()),
        };
        drop(state);
        Ok(Self {
            session: Mutex::new(session),
            optimizer: optimizer.state.clone(),
        })
    }

    #[getter]
    fn get_global_step(&self) -> PyResult<u64> {
        Ok(match &*self.lock_session()? {
            AnySession::F32(session) => session.step,
            AnySession::F64(session) => session.step,
        })
    }

    #[setter]
    fn set_global_step(&self, step: u64) -> PyResult<()> {
        match &mut *self.lock_session()? {
            AnySession::F32(session) => session.step = step,
            AnySession::F64(session) => session.step = step,
        }
        Ok(())
    }

    /// One whole step; the mean loss before the update.
    #[pyo3(signature = (x, y, sample_weight = None))]
    fn step(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        y: &Bound<'_, PyAny>,
        sample_weight: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<f64> {
        let (mut session, mut state) = self.lock()?;
        each_session!(session, state, (s, o) => step(py, s, o, x, y, sample_weight))
    }

    /// The gradient of the mean loss, left in its buffer; the loss.
    #[pyo3(signature = (x, y, sample_weight = None, first_row = 0, total_weight = None))]
    fn gradients(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        y: &Bound<'_, PyAny>,
        sample_weight: Option<&Bound<'_, PyAny>>,
        first_row: usize,
        total_weight: Option<f64>,
    ) -> PyResult<f64> {
        let mut session = self.lock_session()?;
        match &mut *session {
            AnySession::F32(s) => gradients(py, s, x, y, sample_weight, first_row, total_weight),
            AnySession::F64(s) => gradients(py, s, x, y, sample_weight, first_row, total_weight),
        }
    }

    /// Clips the gradient in its buffer and updates.
    fn apply(&self, py: Python<'_>) -> PyResult<()> {
        let (mut session, mut state) = self.lock()?;
        each_session!(session, state, (s, o) => {
            Ok(compute(py, 30.0 * o.len() as f64, || s.apply(isa_in_use(), o))??)
        })
    }

    /// Steps over an epoch's rows in its order: (sum of weight · loss, sum of weights).
    #[pyo3(signature = (
        x, y, sample_weight = None, *, batch_size, epoch, shuffle = true, rows = None, start = 0, stop = None,
        learning_rates = None, progress = None
    ))]
    fn epoch(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        y: &Bound<'_, PyAny>,
        sample_weight: Option<&Bound<'_, PyAny>>,
        batch_size: usize,
        epoch: u64,
        shuffle: bool,
        rows: Option<&Bound<'_, PyAny>>,
        start: usize,
        stop: Option<usize>,
        learning_rates: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(f64, f64)> {
        let rows = rows
            .map(|rows| {
                let numbers = integers("rows", rows)?;
                integer_slice(&numbers)
                    .iter()
                    .map(|&row| {
                        u32::try_from(row).map_err(|_| {
                            PyValueError::new_err(format!(
                                "rows has {row}; expected numbers of rows of x"
                            ))
                        })
                    })
                    .collect::<PyResult<Vec<u32>>>()
            })
            .transpose()?;
        let rates = learning_rates
            .map(|rates| {
                let rates = floats("learning_rates", rates, super::array::Float::F64)?;
                Ok::<_, PyErr>(rates.to_slice::<f64>()?.into_owned())
            })
            .transpose()?;
        let plan = Plan {
            batch_size,
            epoch,
            shuffle,
            rows: rows.as_deref(),
            start,
            stop: stop.unwrap_or(usize::MAX),
            learning_rates: rates.as_deref(),
        };
        let (mut session, mut state) = self.lock()?;
        each_session!(session, state, (s, o) => self::epoch(py, s, o, x, y, sample_weight, &plan, progress))
    }
}
