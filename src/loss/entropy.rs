//! Cross-entropy of logits, and the negative log-likelihood of log-probabilities.
//!
//! With m the maximum of a row and s = Σ exp(zⱼ − m): −log pⱼ = log s − (zⱼ − m), pⱼ = exp(zⱼ − m) / s.

use super::prepared::{Prepared, View};
use crate::gemm::PANEL;
use crate::lanes::{Feature, PanelSum, load, store};
use crate::math::Math;
use crate::simd::{Element, Simd, Vector};
use crate::softmax::maxima;

/// Whether cross-entropy is that of a class number alone, unweighted within the row and not smoothed.
#[inline(always)]
pub(super) fn is_plain<T: Element>(loss: &Prepared<T>) -> bool {
    loss.parameter == T::ZERO
}

/// The maxima of the rows at `at`, and s; the exponentials go to `exponentials`.
#[inline(always)]
fn exponentials<V: Vector>(
    simd: V::Simd,
    z: &[Feature<V::Element>],
    at: usize,
    exponentials: Option<&mut [Feature<V::Element>]>,
) -> (V, V) {
    let max = maxima::<V>(simd, z, at);
    let mut sum = PanelSum::new(simd);
    match exponentials {
        Some(exponentials) => {
            for (j, (z, e)) in z.iter().zip(exponentials).enumerate() {
                let value = (load::<V>(simd, z, at) - max).exp_nonpositive(simd);
                sum.add(j, value);
                store(value, e, at);
            }
        }
        None => {
            for (j, z) in z.iter().enumerate() {
                sum.add(j, (load::<V>(simd, z, at) - max).exp_nonpositive(simd));
            }
        }
    }
    (max, sum.total(z.len()))
}

/// Class numbers: −log p_y, whose gradient is p, less 1 at y.
#[inline(always)]
pub(super) fn of_classes<S: Simd, T: Element>(simd: S, labels: &[i64], view: &mut View<'_, T>) {
    let z = view.z;
    let mut logit = [T::ZERO; PANEL];
    for (logit, (r, &label)) in logit.iter_mut().zip(labels.iter().enumerate()) {
        *logit = z[label as usize][r];
    }
    let one = T::Vector::<S>::splat(simd, T::ONE);
    let mut at_label = [T::ZERO; PANEL];
    for at in (0..PANEL).step_by(T::Vector::<S>::LANES) {
        let (max, sum) = exponentials::<T::Vector<S>>(simd, z, at, view.dz.as_deref_mut());
        let shifted = load::<T::Vector<S>>(simd, &logit, at) - max;
        store(sum.log(simd) - shifted, view.losses, at);
        if let Some(dz) = &mut view.dz {
            let factor = load::<T::Vector<S>>(simd, view.factors, at);
            let scale = one / sum;
            for (r, &label) in labels
                .iter()
                .enumerate()
                .skip(at)
                .take(T::Vector::<S>::LANES)
            {
                at_label[r] = dz[label as usize][r];
            }
            for dz in &mut **dz {
                store(load::<T::Vector<S>>(simd, dz, at) * scale * factor, dz, at);
            }
            let p = load::<T::Vector<S>>(simd, &at_label, at) * scale;
            store((p - one) * factor, &mut at_label, at);
        }
    }
    if let Some(dz) = &mut view.dz {
        for (r, &label) in labels.iter().enumerate() {
            dz[label as usize][r] = at_label[r];
        }
    }
}

/// The share that each class has in a row's target.
pub(super) trait Shares<T: Element>: Copy {
    /// Class `j`'s, of the rows at `at`.
    fn at<V: Vector<Element = T>>(self, simd: V::Simd, j: usize, at: usize) -> V;
}

#[derive(Clone, Copy)]
pub(super) struct Dense<'a, T>(pub &'a [Feature<T>]);

impl<T: Element> Shares<T> for Dense<'_, T> {
    #[inline(always)]
    fn at<V: Vector<Element = T>>(self, simd: V::Simd, j: usize, at: usize) -> V {
        load(simd, &self.0[j], at)
    }
}

/// Class numbers as elements.
#[derive(Clone, Copy)]
pub(super) struct OneHot<'a, T>(pub &'a Feature<T>);

impl<T: Element> Shares<T> for OneHot<'_, T> {
    #[inline(always)]
    fn at<V: Vector<Element = T>>(self, simd: V::Simd, j: usize, at: usize) -> V {
        let class = V::splat(simd, T::from_f64(j as f64));
        let label = load::<V>(simd, self.0, at);
        V::select(label.eq(class), V::splat(simd, T::ONE), V::zero(simd))
    }
}

/// Shares smoothed and weighted by class.
#[inline(always)]
fn mixed<V: Vector, Q: Shares<V::Element>>(
    simd: V::Simd,
    loss: &Prepared<V::Element>,
    shares: Q,
    j: usize,
    at: usize,
) -> V {
    let mut share = shares.at::<V>(simd, j, at);
    if loss.parameter != V::Element::ZERO {
        let classes = V::Element::from_f64(loss.outputs as f64);
        let rest = V::splat(simd, V::Element::ONE - loss.parameter);
        share = share.mul_add(rest, V::splat(simd, loss.parameter / classes));
    }
    match loss.class_weight.get(j) {
        Some(&weight) => share * V::splat(simd, weight),
        None => share,
    }
}

/// Shares q of all classes: −Σ qⱼ log pⱼ, whose gradient is p·Σq − q. A share of 0 counts as 0 even where p is 0.
#[inline(always)]
pub(super) fn of_shares<S: Simd, T: Element, Q: Shares<T>>(
    simd: S,
    loss: &Prepared<T>,
    shares: Q,
    view: &mut View<'_, T>,
) {
    let z = view.z;
    let zero = T::Vector::<S>::zero(simd);
    for at in (0..PANEL).step_by(T::Vector::<S>::LANES) {
        let (max, sum) = exponentials::<T::Vector<S>>(simd, z, at, view.dz.as_deref_mut());
        let log_sum = sum.log(simd);
        let mut entropy = PanelSum::new(simd);
        let mut whole = PanelSum::new(simd);
        for (j, z) in z.iter().enumerate() {
            let q = mixed::<T::Vector<S>, Q>(simd, loss, shares, j, at);
            let surprise = log_sum - (load::<T::Vector<S>>(simd, z, at) - max);
            entropy.mul_add(j, q, T::Vector::<S>::select(q.eq(zero), zero, surprise));
            whole.add(j, q);
        }
        store(entropy.total(z.len()), view.losses, at);
        if let Some(dz) = &mut view.dz {
            let factor = load::<T::Vector<S>>(simd, view.factors, at);
            let scale = T::Vector::<S>::splat(simd, T::ONE) / sum;
            let whole = whole.total(z.len());
            for (j, dz) in dz.iter_mut().enumerate() {
                let q = mixed::<T::Vector<S>, Q>(simd, loss, shares, j, at);
                let p = load::<T::Vector<S>>(simd, dz, at) * scale;
                store(p.mul_add(whole, -q) * factor, dz, at);
            }
        }
    }
}

/// Log-probabilities: −z_y.
#[inline(always)]
pub(super) fn of_log_probabilities<T: Element>(labels: &[i64], view: &mut View<'_, T>) {
    *view.losses = [T::ZERO; PANEL];
    for (r, &label) in labels.iter().enumerate() {
        view.losses[r] = -view.z[label as usize][r];
    }
    if let Some(dz) = &mut view.dz {
        dz.fill([T::ZERO; PANEL]);
        for (r, &label) in labels.iter().enumerate() {
            dz[label as usize][r] = -view.factors[r];
        }
    }
}
