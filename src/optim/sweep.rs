//! One rule over flat memory.

#![allow(unsafe_code)]

use super::{Optimizer, Slots};
use crate::simd::{Element, Kernel, Simd, Vector};

/// What happens to a gradient before it is used: multiplied by `scale`, then held within ±`limit`.
#[derive(Clone, Copy, Debug)]
pub struct Clip<T> {
    pub scale: T,
    pub limit: T,
}

impl<T: Element> Clip<T> {
    /// Leaves every gradient as it is.
    pub fn none() -> Self {
        Self::new(1.0, None)
    }

    /// Whether it leaves every gradient as it is.
    pub fn is_none(&self) -> bool {
        self.scale == T::ONE && !self.limit.is_finite()
    }

    /// `scale` from [`super::clip_scale`], or 1; `limit` of clipping by value.
    pub fn new(scale: f64, limit: Option<f64>) -> Self {
        Self {
            scale: T::from_f64(scale),
            limit: T::from_f64(limit.unwrap_or(f64::INFINITY)),
        }
    }
}

/// A [`Clip`] in registers. NaN stays NaN.
#[derive(Clone, Copy)]
pub struct ClipVectors<V> {
    scale: V,
    limit: V,
    /// Whether they change anything.
    clips: bool,
}

impl<V: Vector> ClipVectors<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, clip: Clip<V::Element>) -> Self {
        Self {
            scale: V::splat(simd, clip.scale),
            limit: V::splat(simd, clip.limit),
            clips: !clip.is_none(),
        }
    }

    #[inline(always)]
    pub fn apply(self, gradient: V) -> V {
        if self.clips {
            (-self.limit).greater(self.limit.lesser(gradient * self.scale))
        } else {
            gradient
        }
    }
}

/// How one vector of parameters and of `K` slots changes; `gradient` is clipped already.
pub trait VectorRule<V, const K: usize>: Copy {
    fn update(self, weight: V, gradient: V, slots: [V; K]) -> (V, [V; K]);
}

/// Applies a rule to slices of equal length.
///
/// # Panics
/// If their lengths differ.
#[inline(always)]
pub fn sweep<S: Simd, T: Element, R: VectorRule<T::Vector<S>, K>, const K: usize>(
    simd: S,
    rule: R,
    clip: Clip<T>,
    weights: &mut [T],
    gradient: &[T],
    slots: [&mut [T]; K],
) {
    let columns = weights.len();
    assert!(gradient.len() == columns && slots.iter().all(|slot| slot.len() == columns));
    let row = Rows {
        rows: 1,
        columns,
        weights: weights.as_mut_ptr(),
        slots: slots.map(|slot| slot.as_mut_ptr()),
        stride: columns,
        gradient: gradient.as_ptr(),
        gradient_stride: columns,
    };
    // SAFETY: slices of that length, borrowed for it.
    unsafe { sweep_rows(simd, rule, clip, row) }
}

/// Some rows and columns of a parameter, of its gradient and of its slots.
#[derive(Clone, Copy)]
pub struct Rows<T, const K: usize> {
    pub rows: usize,
    pub columns: usize,
    pub weights: *mut T,
    pub slots: [*mut T; K],
    /// From a row to the next one, of the parameter and of the slots.
    pub stride: usize,
    pub gradient: *const T,
    pub gradient_stride: usize,
}

/// Applies a rule to rows. Plain addresses, not a slice a row: of two vectors in a row a slice takes half as long again.
///
/// # Safety
/// The elements lie in memory that may be read and, but for the gradient, written, with no other thread at it.
#[inline(always)]
pub unsafe fn sweep_rows<S: Simd, T: Element, R: VectorRule<T::Vector<S>, K>, const K: usize>(
    simd: S,
    rule: R,
    clip: Clip<T>,
    at: Rows<T, K>,
) {
    let lanes = T::Vector::<S>::LANES;
    let clip = ClipVectors::new(simd, clip);
    // SAFETY: both the caller's.
    unsafe {
        if at.columns == 2 * lanes {
            // The columns of a product's tile: known, so that the compiler writes both vectors out.
            sweep_columns(simd, rule, clip, at, 2 * lanes);
        } else {
            sweep_columns(simd, rule, clip, at, at.columns);
        }
    }
}

/// # Safety
/// As [`sweep_rows`], of the first `columns` columns.
#[inline(always)]
unsafe fn sweep_columns<S: Simd, T: Element, R: VectorRule<T::Vector<S>, K>, const K: usize>(
    simd: S,
    rule: R,
    clip: ClipVectors<T::Vector<S>>,
    mut at: Rows<T, K>,
    columns: usize,
) {
    let lanes = T::Vector::<S>::LANES;
    let whole = columns / lanes * lanes;
    for _ in 0..at.rows {
        // SAFETY: the caller's.
        unsafe {
            for column in (0..whole).step_by(lanes) {
                let weight = T::Vector::<S>::load(simd, at.weights.add(column));
                let gradient = T::Vector::<S>::load(simd, at.gradient.add(column));
                let mut state = [weight; K];
                for (state, slot) in state.iter_mut().zip(at.slots) {
                    *state = T::Vector::<S>::load(simd, slot.add(column));
                }
                let (weight, state) = rule.update(weight, clip.apply(gradient), state);
                weight.store(at.weights.add(column));
                for (state, slot) in state.into_iter().zip(at.slots) {
                    state.store(slot.add(column));
                }
            }
            if whole < columns {
                let count = columns - whole;
                let weight = T::Vector::<S>::load_partial(simd, at.weights.add(whole), count);
                let gradient = T::Vector::<S>::load_partial(simd, at.gradient.add(whole), count);
                let mut state = [weight; K];
                for (state, slot) in state.iter_mut().zip(at.slots) {
                    *state = T::Vector::<S>::load_partial(simd, slot.add(whole), count);
                }
                let (weight, state) = rule.update(weight, clip.apply(gradient), state);
                weight.store_partial(at.weights.add(whole), count);
                for (state, slot) in state.into_iter().zip(at.slots) {
                    state.store_partial(slot.add(whole), count);
                }
            }
        }
        at.weights = at.weights.wrapping_add(at.stride);
        for slot in &mut at.slots {
            *slot = slot.wrapping_add(at.stride);
        }
        at.gradient = at.gradient.wrapping_add(at.gradient_stride);
    }
}

/// [`Optimizer::update`] as a kernel.
pub struct Update<'a, T> {
    pub optimizer: &'a Optimizer<T>,
    pub clip: Clip<T>,
    pub first: usize,
    pub weights: &'a mut [T],
    pub gradient: &'a [T],
    pub slots: Slots<'a, T>,
}

impl<T: Element> Kernel for Update<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            optimizer,
            clip,
            first,
            weights,
            gradient,
            slots,
        } = self;
        optimizer.update(simd, clip, first, weights, gradient, slots);
    }
}
