//! One rule over flat slices.

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
            clips: clip.scale != V::Element::ONE || clip.limit.is_finite(),
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
    let clip = ClipVectors::new(simd, clip);
    sweep_row(simd, rule, clip, weights, gradient, slots);
}

/// [`sweep`] with the clipping in registers already.
///
/// # Panics
/// If the lengths differ.
#[inline(always)]
pub fn sweep_row<S: Simd, T: Element, R: VectorRule<T::Vector<S>, K>, const K: usize>(
    simd: S,
    rule: R,
    clip: ClipVectors<T::Vector<S>>,
    weights: &mut [T],
    gradient: &[T],
    slots: [&mut [T]; K],
) {
    let lanes = T::Vector::<S>::LANES;
    let length = weights.len();
    assert!(gradient.len() == length && slots.iter().all(|slot| slot.len() == length));
    let mut at = 0;
    while at + lanes <= length {
        let weight = T::Vector::<S>::load_slice(simd, &weights[at..]);
        let gradient = clip.apply(T::Vector::<S>::load_slice(simd, &gradient[at..]));
        let mut state = [weight; K];
        for k in 0..K {
            state[k] = T::Vector::<S>::load_slice(simd, &slots[k][at..]);
        }
        let (weight, state) = rule.update(weight, gradient, state);
        weight.store_slice(&mut weights[at..]);
        for k in 0..K {
            state[k].store_slice(&mut slots[k][at..]);
        }
        at += lanes;
    }
    if at < length {
        let weight = T::Vector::<S>::load_tail(simd, &weights[at..]);
        let gradient = clip.apply(T::Vector::<S>::load_tail(simd, &gradient[at..]));
        let mut state = [weight; K];
        for k in 0..K {
            state[k] = T::Vector::<S>::load_tail(simd, &slots[k][at..]);
        }
        let (weight, state) = rule.update(weight, gradient, state);
        weight.store_tail(&mut weights[at..]);
        for k in 0..K {
            state[k].store_tail(&mut slots[k][at..]);
        }
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
