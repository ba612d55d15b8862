//! A compiled network: a list of layers over one flat parameter buffer.
//!
//! [`Network::new`] fuses the stages that a user lists (a scaler, linear maps, activations, dropout, softmax) into
//! [`Layer`]s, each one pass over the batch forward and one backward. Everything that a pass writes lies in a
//! [`Workspace`]; the passes themselves are in `forward` and `backward`, and `step` joins them, `session` to runs.

mod backward;
mod division;
mod forward;
mod layer;
mod order;
mod predict;
mod session;
mod step;
#[cfg(test)]
mod tests;
mod train;
mod upcoming;
mod ways;
mod workspace;

use crate::activation::Activation;
use crate::buffer::Flat;
use crate::error::{Error, Result};
use crate::optim::State;
use crate::simd::Element;
use std::sync::{Arc, Mutex};

pub use layer::{Layer, Linear, Rowwise};
pub use order::Plan;
pub use session::{Batch, Options, Session, Targets};
use workspace::Workspace;

/// What a user lists; offsets are in elements into the flat buffers.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage<T> {
    /// y = (x − shift) · factor; only as the first stage.
    Scale {
        shift: Vec<T>,
        factor: Vec<T>,
    },
    Linear(Linear),
    Activation(Activation),
    Rowwise(Rowwise),
    /// Training only: zero with probability p, else divided by 1 − p. `layer` counts the mask.
    Dropout {
        p: f64,
        layer: u32,
    },
}

/// The offsets of a dropout layer's probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    pub p: f64,
    pub layer: u32,
}

/// Widest layer that is accepted: sizes of buffers are then far from overflowing.
pub const MOST_FEATURES: usize = 1 << 24;

pub struct Network<T> {
    pub inputs: usize,
    pub outputs: usize,
    pub(crate) scale: Option<(Vec<T>, Vec<T>)>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) parameters: Arc<Flat<T>>,
    pub(crate) gradients: Arc<Flat<T>>,
    /// Locked while a thread trains.
    training: Mutex<Workspace<T>>,
    /// Workspaces of predictions, one for each that ran at the same time.
    predicting: Mutex<Vec<Workspace<T>>>,
}

impl<T: Element> Network<T> {
    /// Compiles the stages.
    ///
    /// # Errors
    /// A stage whose size does not fit the one before, or whose parameters lie outside the buffers.
    pub fn new(
        inputs: usize,
        stages: Vec<Stage<T>>,
        parameters: Arc<Flat<T>>,
        gradients: Arc<Flat<T>>,
    ) -> Result<Self> {
        if inputs > MOST_FEATURES {
            return Err(Error::Value(format!(
                "in_features is {inputs}; at most {MOST_FEATURES} are supported"
            )));
        }
        if parameters.len() != gradients.len() {
            return Err(Error::Value(format!(
                "the gradient buffer has {} elements, the parameter buffer {}",
                gradients.len(),
                parameters.len()
            )));
        }
        let mut scale = None;
        let mut layers: Vec<Layer> = Vec::new();
        let mut width = inputs;
        for (number, stage) in stages.into_iter().enumerate() {
            match stage {
                Stage::Scale { shift, factor } => {
                    if number != 0 {
                        return Err(Error::Value("a scaler must be the first stage".into()));
                    }
                    if shift.len() != inputs || factor.len() != inputs {
                        return Err(Error::Value(format!(
                            "the scaler has {} features, the input {inputs}",
                            shift.len().max(factor.len())
                        )));
                    }
                    scale = Some((shift, factor));
                }
                Stage::Linear(linear) => {
                    linear.check(width, parameters.len())?;
                    width = linear.outputs;
                    layers.push(Layer::linear(linear));
                }
                Stage::Activation(activation) => {
                    if !layers
                        .last_mut()
                        .is_some_and(|layer| layer.take_activation(activation))
                    {
                        let mut layer = Layer::pass(width);
                        layer.activation = activation;
                        layers.push(layer);
                    }
                }
                Stage::Dropout { p, layer: number } => {
                    if !(0.0..=1.0).contains(&p) {
                        return Err(Error::Value(format!(
                            "dropout's p is {p}; it must lie in [0, 1]"
                        )));
                    }
                    let dropout = Dropout { p, layer: number };
                    if p > 0.0
                        && !layers
                            .last_mut()
                            .is_some_and(|layer| layer.take_dropout(dropout))
                    {
                        let mut layer = Layer::pass(width);
                        layer.dropout = Some(dropout);
                        layers.push(layer);
                    }
                }
                Stage::Rowwise(rowwise) => {
                    let mut layer = Layer::pass(width);
                    layer.rowwise = Some(rowwise);
                    layers.push(layer);
                }
            }
        }
        if layers.is_empty() {
            layers.push(Layer::pass(width));
        }
        Ok(Self {
            inputs,
            outputs: width,
            scale,
            layers,
            parameters,
            gradients,
            training: Mutex::new(Workspace::empty()),
            predicting: Mutex::new(Vec::new()),
        })
    }

    /// Whether an optimiser is over this network's buffers.
    pub fn is_trained_by(&self, state: &State<T>) -> bool {
        state.is_over(&self.parameters, &self.gradients)
    }

    /// Floating-point operations of a forward pass over one row.
    pub fn flops(&self) -> f64 {
        self.layers.iter().map(Layer::flops).sum()
    }
}
