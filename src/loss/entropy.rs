//! Cross-entropy of logits, and the negative log-likelihood of log-probabilities.
//!
//! With m the maximum of a row and s = Σ exp(zⱼ − m): −log pⱼ = log s − (zⱼ − m), pⱼ = exp(zⱼ − m) / s.

use super::prepared::{PanelTargets, Prepared, View, numbers};
use crate::gemm::PANEL;
use crate::lanes::{Feature, PanelSum, features, load, store};
use crate::math::Math;
use crate::simd::{Arithmetic, Element, Simd, Vector};
use crate::softmax::maxima;

/// The cross-entropy of the rows of a panel.
#[inline(always)]
pub(super) fn of_logits<S: Simd, T: Element>(
    simd: S,
    loss: &Prepared<T>,
    targets: PanelTargets<'_, T>,
    view: &mut View<'_, T>,
) {
    let mut maxima = [T::ZERO; PANEL];
    for at in (0..PANEL).step_by(T::Vector::<S>::LANES) {
        let dz = view.dz.as_deref_mut();
        let (max, sum) = exponentials::<T::Vector<S>>(simd, view.z, at, dz);
        let factor = load::<T::Vector<S>>(simd, view.factors, at);
        let scale = T::Vector::<S>::splat(simd, T::ONE) / sum * factor;
        let row = Rows {
            at,
            max,
            log_sum: sum.log(simd),
            factor,
            scale,
            least: T::Vector::<S>::splat(simd, T::MIN_POSITIVE) / scale,
        };
        store(max, &mut maxima, at);
        match targets {
            PanelTargets::Classes(_) if loss.parameter == T::ZERO => row.of_no_class(simd, view),
            PanelTargets::Classes(labels) => {
                row.of_shares(simd, loss, OneHot(&numbers(labels)), view);
            }
            PanelTargets::Dense(shares) => {
                let shares = features(shares, loss.outputs);
                row.of_shares(simd, loss, Dense(shares), view);
            }
        }
    }
    if let PanelTargets::Classes(labels) = targets
        && loss.parameter == T::ZERO
    {
        add_classes(labels, &maxima, view);
    }
}

/// The rest of what [`Rows::of_no_class`] began: less zⱼ − m in the loss and the factor in the gradient, at the class.
#[inline(always)]
fn add_classes<T: Element>(labels: &[i64], maxima: &Feature<T>, view: &mut View<'_, T>) {
    for (r, &label) in labels.iter().enumerate() {
        let shifted = view.z[label as usize][r] - maxima[r];
        view.losses[r] = view.losses[r] - shifted;
    }
    if let Some(dz) = &mut view.dz {
        for (r, &label) in labels.iter().enumerate() {
            let slope = &mut dz[label as usize][r];
            *slope = *slope - view.factors[r];
        }
    }
}

/// The maxima of the rows at `at`, and s; the exponentials go to `out`.
#[inline(always)]
fn exponentials<V: Vector>(
    simd: V::Simd,
    z: &[Feature<V::Element>],
    at: usize,
    mut out: Option<&mut [Feature<V::Element>]>,
) -> (V, V) {
    let max = maxima::<V>(simd, z, at);
    let mut sum = PanelSum::new(simd);
    for (j, z) in z.iter().enumerate() {
        let e = (load::<V>(simd, z, at) - max).exp_nonpositive_or_zero(simd);
        sum.add(j, e);
        if let Some(out) = &mut out {
            store(e, &mut out[j], at);
        }
    }
    (max, sum.total(z.len()))
}

/// Rows side by side in a vector, their exponentials in the place of the gradient.
struct Rows<V> {
    at: usize,
    max: V,
    log_sum: V,
    factor: V,
    /// factor/s.
    scale: V,
    /// Exponentials below it count as zero: times the scale they are subnormal, and slow.
    least: V,
}

impl<V: Vector> Rows<V> {
    /// p times the factor, of an exponential.
    #[inline(always)]
    fn probability(&self, e: V) -> V {
        e.zero_where_below(e, self.least) * self.scale
    }

    /// log s and p, for [`add_classes`].
    #[inline(always)]
    fn of_no_class(self, simd: V::Simd, view: &mut View<'_, V::Element>) {
        store(self.log_sum, view.losses, self.at);
        if let Some(dz) = &mut view.dz {
            for dz in &mut **dz {
                store(self.probability(load(simd, dz, self.at)), dz, self.at);
            }
        }
    }

    /// Shares q of all classes: −Σ qⱼ log pⱼ, whose gradient is p·Σq − q. A share of 0 counts as 0 even where p is 0.
    #[inline(always)]
    fn of_shares<Q: Shares<V::Element>>(
        self,
        simd: V::Simd,
        loss: &Prepared<V::Element>,
        shares: Q,
        view: &mut View<'_, V::Element>,
    ) {
        let zero = V::zero(simd);
        let classes = view.z.len();
        let mut entropy = PanelSum::new(simd);
        let mut whole = PanelSum::new(simd);
        for (j, z) in view.z.iter().enumerate() {
            let q = mixed::<V, Q>(simd, loss, shares, j, self.at);
            let surprise = self.log_sum - (load::<V>(simd, z, self.at) - self.max);
            entropy.mul_add(j, q, V::select(q.eq(zero), zero, surprise));
            whole.add(j, q);
        }
        store(entropy.total(classes), view.losses, self.at);
        if let Some(dz) = &mut view.dz {
            let whole = whole.total(classes);
            for (j, dz) in dz.iter_mut().enumerate() {
                let q = mixed::<V, Q>(simd, loss, shares, j, self.at);
                let p = self.probability(load(simd, dz, self.at));
                store(p.mul_add(whole, -(q * self.factor)), dz, self.at);
            }
        }
    }
}

/// The share that each class has in a row's target.
trait Shares<T: Element>: Copy {
    /// Class `j`'s, of the rows at `at`.
    fn at<V: Vector<Element = T>>(self, simd: V::Simd, j: usize, at: usize) -> V;
}

#[derive(Clone, Copy)]
struct Dense<'a, T>(&'a [Feature<T>]);

impl<T: Element> Shares<T> for Dense<'_, T> {
    #[inline(always)]
    fn at<V: Vector<Element = T>>(self, simd: V::Simd, j: usize, at: usize) -> V {
        load(simd, &self.0[j], at)
    }
}

/// Class numbers as elements.
#[derive(Clone, Copy)]
struct OneHot<'a, T>(&'a Feature<T>);

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
