//! Losses of contiguous row-major arrays, panel by panel.

#![allow(unsafe_code)]

use super::prepared::singles;
use super::sums::{GROUP, SumChunks, TOGETHER as CHUNKS};
use super::weights::weigh;
use super::{Loss, PanelTargets, Prepared, panel};
use crate::buffer::with_scratch;
use crate::error::{Error, Result};
use crate::gemm::turn::{panel_from_rows, rows_from_panel};
use crate::gemm::{CHUNK, PANEL};
use crate::pool::{self, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use std::ops::Range;
use std::str::FromStr;

/// What the rows of an array are compared with.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a, T> {
    /// A class number for each row.
    Classes(&'a [i64]),
    /// As many numbers as outputs for each row.
    Dense(&'a [T]),
}

/// What becomes of the losses of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Σ wᵢcᵢlᵢ / Σ wᵢcᵢ.
    Mean,
    /// Σ wᵢcᵢlᵢ.
    Sum,
    /// Each wᵢcᵢlᵢ; as gradient that of their sum.
    None,
}

impl FromStr for Reduction {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "mean" => Ok(Reduction::Mean),
            "sum" => Ok(Reduction::Sum),
            "none" => Ok(Reduction::None),
            other => Err(Error::Value(format!(
                "reduction is {other:?}; expected \"mean\", \"sum\" or \"none\""
            ))),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value<T> {
    Scalar(f64),
    Rows(Vec<T>),
}

/// The pass of a loss over an array, all of it checked.
pub struct Pass<'a, T> {
    pub loss: &'a Prepared<T>,
    pub rows: usize,
    pub outputs: usize,
    pub pred: &'a [T],
    pub targets: Targets<'a, T>,
    /// What each row's loss is multiplied by, if not by one.
    pub weights: Option<&'a [f64]>,
    /// What the gradient is divided by.
    pub divisor: f64,
}

impl<T: Element> Pass<'_, T> {
    /// What the gradients of some rows are multiplied by; all alike unless the rows are weighted.
    fn factors(&self, rows: Range<usize>, factors: &mut [T]) {
        if let Some(weights) = self.weights {
            for (factor, weight) in factors.iter_mut().zip(&weights[rows]) {
                *factor = T::from_f64(weight / self.divisor);
            }
        }
    }
}

/// Rows of one output that are computed in one go.
const TOGETHER: usize = 1024;

/// Panels of rows of a pass: their losses, and the gradient if wanted.
pub struct Panels<'a, T> {
    pub pass: &'a Pass<'a, T>,
    /// Panels; panel p has rows 16p to 16p + 15.
    pub range: Range<usize>,
    /// The unweighted losses of the range's rows; of no meaning afterwards unless `value` is set.
    pub losses: &'a mut [T],
    pub value: bool,
    /// The gradient of the range's rows, row-major.
    pub gradient: Option<&'a mut [T]>,
    /// At least [`Panels::scratch_len`] elements.
    pub scratch: &'a mut [T],
}

impl<T> Panels<'_, T> {
    /// Elements that the panels of so many outputs need: outputs, targets and gradient.
    pub fn scratch_len(outputs: usize) -> usize {
        3 * outputs * PANEL
    }
}

