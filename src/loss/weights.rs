//! How much each row counts.

use super::{Loss, LossKind};
use crate::error::{Error, Result};
use crate::gemm::CHUNK;
use crate::gemm::pack::picked;

fn counts(weight: f64) -> bool {
    weight >= 0.0 && weight.is_finite()
}

/// # Errors
/// A weight that is negative or not finite; none above zero.
pub(super) fn check(name: &str, weights: &[f64]) -> Result<()> {
    if let Some(i) = weights.iter().position(|&w| !counts(w)) {
        return Err(Error::Value(format!(
            "{name}[{i}] is {}; expected a finite number of at least 0",
            weights[i]
        )));
    }
    if !weights.iter().any(|&w| w > 0.0) {
        return Err(Error::Value(format!(
            "{name} has {} values and none is above 0; expected at least one",
            weights.len()
        )));
    }
    Ok(())
}

impl Loss {
    /// What the loss of every row is multiplied by, wᵢcᵢ, and what the mean is divided by, Σ wᵢcᵢ.
    ///
    /// Row r of the batch is row `picks[r]` of `labels` and `sample_weight`, or row r itself. Where cross-entropy mixes
    /// classes (smoothed labels) the class weights are part of the row's loss: then rows are multiplied by wᵢ alone,
    /// while the divisor stays Σ wᵢcᵢ, as in torch.
    ///
    /// # Errors
    /// A weight that is negative or not finite; no weight above zero.
    ///
    /// # Panics
    /// If `out` has not `rows` elements, a slice is too short, or a label has no class weight.
    pub fn row_weights(
        &self,
        labels: Option<&[i64]>,
        picks: Option<&[u32]>,
        rows: usize,
        sample_weight: Option<&[f64]>,
        out: &mut [f64],
    ) -> Result<f64> {
        assert!(out.len() == rows && picks.is_none_or(|picks| picks.len() >= rows));
        let classes = labels.zip(self.class_weight.as_deref());
        let inside = matches!(self.kind, LossKind::CrossEntropy { label_smoothing } if label_smoothing > 0.0);
        let mut total = 0.0;
        for (chunk, out) in out.chunks_mut(CHUNK).enumerate() {
            let mut sum = 0.0;
            for (r, out) in out.iter_mut().enumerate() {
                let row = picked(picks, chunk * CHUNK + r);
                let weight = sample_weight.map_or(1.0, |weights| weights[row]);
                if !counts(weight) {
                    return Err(Error::Value(format!(
                        "sample_weight[{row}] is {weight}; expected a finite number of at least 0"
                    )));
                }
                let class = classes.map_or(1.0, |(labels, weights)| weights[labels[row] as usize]);
                *out = if inside { weight } else { weight * class };
                sum += weight * class;
            }
            total += sum;
        }
        if rows > 0 && !(total > 0.0 && total.is_finite()) {
            return Err(Error::Value(format!(
                "the weights of the batch's {rows} rows (sample_weight times class_weight) sum to {total}; expected a \
                 finite number above 0"
            )));
        }
        Ok(total)
    }
}

/// A row of weight zero has no influence, whatever its loss.
#[inline(always)]
pub(super) fn weigh(weight: f64, loss: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { weight * loss }
}
