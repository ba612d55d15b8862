//! Hinge and perceptron: a row counts until its margin is reached.
//!
//! A loss of exactly 0 = margin − z_y + max is still inside: its subgradient is that of the sloping side, as in
//! scikit-learn, so that a perceptron starts from weights of zero. Of several largest rivals the first is meant.

use super::pointwise::Rule;
use super::prepared::{View, numbers};
use crate::gemm::PANEL;
use crate::lanes::{load, store};
use crate::simd::{Arithmetic, Element, Simd, Vector};

/// One output: max(0, margin − s·z), s = 1 for t > 0, else −1.
#[derive(Clone, Copy)]
pub(super) struct OneOutput<T>(pub T);

impl<T: Element> Rule<T> for OneOutput<T> {
    #[inline(always)]
    fn at<V: Arithmetic<Element = T>>(self, simd: V::Simd, _: usize, z: V, t: V) -> (V, V) {
        let (zero, one) = (V::zero(simd), V::splat(simd, T::ONE));
        let sign = V::select(zero.lt(t), one, -one);
        let slack = V::splat(simd, self.0) - sign * z;
        let met = slack.lt(zero);
        (V::select(met, zero, slack), V::select(met, zero, -sign))
    }
}

/// Class numbers: max(0, margin − z_y + max over j ≠ y of zⱼ).
#[inline(always)]
pub(super) fn of_classes<S: Simd, T: Element>(
    simd: S,
    margin: T,
    labels: &[i64],
    view: &mut View<'_, T>,
) {
    let zero = T::Vector::<S>::zero(simd);
    let numbers = numbers(labels);
    let mut own = [T::ZERO; PANEL];
    for (own, (r, &label)) in own.iter_mut().zip(labels.iter().enumerate()) {
        *own = view.z[label as usize][r];
    }
    for at in (0..PANEL).step_by(T::Vector::<S>::LANES) {
        let label = load::<T::Vector<S>>(simd, &numbers, at);
        let mut best = T::Vector::<S>::splat(simd, T::from_f64(f64::NEG_INFINITY));
        let mut rival = T::Vector::<S>::splat(simd, -T::ONE);
        for (j, z) in view.z.iter().enumerate() {
            let class = T::Vector::<S>::splat(simd, T::from_f64(j as f64));
            let z = load::<T::Vector<S>>(simd, z, at);
            // A NaN becomes the best and stays.
            let better = (best.lt(z) | z.is_nan()) & !class.eq(label);
            best = T::Vector::<S>::select(better, z, best);
            rival = T::Vector::<S>::select(better, class, rival);
        }
        let own = load::<T::Vector<S>>(simd, &own, at);
        let slack = (T::Vector::<S>::splat(simd, margin) - own) + best;
        let met = slack.lt(zero);
        store(T::Vector::<S>::select(met, zero, slack), view.losses, at);
        if let Some(dz) = &mut view.dz {
            let factor = load::<T::Vector<S>>(simd, view.factors, at);
            let factor = T::Vector::<S>::select(met, zero, factor);
            for (j, dz) in dz.iter_mut().enumerate() {
                let class = T::Vector::<S>::splat(simd, T::from_f64(j as f64));
                let up = T::Vector::<S>::select(class.eq(rival), factor, zero);
                store(T::Vector::<S>::select(class.eq(label), -factor, up), dz, at);
            }
        }
    }
}
