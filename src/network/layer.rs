//! One fused layer: at most one linear map, activation and dropout, or a function along the row.

use super::{Dropout, MOST_FEATURES};
use crate::activation::{Activation, Keeps};
use crate::dense::Shape;
use crate::error::{Error, Result};

/// Z = X·Wᵀ + b: where its parameters lie in the flat buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    /// W: outputs × inputs, row-major.
    pub weight: usize,
    pub bias: Option<usize>,
    /// Parameters that are not trained get no gradient and no update.
    pub train_weight: bool,
    pub train_bias: bool,
}

impl Linear {
    pub(super) fn check(&self, width: usize, buffer: usize) -> Result<()> {
        if self.inputs != width {
            return Err(Error::Value(format!(
                "a linear layer takes {} features, but the stage before it gives {width}",
                self.inputs
            )));
        }
        if self.outputs > MOST_FEATURES {
            return Err(Error::Value(format!(
                "out_features is {}; at most {MOST_FEATURES} are supported",
                self.outputs
            )));
        }
        let weight_end = self
            .inputs
            .checked_mul(self.outputs)
            .and_then(|n| n.checked_add(self.weight));
        let bias_end = self
            .bias
            .map_or(Some(0), |bias| bias.checked_add(self.outputs));
        match (weight_end, bias_end) {
            (Some(w), Some(b)) if w <= buffer && b <= buffer => Ok(()),
            _ => Err(Error::Value(format!(
                "parameters of a linear layer lie outside the buffer of {buffer} elements"
            ))),
        }
    }

    pub fn shape(&self, rows: usize) -> Shape {
        Shape {
            outputs: self.outputs,
            inputs: self.inputs,
            rows,
        }
    }

    pub fn weights(&self) -> std::ops::Range<usize> {
        self.weight..self.weight + self.inputs * self.outputs
    }

    pub fn biases(&self) -> Option<std::ops::Range<usize>> {
        self.bias.map(|bias| bias..bias + self.outputs)
    }
}

/// A function of a whole row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rowwise {
    Softmax,
    LogSoftmax,
}

#[derive(Clone, Debug)]
pub struct Layer {
    pub linear: Option<Linear>,
    pub activation: Activation,
    pub dropout: Option<Dropout>,
    pub rowwise: Option<Rowwise>,
    pub inputs: usize,
    pub outputs: usize,
}

impl Layer {
    pub(super) fn linear(linear: Linear) -> Self {
        Self {
            linear: Some(linear),
            inputs: linear.inputs,
            ..Self::pass(linear.outputs)
        }
    }

    /// A layer that hands its input on.
    pub(super) fn pass(width: usize) -> Self {
        Self {
            linear: None,
            activation: Activation::Identity,
            dropout: None,
            rowwise: None,
            inputs: width,
            outputs: width,
        }
    }

    /// Fuses an activation, if nothing comes between.
    pub(super) fn take_activation(&mut self, activation: Activation) -> bool {
        let free = self.activation == Activation::Identity
            && self.dropout.is_none()
            && self.rowwise.is_none();
        if free {
            self.activation = activation;
        }
        free
    }

    pub(super) fn take_dropout(&mut self, dropout: Dropout) -> bool {
        let free = self.dropout.is_none() && self.rowwise.is_none();
        if free {
            self.dropout = Some(dropout);
        }
        free
    }

    /// Whether training keeps, beside the layer's output, what the derivative of the activation is computed from.
    pub(super) fn keeps_apart(&self) -> bool {
        if self.rowwise.is_some() {
            return false;
        }
        match self.activation.keeps() {
            Keeps::Nothing => false,
            Keeps::Input => true,
            // Where dropout left a ReLU's output above zero, so was the output before.
            Keeps::Output => self.dropout.is_some() && self.activation != Activation::Relu,
        }
    }

    pub(super) fn flops(&self) -> f64 {
        self.linear.map_or(8.0 * self.outputs as f64, |l| {
            2.0 * l.inputs as f64 * l.outputs as f64
        })
    }
}
