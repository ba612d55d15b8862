//! Targets are checked before anything is computed.

use super::{Loss, LossKind};
use crate::error::{Error, Result};
use crate::pool;
use crate::simd::{Arithmetic, Element, Isa, Kernel, Mask, Simd, Vector};
use std::sync::atomic::{AtomicBool, Ordering};

/// How far a row of probabilities may sum from 1.
const SUM_TOLERANCE: f64 = 1e-3;

impl Loss {
    /// Checks class numbers, all of them or those picked.
    ///
    /// # Errors
    /// One that is negative or not below `outputs`; a loss that takes none.
    ///
    /// # Panics
    /// If a pick is out of range.
    pub fn check_labels(
        &self,
        outputs: usize,
        labels: &[i64],
        picks: Option<&[u32]>,
    ) -> Result<()> {
        if !self.takes_classes(outputs) {
            return Err(Error::Value(format!(
                "target has class numbers; {} of pred with {} expects {}",
                self.kind.name(),
                columns(outputs),
                if outputs == 1 {
                    "a number for each row"
                } else {
                    "a number for each column"
                }
            )));
        }
        let outside = |label: i64| label as u64 >= outputs as u64;
        let bad = match picks {
            None => labels.iter().position(|&label| outside(label)),
            Some(picks) => picks
                .iter()
                .map(|&row| row as usize)
                .find(|&row| outside(labels[row])),
        };
        match bad {
            None => Ok(()),
            Some(row) => Err(Error::Value(format!(
                "target[{row}] is {}; expected a class number from 0 to {} (pred has {})",
                labels[row],
                outputs as i64 - 1,
                columns(outputs)
            ))),
        }
    }

    /// Checks targets given as a contiguous row-major matrix with a number for each output.
    ///
    /// # Errors
    /// For bce and bce_with_logits a number outside 0..1; for hinge and perceptron one other than −1 and 1, or 0 and 1;
    /// for cross_entropy a negative number, or a row that does not sum to 1 within 10⁻³ (torch takes those as they are;
    /// here they are taken for a mistake). NaN is refused by these. A loss that takes no such targets.
    pub fn check_dense<T: Element>(&self, outputs: usize, values: &[T]) -> Result<()> {
        let mut check = self.dense_check(outputs)?;
        if check.is_needed() && outputs > 0 && !check.passes(values) {
            for (row, values) in values.chunks(outputs).enumerate() {
                check.row(row, values.iter().map(|v| v.to_f64()))?;
            }
        }
        Ok(())
    }

    /// As [`Loss::check_dense`], row by row.
    ///
    /// # Errors
    /// A loss that takes no such targets.
    pub fn dense_check(&self, outputs: usize) -> Result<DenseCheck> {
        if !self.takes_dense(outputs) {
            return Err(Error::Value(format!(
                "target has a number for each of {}; {} expects a class number for each row",
                columns(outputs),
                self.kind.name()
            )));
        }
        Ok(DenseCheck {
            rule: match self.kind {
                LossKind::Bce | LossKind::BceWithLogits => Rule::UnitInterval,
                LossKind::Hinge | LossKind::Perceptron => Rule::Signs { low: None },
                LossKind::CrossEntropy { .. } => Rule::Distribution,
                _ => Rule::Anything,
            },
            several: outputs > 1,
        })
    }

    /// Checks outputs, a contiguous row-major matrix: those of bce must lie in 0..1 (or be NaN).
    ///
    /// # Errors
    /// An output that is no probability.
    pub fn check_pred<T: Element>(&self, outputs: usize, pred: &[T]) -> Result<()> {
        if self.kind != LossKind::Bce {
            return Ok(());
        }
        if all_within(Allowed::NotBeyond(T::ZERO, T::ONE), pred) {
            return Ok(());
        }
        match pred.iter().position(|&p| p < T::ZERO || p > T::ONE) {
            None => Ok(()),
            Some(at) => Err(Error::Value(format!(
                "pred[{}] is {}; bce expects probabilities from 0 to 1 (bce_with_logits takes any number)",
                place(outputs > 1, at / outputs, at % outputs),
                pred[at]
            ))),
        }
    }
}

fn columns(outputs: usize) -> String {
    format!("{outputs} column{}", if outputs == 1 { "" } else { "s" })
}

fn place(several: bool, row: usize, column: usize) -> String {
    if several {
        format!("{row}, {column}")
    } else {
        format!("{row}")
    }
}

/// Floating-point operations that the check of a number is reckoned to cost: to read it, mostly.
const CHECK_FLOPS: f64 = 10.0;

#[derive(Clone, Copy)]
enum Allowed<T> {
    Between(T, T),
    /// As `Between`, or NaN.
    NotBeyond(T, T),
    Either(T, T),
}

