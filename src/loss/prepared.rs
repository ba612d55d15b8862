//! A loss in one element type, and its pass over a panel.

use super::pointwise::{self, Bce, Huber, L1, Mse, TakesRule, WeightedWithLogits, WithLogits};
use super::{Loss, LossKind, entropy, margin};
use crate::error::{Error, Result};
use crate::gemm::PANEL;
use crate::lanes::{Feature, features, features_mut, load, store};
use crate::simd::{Arithmetic, Element, Kernel, Mask, Simd, Vector};

/// A loss for a number of outputs, its constants in T.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared<T> {
    pub(super) kind: LossKind,
    pub(super) outputs: usize,
    /// Huber's delta or the label smoothing.
    pub(super) parameter: T,
    /// One for each output, or empty.
    pub(super) class_weight: Vec<T>,
    /// One for each output, or empty.
    pub(super) pos_weight: Vec<T>,
}

/// What the rows of a panel are compared with.
#[derive(Clone, Copy, Debug)]
pub enum PanelTargets<'a, T> {
    /// The class numbers of the panel's rows within the batch, all of them below the number of outputs.
    Classes(&'a [i64]),
    /// A number for each output, as a panel.
    Dense(&'a [T]),
}

/// Class numbers below it are exact in float32.
const MOST_CLASSES: usize = 1 << 24;

impl Loss {
    /// The loss for so many outputs in T.
    ///
    /// # Errors
    /// No outputs; weights that are not one for each output.
    pub fn prepare<T: Element>(&self, outputs: usize) -> Result<Prepared<T>> {
        if outputs == 0 {
            return Err(Error::Value(
                "pred has 0 columns; a loss needs at least one".into(),
            ));
        }
        if self.takes_classes(outputs) && outputs > MOST_CLASSES {
            return Err(Error::Value(format!(
                "pred has {outputs} columns; at most {MOST_CLASSES} classes are supported"
            )));
        }
        let convert = |weights: &[f64]| weights.iter().map(|&w| T::from_f64(w)).collect();
        let class_weight = self.class_weight.as_deref().unwrap_or(&[]);
        if self.class_weight.is_some() {
            if !self.takes_classes(outputs) {
                return Err(Error::Value(format!(
                    "class_weight does not apply to {} of one output; use sample_weight",
                    self.kind.name()
                )));
            }
            if class_weight.len() != outputs {
                return Err(Error::Value(format!(
                    "class_weight has shape ({},); expected ({outputs},), one for each column of pred",
                    class_weight.len()
                )));
            }
        }
        let pos_weight = match self.pos_weight.as_deref() {
            None => Vec::new(),
            Some(&[one]) => vec![T::from_f64(one); outputs],
            Some(weights) if weights.len() == outputs => convert(weights),
            Some(weights) => {
                return Err(Error::Value(format!(
                    "pos_weight has shape ({},); expected ({outputs},), one for each column of pred, or (1,)",
                    weights.len()
                )));
            }
        };
        Ok(Prepared {
            kind: self.kind,
            outputs,
            parameter: T::from_f64(match self.kind {
                LossKind::Huber { delta } => delta,
                LossKind::CrossEntropy { label_smoothing } => label_smoothing,
                _ => 0.0,
            }),
            class_weight: convert(class_weight),
            pos_weight,
        })
    }
}

/// What a loss sees of a panel.
pub(super) struct View<'a, T> {
    pub z: &'a [Feature<T>],
    /// What the gradient of each row is multiplied by.
    pub factors: &'a Feature<T>,
    pub losses: &'a mut Feature<T>,
    pub dz: Option<&'a mut [Feature<T>]>,
}

/// The losses of a panel's 16 rows, and the gradient of Σ factor · loss with respect to the logits.
///
/// The gradient of a row whose factor is zero is zero, whatever the row holds. Losses of rows beyond the batch have no
/// meaning. Without `dlogits` the factors have none.
///
/// # Panics
/// If `outputs` is not what the loss was prepared for, a slice is too short, a class number is out of range, or the
/// loss does not take such targets.
#[inline(always)]
pub fn panel<S: Simd, T: Element>(
    simd: S,
    loss: &Prepared<T>,
    outputs: usize,
    logits: &[T],
    targets: PanelTargets<'_, T>,
    factors: &[T],
    losses: &mut [T],
    dlogits: Option<&mut [T]>,
) {
    assert!(outputs == loss.outputs);
    let whole = Whole {
        loss,
        targets,
        view: View {
            z: features(logits, outputs),
            factors: &features(factors, 1)[0],
            losses: &mut features_mut(losses, 1)[0],
            dz: dlogits.map(|d| features_mut(d, outputs)),
        },
    };
    // One copy of the code for all callers; a call costs little beside a panel.
    simd.call(whole);
}

