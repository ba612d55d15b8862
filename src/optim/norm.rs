//! The norm of a flat gradient, for clipping.
//!
//! The order of the sum: chunks of 4,096 elements; in a chunk the virtual lanes of a sum along a row (16 in float32,
//! 8 in float64), lane l taking the elements l, l + lanes, … in one fused chain, lanes joined by halves; chunks joined
//! in index order in float64. Chunks begin anew where parameters that are not trained lie between.

use super::Optimizer;
use crate::simd::{Arithmetic, Element, Mask, Simd, Vector};

/// Σ g² of at most one chunk, rounded to the element type.
#[inline(always)]
pub fn squared_norm_of_chunk<S: Simd, T: Element>(simd: S, chunk: &[T]) -> f64 {
    let lanes = T::Vector::<S>::LANES;
    let vectors = T::ROW_LANES / lanes;
    let mut sums = [T::Vector::<S>::zero(simd); 4];
    let mut groups = chunk.chunks_exact(T::ROW_LANES);
    for group in &mut groups {
        for (sum, part) in sums[..vectors].iter_mut().zip(group.chunks_exact(lanes)) {
            let x = T::Vector::<S>::load_slice(simd, part);
            *sum = x.mul_add(x, *sum);
        }
    }
    for (sum, part) in sums[..vectors]
        .iter_mut()
        .zip(groups.remainder().chunks(lanes))
    {
        let x = T::Vector::<S>::load_tail(simd, part);
        *sum = x.mul_add(x, *sum);
    }
    let mut values = [T::ZERO; 16];
    for (sum, values) in sums[..vectors].iter().zip(values.chunks_exact_mut(lanes)) {
        sum.store_slice(values);
    }
    let mut half = T::ROW_LANES / 2;
    while half > 0 {
        for lane in 0..half {
            values[lane] = values[lane] + values[lane + half];
        }
        half /= 2;
    }
    values[0].to_f64()
}

/// Σ g² over an optimiser's parameters.
///
/// Where the squares of finite elements overflow, it is summed again in float64 throughout, so that the result is
/// infinite or NaN only if an element is, or if float64 overflows as well.
#[inline(always)]
pub fn squared_norm<S: Simd, T: Element>(simd: S, optimizer: &Optimizer<T>, gradient: &[T]) -> f64 {
    let mut sum = 0.0;
    for chunk in optimizer.norm_chunks() {
        sum += squared_norm_of_chunk(simd, &gradient[chunk.clone()]);
    }
    if sum < f64::INFINITY {
        sum
    } else {
        wide_squared_norm(optimizer, gradient)
    }
}

/// As [`squared_norm`], in float64 from the start: every chunk one chain.
#[cold]
pub fn wide_squared_norm<T: Element>(optimizer: &Optimizer<T>, gradient: &[T]) -> f64 {
    let mut sum = 0.0;
    for chunk in optimizer.norm_chunks() {
        let mut part = 0.0;
        for element in &gradient[chunk.clone()] {
            part += element.to_f64() * element.to_f64();
        }
        sum += part;
    }
    sum
}

/// What a gradient is multiplied by so that its norm is at most `max_norm`: as torch's `clip_grad_norm_`, which adds
/// 1e-6 to the norm.
pub fn clip_scale(squared_norm: f64, max_norm: f64) -> f64 {
    let scale = max_norm / (squared_norm.sqrt() + 1e-6);
    if scale > 1.0 { 1.0 } else { scale }
}

/// Whether no element is infinite or NaN.
#[inline(always)]
pub fn all_finite<S: Simd, T: Element>(simd: S, values: &[T]) -> bool {
    let lanes = T::Vector::<S>::LANES;
    let limit = T::Vector::<S>::splat(simd, T::from_f64(f64::INFINITY));
    for block in values.chunks(64 * lanes) {
        let mut finite = T::Vector::<S>::zero(simd).lt(limit);
        let mut parts = block.chunks_exact(lanes);
        for part in &mut parts {
            finite = finite & T::Vector::<S>::load_slice(simd, part).abs().lt(limit);
        }
        finite = finite
            & T::Vector::<S>::load_tail(simd, parts.remainder())
                .abs()
                .lt(limit);
        if (!finite).any() {
            return false;
        }
    }
    true
}
