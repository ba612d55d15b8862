//! A loss in one element type, and its pass over a panel.

use super::pointwise::{self, Bce, Huber, L1, Mse, WeightedWithLogits, WithLogits};
use super::{Loss, LossKind, entropy, margin};
use crate::error::{Error, Result};
use crate::gemm::PANEL;
use crate::lanes::{Feature, features, features_mut, load, store};
use crate::simd::{Element, Kernel, Mask, Simd, Vector};

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
/// Without `dlogits` the factors are not read. With it, the loss and the gradient of a row whose factor is zero are
/// zero. Losses of rows beyond the batch have no meaning.
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
    simd.call(PanelPass {
        loss,
        outputs,
        logits,
        targets,
        factors,
        losses,
        dlogits,
    });
}

/// [`panel`] as a kernel.
struct PanelPass<'a, T> {
    loss: &'a Prepared<T>,
    outputs: usize,
    logits: &'a [T],
    targets: PanelTargets<'a, T>,
    factors: &'a [T],
    losses: &'a mut [T],
    dlogits: Option<&'a mut [T]>,
}

impl<T: Element> Kernel for PanelPass<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            loss,
            outputs,
            logits,
            targets,
            factors,
            losses,
            dlogits,
        } = self;
        assert!(outputs == loss.outputs);
        let mut view = View {
            z: features(logits, outputs),
            factors: &features(factors, 1)[0],
            losses: &mut features_mut(losses, 1)[0],
            dz: dlogits.map(|d| features_mut(d, outputs)),
        };
        match targets {
            PanelTargets::Classes(labels) => {
                assert!(labels.len() <= PANEL);
                match loss.kind {
                    LossKind::CrossEntropy { .. } if entropy::is_plain(loss) => {
                        entropy::of_classes(simd, labels, &mut view);
                    }
                    LossKind::CrossEntropy { .. } => {
                        let labels = numbers(labels);
                        entropy::of_shares(simd, loss, entropy::OneHot(&labels), &mut view);
                    }
                    LossKind::Nll => entropy::of_log_probabilities(labels, &mut view),
                    LossKind::Hinge => {
                        margin::of_classes(simd, T::ONE, &numbers(labels), labels, &mut view)
                    }
                    LossKind::Perceptron => {
                        margin::of_classes(simd, T::ZERO, &numbers(labels), labels, &mut view)
                    }
                    _ => panic!("{} takes no class numbers", loss.kind.name()),
                }
            }
            PanelTargets::Dense(targets) => {
                let t = features(targets, outputs);
                match loss.kind {
                    LossKind::Mse => pointwise::mean(simd, Mse, t, &mut view),
                    LossKind::L1 => pointwise::mean(simd, L1, t, &mut view),
                    LossKind::Huber { .. } => {
                        pointwise::mean(simd, Huber(loss.parameter), t, &mut view)
                    }
                    LossKind::Bce => pointwise::mean(simd, Bce, t, &mut view),
                    LossKind::BceWithLogits if loss.pos_weight.is_empty() => {
                        pointwise::mean(simd, WithLogits, t, &mut view)
                    }
                    LossKind::BceWithLogits => {
                        let rule = WeightedWithLogits(&loss.pos_weight);
                        pointwise::mean(simd, rule, t, &mut view);
                    }
                    LossKind::CrossEntropy { .. } => {
                        entropy::of_shares(simd, loss, entropy::Dense(t), &mut view);
                    }
                    LossKind::Hinge => {
                        pointwise::mean(simd, margin::OneOutput(T::ONE), t, &mut view)
                    }
                    LossKind::Perceptron => {
                        pointwise::mean(simd, margin::OneOutput(T::ZERO), t, &mut view);
                    }
                    LossKind::Nll => panic!("nll takes class numbers alone"),
                }
            }
        }
        silence(simd, &mut view);
    }
}

/// The class numbers as elements; −1 for rows beyond the batch.
#[inline(always)]
fn numbers<T: Element>(labels: &[i64]) -> Feature<T> {
    let mut numbers = [-T::ONE; PANEL];
    for (number, &label) in numbers.iter_mut().zip(labels) {
        *number = T::from_f64(label as f64);
    }
    numbers
}

/// Zeroes the loss and the gradient of rows whose factor is zero.
#[inline(always)]
fn silence<S: Simd, T: Element>(simd: S, view: &mut View<'_, T>) {
    let Some(dz) = &mut view.dz else {
        return;
    };
    let zero = T::Vector::<S>::zero(simd);
    for at in (0..PANEL).step_by(T::Vector::<S>::LANES) {
        let dead = load::<T::Vector<S>>(simd, view.factors, at).eq(zero);
        if dead.any() {
            let rows = std::iter::once(&mut *view.losses).chain(dz.iter_mut());
            for row in rows {
                let value = load::<T::Vector<S>>(simd, row, at);
                store(T::Vector::<S>::select(dead, zero, value), row, at);
            }
        }
    }
}