impl<T: Element> Prepared<T> {
    /// Hands over the rule of a loss that is a mean of the outputs' own.
    ///
    /// # Panics
    /// If the loss takes class numbers alone.
    #[inline(always)]
    pub(super) fn with_rule(&self, taker: impl TakesRule<T>) {
        match self.kind {
            LossKind::Mse => taker.take(Mse),
            LossKind::L1 => taker.take(L1),
            LossKind::Huber { .. } => taker.take(Huber(self.parameter)),
            LossKind::Bce => taker.take(Bce),
            LossKind::BceWithLogits if self.pos_weight.is_empty() => taker.take(WithLogits),
            LossKind::BceWithLogits => taker.take(WeightedWithLogits(&self.pos_weight)),
            LossKind::Hinge => taker.take(margin::OneOutput(T::ONE)),
            LossKind::Perceptron => taker.take(margin::OneOutput(T::ZERO)),
            LossKind::Nll | LossKind::CrossEntropy { .. } => {
                panic!("{} takes class numbers alone", self.kind.name());
            }
        }
    }

    /// Whether [`singles`] computes it.
    pub(super) fn is_single(&self) -> bool {
        self.outputs == 1 && !matches!(self.kind, LossKind::Nll | LossKind::CrossEntropy { .. })
    }

    /// Whether a row's loss is an output of its class and nothing else.
    pub(super) fn picks_classes(&self) -> bool {
        self.kind == LossKind::Nll
    }
}

/// Losses of one output, row by row, and the gradient of Σ factor · loss. The same bits as [`panel`]'s.
///
/// # Panics
/// If the loss is not [`Prepared::is_single`], or the slices' lengths differ.
#[inline(always)]
pub(super) fn singles<S: Simd, T: Element>(
    simd: S,
    loss: &Prepared<T>,
    pred: &[T],
    targets: &[T],
    factors: &[T],
    losses: Option<&mut [T]>,
    gradient: Option<&mut [T]>,
) {
    assert!(loss.is_single() && targets.len() == pred.len());
    assert!(losses.as_ref().is_none_or(|l| l.len() == pred.len()));
    assert!(factors.len() == pred.len());
    assert!(gradient.as_ref().is_none_or(|g| g.len() == pred.len()));
    simd.call(Singles {
        loss,
        rows: pointwise::Rows {
            pred,
            targets,
            factors,
            losses,
            gradient,
        },
    });
}

struct Singles<'a, T> {
    loss: &'a Prepared<T>,
    rows: pointwise::Rows<'a, T>,
}

impl<T: Element> Kernel for Singles<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.rows;
        self.loss.with_rule(pointwise::OfRows { simd, rows });
    }
}

struct Whole<'a, T> {
    loss: &'a Prepared<T>,
    targets: PanelTargets<'a, T>,
    view: View<'a, T>,
}

impl<T: Element> Kernel for Whole<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Whole {
            loss,
            targets,
            mut view,
        } = self;
        if let PanelTargets::Classes(labels) = targets {
            assert!(labels.len() <= PANEL);
        }
        let margin = if loss.kind == LossKind::Hinge {
            T::ONE
        } else {
            T::ZERO
        };
        match (loss.kind, targets) {
            (LossKind::CrossEntropy { .. }, targets) => {
                entropy::of_logits(simd, loss, targets, &mut view);
            }
            (LossKind::Nll, PanelTargets::Classes(labels)) => {
                entropy::of_log_probabilities(labels, &mut view);
            }
            (LossKind::Hinge | LossKind::Perceptron, PanelTargets::Classes(labels)) => {
                margin::of_classes(simd, margin, labels, &mut view);
            }
            (kind, PanelTargets::Classes(_)) => panic!("{} takes no class numbers", kind.name()),
            (_, PanelTargets::Dense(targets)) => {
                let t = features(targets, loss.outputs);
                loss.with_rule(pointwise::OfPanel {
                    simd,
                    t,
                    view: &mut view,
                });
            }
        }
        silence(simd, &mut view);
    }
}

/// The class numbers as elements; −1 for rows beyond the batch.
#[inline(always)]
pub(super) fn numbers<T: Element>(labels: &[i64]) -> Feature<T> {
    let mut numbers = [-T::ONE; PANEL];
    for (number, &label) in numbers.iter_mut().zip(labels) {
        *number = T::from_f64(label as f64);
    }
    numbers
}

/// Zeroes the gradient of rows whose factor is zero, which may hold anything.
#[inline(always)]
fn silence<S: Simd, T: Element>(simd: S, view: &mut View<'_, T>) {
    let Some(dz) = &mut view.dz else {
        return;
    };
    let zero = T::Vector::<S>::zero(simd);
    for at in (0..PANEL).step_by(T::Vector::<S>::LANES) {
        let dead = load::<T::Vector<S>>(simd, view.factors, at).eq(zero);
        if dead.any() {
            for dz in &mut **dz {
                let value = load::<T::Vector<S>>(simd, dz, at);
                store(T::Vector::<S>::select(dead, zero, value), dz, at);
            }
        }
    }
}
