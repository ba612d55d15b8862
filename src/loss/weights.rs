//! How much each row counts, and the weighted sum of the losses.

use super::{Loss, LossKind};
use crate::error::{Error, Result};
use crate::gemm::CHUNK;
use crate::simd::Element;

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
        let row = |r: usize| picks.map_or(r, |picks| picks[r] as usize);
        let classes = labels.zip(self.class_weight.as_deref());
        let inside = matches!(self.kind, LossKind::CrossEntropy { label_smoothing } if label_smoothing > 0.0);
        let mut total = 0.0;
        for (chunk, out) in out.chunks_mut(CHUNK).enumerate() {
            let mut sum = 0.0;
            for (r, out) in out.iter_mut().enumerate() {
                let row = row(chunk * CHUNK + r);
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

/// Chunks that are summed side by side: a chain waits for each of its additions.
const TOGETHER: usize = 8;
/// Rows in so many chunks.
pub(super) const GROUP: usize = TOGETHER * CHUNK;

/// Σ wᵢlᵢ, or Σ lᵢ: in float64, in chunks of 256 rows, joined in order. A weight of zero makes any loss zero.
///
/// # Panics
/// If there are fewer weights than losses.
pub fn sum_losses<T: Element>(losses: &[T], weights: Option<&[f64]>) -> f64 {
    let mut total = 0.0;
    for (group, losses) in losses.chunks(GROUP).enumerate() {
        let weights = weights.map(|weights| &weights[group * GROUP..][..losses.len()]);
        let sums = sum_chunks(losses, weights);
        let chunks = &sums[..losses.len().div_ceil(CHUNK)];
        chunks.iter().for_each(|sum| total += sum);
    }
    total
}

/// The sums of the chunks of a group, or of as many as there are.
///
/// # Panics
/// If there are more losses than a group has, or another number of weights.
pub(super) fn sum_chunks<T: Element>(losses: &[T], weights: Option<&[f64]>) -> [f64; TOGETHER] {
    let mut sums = [0.0; TOGETHER];
    match weights {
        None => {
            let (whole, rest) = losses.split_at(losses.len() / CHUNK * CHUNK);
            macro_rules! side_by_side {
                ($($n:literal)*) => {
                    match whole.len() / CHUNK {
                        $($n => side_by_side::<T, $n>(whole, &mut sums),)*
                        0 => {}
                        _ => panic!("more losses than a group has"),
                    }
                };
            }
            side_by_side!(1 2 3 4 5 6 7 8);
            if !rest.is_empty() {
                sums[whole.len() / CHUNK] = rest.iter().fold(0.0, |sum, l| sum + l.to_f64());
            }
        }
        Some(weights) => {
            assert!(losses.len() <= GROUP && weights.len() == losses.len());
            let chunks = losses.chunks(CHUNK).zip(weights.chunks(CHUNK));
            for (sum, (losses, weights)) in sums.iter_mut().zip(chunks) {
                let terms = losses
                    .iter()
                    .zip(weights)
                    .map(|(l, &w)| weigh(w, l.to_f64()));
                *sum = terms.fold(0.0, |sum, term| sum + term);
            }
        }
    }
    sums
}

/// Sums of N whole chunks.
fn side_by_side<T: Element, const N: usize>(losses: &[T], sums: &mut [f64; TOGETHER]) {
    let mut found = [0.0; N];
    for r in 0..CHUNK {
        for (chunk, sum) in found.iter_mut().enumerate() {
            *sum += losses[chunk * CHUNK + r].to_f64();
        }
    }
    sums[..N].copy_from_slice(&found);
}

/// A row of weight zero has no influence, whatever its loss.
#[inline(always)]
pub(super) fn weigh(weight: f64, loss: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { weight * loss }
}
