//! Losses: how far a batch of outputs is from its targets, and the gradient of that.
//!
//! With the loss lᵢ of row i (for losses of several outputs the mean over them), its sample weight wᵢ and the class
//! weight cᵢ of its label, the mean over a batch is Σ wᵢcᵢlᵢ / Σ wᵢcᵢ.
//!
//! | kind              | loss of an output z with target t, or of a row of them                      | source      |
//! |-------------------|-----------------------------------------------------------------------------|-------------|
//! | `mse`             | (z − t)²                                                                    | torch       |
//! | `l1`              | abs(z − t)                                                                  | torch       |
//! | `huber`           | d²/2 for d = abs(z − t) ≤ δ, else δ(d − δ/2)                                | Huber, 1964 |
//! | `bce`             | −t·log z − (1 − t)·log(1 − z), logarithms no less than −100                 | torch       |
//! | `bce_with_logits` | −p·t·log σ(z) − (1 − t)·log(1 − σ(z)), p the output's `pos_weight`          | torch       |
//! | `nll`             | −z_y, y the row's class                                                     | torch       |
//! | `cross_entropy`   | −Σⱼ qⱼ·log softmax(z)ⱼ, q the row's distribution or class, smoothed         | torch       |
//! | `hinge`           | max(0, 1 − t·z), t = ±1; for classes max(0, 1 − z_y + max over j ≠ y of zⱼ) | Crammer and Singer, JMLR 2001 |
//! | `perceptron`      | the same without the 1                                                      | Rosenblatt, 1958 |
//!
//! Class weights and dense targets of `cross_entropy` do as in torch: each qⱼ is multiplied by the weight of class j,
//! and the mean's divisor is Σ wᵢ; with class numbers it is Σ wᵢcᵢ, also where labels are smoothed.
//!
//! A batch passes in panels of 16 rows ([`panel`]), as in the rest of the network; [`value`] and [`gradient`] take
//! row-major arrays. A row whose weight is zero has no influence, whatever it holds.

mod array;
mod check;
mod entropy;
mod margin;
mod pointwise;
mod prepared;
mod sums;
#[cfg(test)]
mod tests;
mod weights;

pub use array::{Panels, Pass, Reduction, Targets, Value, gradient, value, value_and_gradient};
pub use check::DenseCheck;
pub use prepared::{PanelTargets, Prepared, panel};
pub use sums::SumLosses;

use crate::error::{Error, Result};

/// A loss and its settings, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    pub kind: LossKind,
    /// The weight of each class.
    pub class_weight: Option<Vec<f64>>,
    /// The weight of the positives of each output, or one for all outputs.
    pub pos_weight: Option<Vec<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossKind {
    Mse,
    L1,
    Huber { delta: f64 },
    Bce,
    BceWithLogits,
    Nll,
    CrossEntropy { label_smoothing: f64 },
    Hinge,
    Perceptron,
}

impl LossKind {
    pub fn name(self) -> &'static str {
        match self {
            LossKind::Mse => "mse",
            LossKind::L1 => "l1",
            LossKind::Huber { .. } => "huber",
            LossKind::Bce => "bce",
            LossKind::BceWithLogits => "bce_with_logits",
            LossKind::Nll => "nll",
            LossKind::CrossEntropy { .. } => "cross_entropy",
            LossKind::Hinge => "hinge",
            LossKind::Perceptron => "perceptron",
        }
    }

    /// Whether the loss is a mean of independent losses of the outputs.
    fn is_pointwise(self) -> bool {
        matches!(
            self,
            LossKind::Mse
                | LossKind::L1
                | LossKind::Huber { .. }
                | LossKind::Bce
                | LossKind::BceWithLogits
        )
    }
}

impl Loss {
    /// A loss by name; `parameter` is huber's delta or cross_entropy's label smoothing, and without meaning elsewhere.
    ///
    /// # Errors
    /// An unknown kind; a setting out of its range, or that the kind does not have.
    pub fn new(
        kind: &str,
        parameter: f64,
        class_weight: Option<Vec<f64>>,
        pos_weight: Option<Vec<f64>>,
    ) -> Result<Loss> {
        let kind = match kind {
            "mse" => LossKind::Mse,
            "l1" => LossKind::L1,
            "huber" => LossKind::Huber { delta: parameter },
            "bce" => LossKind::Bce,
            "bce_with_logits" => LossKind::BceWithLogits,
            "nll" => LossKind::Nll,
            "cross_entropy" => LossKind::CrossEntropy {
                label_smoothing: parameter,
            },
            "hinge" => LossKind::Hinge,
            "perceptron" => LossKind::Perceptron,
            other => {
                return Err(Error::Value(format!(
                    "kind is {other:?}; expected one of mse, l1, huber, bce, bce_with_logits, nll, cross_entropy, \
                     hinge, perceptron"
                )));
            }
        };
        let loss = Loss {
            kind,
            class_weight,
            pos_weight,
        };
        loss.check_settings()?;
        Ok(loss)
    }

    fn check_settings(&self) -> Result<()> {
        match self.kind {
            LossKind::Huber { delta } if !(delta > 0.0 && delta.is_finite()) => {
                return Err(Error::Value(format!(
                    "delta is {delta}; expected a finite number above 0"
                )));
            }
            LossKind::CrossEntropy { label_smoothing: s } if !(0.0..1.0).contains(&s) => {
                return Err(Error::Value(format!(
                    "label_smoothing is {s}; expected a number of at least 0 and below 1"
                )));
            }
            _ => {}
        }
        let name = self.kind.name();
        if let Some(weights) = &self.class_weight {
            if self.kind.is_pointwise() {
                return Err(Error::Value(format!(
                    "class_weight does not apply to {name}; it is for nll, cross_entropy, hinge and perceptron with \
                     class numbers"
                )));
            }
            weights::check("class_weight", weights)?;
        }
        if let Some(weights) = &self.pos_weight {
            if self.kind != LossKind::BceWithLogits {
                return Err(Error::Value(format!(
                    "pos_weight does not apply to {name}; it is for bce_with_logits"
                )));
            }
            weights::check("pos_weight", weights)?;
        }
        Ok(())
    }

    /// Whether targets are class numbers in their natural form.
    pub fn takes_classes(&self, outputs: usize) -> bool {
        match self.kind {
            LossKind::Nll | LossKind::CrossEntropy { .. } => true,
            LossKind::Hinge | LossKind::Perceptron => outputs != 1,
            _ => false,
        }
    }

    /// Whether targets may be a number for each output.
    pub fn takes_dense(&self, outputs: usize) -> bool {
        match self.kind {
            LossKind::Nll => false,
            LossKind::Hinge | LossKind::Perceptron => outputs == 1,
            _ => true,
        }
    }

    /// Whether a row counts by its class.
    pub fn is_weighted(&self) -> bool {
        self.class_weight.is_some()
    }
}