/// Whether all values are allowed.
fn all_within<T: Element>(allowed: Allowed<T>, values: &[T]) -> bool {
    let fit = AtomicBool::new(true);
    pool::run(values.len() as f64 * CHECK_FLOPS, &|member| {
        let values = &values[member.share(values.len())];
        if !Isa::best().run(AllWithin { allowed, values }) {
            fit.store(false, Ordering::Relaxed);
        }
    });
    fit.into_inner()
}

/// Whether all values are allowed; without a way out before the end.
struct AllWithin<'a, T> {
    allowed: Allowed<T>,
    values: &'a [T],
}

impl<T: Element> Kernel for AllWithin<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let splat = |value| T::Vector::<S>::splat(simd, value);
        match self.allowed {
            Allowed::Between(low, high) => {
                let (low, high) = (splat(low), splat(high));
                none_is::<T::Vector<S>>(simd, self.values, |v| !(v.ge(low) & v.le(high)))
            }
            Allowed::NotBeyond(low, high) => {
                let (low, high) = (splat(low), splat(high));
                none_is::<T::Vector<S>>(simd, self.values, |v| v.lt(low) | v.gt(high))
            }
            Allowed::Either(a, b) => {
                let (a, b) = (splat(a), splat(b));
                none_is::<T::Vector<S>>(simd, self.values, |v| !(v.eq(a) | v.eq(b)))
            }
        }
    }
}

/// Whether no value is `unfit`.
#[inline(always)]
fn none_is<V: Vector>(simd: V::Simd, values: &[V::Element], unfit: impl Fn(V) -> V::Mask) -> bool {
    let mut found = V::mask_from_bits(simd, 0);
    for values in values.chunks(V::LANES) {
        V::prefetch_ahead(values.as_ptr());
        let here = V::mask_from_bits(simd, u32::MAX >> (32 - values.len()));
        found = found | (unfit(V::load_tail(simd, values)) & here);
    }
    !found.any()
}

/// A check of dense targets that goes from row to row.
#[derive(Clone, Debug)]
pub struct DenseCheck {
    rule: Rule,
    several: bool,
}

#[derive(Clone, Debug)]
enum Rule {
    Anything,
    UnitInterval,
    Distribution,
    /// The negative target seen first: its row and value.
    Signs {
        low: Option<(usize, f64)>,
    },
}

impl DenseCheck {
    /// Whether any target could be refused.
    pub fn is_needed(&self) -> bool {
        !matches!(self.rule, Rule::Anything)
    }

    /// Whether all values are seen to be right without a look at their rows.
    fn passes<T: Element>(&self, values: &[T]) -> bool {
        let allowed = match self.rule {
            Rule::Anything => return true,
            Rule::Distribution => return false,
            Rule::UnitInterval => Allowed::Between(T::ZERO, T::ONE),
            Rule::Signs { .. } => {
                let other = values.iter().copied().find(|&v| v != T::ONE);
                let low = other.unwrap_or(T::ZERO);
                if low != T::ZERO && low != -T::ONE {
                    return false;
                }
                Allowed::Either(low, T::ONE)
            }
        };
        all_within(allowed, values)
    }

    /// # Errors
    /// As [`Loss::check_dense`].
    pub fn row(&mut self, row: usize, values: impl Iterator<Item = f64>) -> Result<()> {
        let mut sum = 0.0;
        for (column, value) in values.enumerate() {
            let expected = match &mut self.rule {
                Rule::Anything => None,
                Rule::UnitInterval => {
                    (!(0.0..=1.0).contains(&value)).then(|| "a number from 0 to 1".to_owned())
                }
                Rule::Distribution => {
                    sum += value;
                    (!(0.0..f64::INFINITY).contains(&value))
                        .then(|| "a probability of at least 0".to_owned())
                }
                Rule::Signs { low } => refuse_sign(low, row, value),
            };
            if let Some(expected) = expected {
                return Err(Error::Value(format!(
                    "target[{}] is {value}; expected {expected}",
                    place(self.several, row, column)
                )));
            }
        }
        if matches!(self.rule, Rule::Distribution) && (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(Error::Value(format!(
                "target[{row}] sums to {sum}; expected the probabilities of a row to sum to 1, or class numbers"
            )));
        }
        Ok(())
    }
}

/// What was expected, if not this.
fn refuse_sign(low: &mut Option<(usize, f64)>, row: usize, value: f64) -> Option<String> {
    if value == 1.0 {
        return None;
    }
    if value != 0.0 && value != -1.0 {
        return Some("-1 or 1 (or 0 or 1)".to_owned());
    }
    match *low {
        None => *low = Some((row, value)),
        Some((first, seen)) if seen != value => {
            return Some(format!("{seen} or 1, as target[{first}] is {seen}"));
        }
        Some(_) => {}
    }
    None
}