impl<T: Element> Kernel for Panels<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Panels {
            pass,
            range,
            losses,
            value,
            mut gradient,
            scratch,
        } = self;
        let outputs = pass.outputs;
        let start = range.start * PANEL;
        if let (true, Targets::Dense(targets)) = (pass.loss.is_single(), pass.targets) {
            let end = pass.rows.min(range.end * PANEL);
            let mut factors = [T::from_f64(1.0 / pass.divisor); TOGETHER];
            for first in (start..end).step_by(TOGETHER) {
                let rows = first..end.min(first + TOGETHER);
                let here = rows.start - start..rows.end - start;
                if gradient.is_some() {
                    pass.factors(rows.clone(), &mut factors);
                }
                singles(
                    simd,
                    pass.loss,
                    &pass.pred[rows.clone()],
                    &targets[rows.clone()],
                    &factors[..rows.len()],
                    value.then_some(&mut losses[here.clone()]),
                    gradient.as_mut().map(|gradient| &mut gradient[here]),
                );
            }
            return;
        }
        if let (true, Targets::Classes(labels)) = (pass.loss.picks_classes(), pass.targets) {
            let mut factor = [T::from_f64(1.0 / pass.divisor)];
            if let Some(gradient) = &mut gradient {
                gradient.fill(T::ZERO);
            }
            for (here, row) in (start..pass.rows.min(range.end * PANEL)).enumerate() {
                let class = labels[row] as usize;
                losses[here] = -pass.pred[row * outputs + class];
                if let Some(gradient) = &mut gradient {
                    pass.factors(row..row + 1, &mut factor);
                    gradient[here * outputs + class] = T::ZERO - factor[0];
                }
            }
            return;
        }
        let (z, rest) = scratch.split_at_mut(outputs * PANEL);
        let (t, rest) = rest.split_at_mut(outputs * PANEL);
        let dz = &mut rest[..outputs * PANEL];
        for number in range {
            let first = number * PANEL;
            let rows = first..pass.rows.min(first + PANEL);
            let elements = rows.start * outputs..rows.end * outputs;
            panel_from_rows(simd, outputs, &pass.pred[elements.clone()], z);
            let targets = match pass.targets {
                Targets::Classes(labels) => PanelTargets::Classes(&labels[rows.clone()]),
                Targets::Dense(values) => {
                    panel_from_rows(simd, outputs, &values[elements], t);
                    PanelTargets::Dense(t)
                }
            };
            let mut factors = [T::from_f64(1.0 / pass.divisor); PANEL];
            pass.factors(rows.clone(), &mut factors);
            let mut found = [T::ZERO; PANEL];
            let here = rows.start - start..rows.end - start;
            let wanted = gradient.is_some().then_some(&mut *dz);
            panel(
                simd, pass.loss, outputs, z, targets, &factors, &mut found, wanted,
            );
            if let Some(gradient) = &mut gradient {
                let out = &mut gradient[here.start * outputs..here.end * outputs];
                rows_from_panel(simd, outputs, dz, out);
            }
            losses[here.clone()].copy_from_slice(&found[..here.len()]);
        }
    }
}

/// The loss of `pred` (rows × outputs).
///
/// # Errors
/// Lengths that do not fit; targets, predictions or weights out of range; a mean of no rows.
pub fn value<T: Element>(
    isa: Isa,
    loss: &Loss,
    rows: usize,
    outputs: usize,
    pred: &[T],
    targets: Targets<'_, T>,
    sample_weight: Option<&[f64]>,
    reduction: Reduction,
) -> Result<Value<T>> {
    let call = Call {
        loss,
        rows,
        outputs,
        pred,
        targets,
        sample_weight,
        reduction,
    };
    call.run(isa, true, None)
}

/// Writes the gradient of [`value`] with respect to `pred`; for [`Reduction::None`] that of the sum.
///
/// # Errors
/// As [`value`]; nothing is written then.
pub fn gradient<T: Element>(
    isa: Isa,
    loss: &Loss,
    rows: usize,
    outputs: usize,
    pred: &[T],
    targets: Targets<'_, T>,
    sample_weight: Option<&[f64]>,
    reduction: Reduction,
    out: &mut [T],
) -> Result<()> {
    let call = Call {
        loss,
        rows,
        outputs,
        pred,
        targets,
        sample_weight,
        reduction,
    };
    call.run(isa, false, Some(out)).map(|_| ())
}

/// [`value`] and [`gradient`] in one pass.
///
/// # Errors
/// As [`value`]; nothing is written then.
pub fn value_and_gradient<T: Element>(
    isa: Isa,
    loss: &Loss,
    rows: usize,
    outputs: usize,
    pred: &[T],
    targets: Targets<'_, T>,
    sample_weight: Option<&[f64]>,
    reduction: Reduction,
    out: &mut [T],
) -> Result<Value<T>> {
    let call = Call {
        loss,
        rows,
        outputs,
        pred,
        targets,
        sample_weight,
        reduction,
    };
    call.run(isa, true, Some(out))
}

/// Floating-point operations that an element of a loss is reckoned to cost.
const LOSS_FLOPS: f64 = 40.0;

struct Call<'a, T> {
    loss: &'a Loss,
    rows: usize,
    outputs: usize,
    pred: &'a [T],
    targets: Targets<'a, T>,
    sample_weight: Option<&'a [f64]>,
    reduction: Reduction,
}

impl<T: Element> Call<'_, T> {
    fn check(&self, out: Option<usize>) -> Result<()> {
        let (rows, outputs) = (self.rows, self.outputs);
        let elements = rows.checked_mul(outputs).ok_or_else(|| {
            Error::Value(format!(
                "pred has shape ({rows}, {outputs}), more than memory holds"
            ))
        })?;
        let target = match self.targets {
            Targets::Classes(labels) => (labels.len(), rows),
            Targets::Dense(values) => (values.len(), elements),
        };
        let lengths = [
            ("pred", self.pred.len(), elements),
            ("target", target.0, target.1),
            (
                "sample_weight",
                self.sample_weight.map_or(rows, <[f64]>::len),
                rows,
            ),
            ("out", out.unwrap_or(elements), elements),
        ];
        for (name, length, expected) in lengths {
            if length != expected {
                return Err(Error::Shape(format!(
                    "{name} has {length} elements; expected {expected} for pred of shape ({rows}, {outputs})"
                )));
            }
        }
        if rows == 0 && self.reduction == Reduction::Mean {
            return Err(Error::Value(
                "pred has no rows; the mean loss of none is undefined".into(),
            ));
        }
        match self.targets {
            Targets::Classes(labels) => self.loss.check_labels(outputs, labels, None)?,
            Targets::Dense(values) => self.loss.check_dense(outputs, values)?,
        }
        self.loss.check_pred(outputs, self.pred)
    }

    /// The value, of no meaning unless it is wanted, and the gradient if there is a place for it.
    fn run(&self, isa: Isa, value: bool, gradient: Option<&mut [T]>) -> Result<Value<T>> {
        let prepared = self.loss.prepare::<T>(self.outputs)?;
        self.check(gradient.as_ref().map(|out| out.len()))?;
        let (rows, outputs) = (self.rows, self.outputs);
        let labels = match self.targets {
            Targets::Classes(labels) => Some(labels),
            Targets::Dense(_) => None,
        };
        let mut weights = Vec::new();
        let mut total = rows as f64;
        if self.sample_weight.is_some() || (labels.is_some() && self.loss.is_weighted()) {
            weights.resize(rows, 0.0);
            total = self
                .loss
                .row_weights(labels, None, rows, self.sample_weight, &mut weights)?;
        }
        let weights = (!weights.is_empty()).then_some(&weights[..]);
        let mean = self.reduction == Reduction::Mean;
        let pass = Pass {
            loss: &prepared,
            rows,
            outputs,
            pred: self.pred,
            targets: self.targets,
            weights,
            divisor: if mean { total } else { 1.0 },
        };
        let each = value && self.reduction == Reduction::None;
        let mut losses = vec![T::ZERO; if each { rows } else { 0 }];
        let mut sums = vec![[0.0; CHUNKS]; if each { 0 } else { rows.div_ceil(GROUP) }];
        let (each_loss, each_sum) = (Shared::new(&mut losses), Shared::new(&mut sums));
        let gradient = gradient.map(Shared::new);
        pool::run((rows * outputs) as f64 * LOSS_FLOPS, &|member| {
            let scratch_len = Panels::<T>::scratch_len(outputs);
            with_scratch(scratch_len + GROUP, |scratch| {
                let (scratch, own) = scratch.split_at_mut(scratch_len);
                for group in member.share(rows.div_ceil(GROUP)) {
                    let here = group * GROUP..rows.min((group + 1) * GROUP);
                    let here_len = here.len();
                    let elements = here.start * outputs..here.end * outputs;
                    isa.run(Panels {
                        pass: &pass,
                        range: here.start / PANEL..here.end.div_ceil(PANEL),
                        losses: &mut own[..here_len],
                        value,
                        // SAFETY: the shares of groups are disjoint; so below.
                        gradient: gradient
                            .map(|gradient| unsafe { gradient.write(elements.clone()) }),
                        scratch,
                    });
                    let weights = weights.map(|weights| &weights[here.clone()]);
                    if !value {
                        continue;
                    }
                    if each {
                        // SAFETY: as above.
                        let out = unsafe { each_loss.write(here) };
                        for (r, (out, loss)) in out.iter_mut().zip(&*own).enumerate() {
                            *out = weights.map_or(*loss, |weights| {
                                T::from_f64(weigh(weights[r], loss.to_f64()))
                            });
                        }
                    } else {
                        // SAFETY: as above.
                        let sums = unsafe { &mut each_sum.write(group..group + 1)[0] };
                        *sums = isa.run(SumChunks {
                            losses: &own[..here_len],
                            weights,
                            upcoming: [
                                &self.pred[elements.end..],
                                match self.targets {
                                    Targets::Dense(targets) => &targets[elements.end..],
                                    Targets::Classes(_) => &[],
                                },
                            ],
                        });
                    }
                }
            });
        });
        if each {
            return Ok(Value::Rows(losses));
        }
        let chunks = &sums.as_flattened()[..rows.div_ceil(CHUNK)];
        let sum = chunks.iter().fold(0.0, |total, sum| total + sum);
        Ok(Value::Scalar(if mean { sum / total } else { sum }))
    }
}
