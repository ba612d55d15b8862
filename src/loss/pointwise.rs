//! Losses that are a mean of independent losses of the outputs.

use super::prepared::View;
use crate::gemm::PANEL;
use crate::lanes::{Feature, PanelSum, load, store};
use crate::math::{Math, splat};
use crate::simd::{Arithmetic, Element, MOST_LANES, Simd, Vector};

/// The loss of one output and its derivative.
pub(super) trait Rule<T: Element>: Copy {
    /// Loss and derivative of output `j` that is z where t is expected.
    fn at<V: Arithmetic<Element = T>>(self, simd: V::Simd, j: usize, z: V, t: V) -> (V, V);
}

/// What goes on once the rule of a loss is known.
pub(super) trait TakesRule<T: Element> {
    fn take<R: Rule<T>>(self, rule: R);
}

/// The rows of a panel, as [`mean`].
pub(super) struct OfPanel<'a, 'v, S, T> {
    pub simd: S,
    pub t: &'a [Feature<T>],
    pub view: &'a mut View<'v, T>,
}

impl<S: Simd, T: Element> TakesRule<T> for OfPanel<'_, '_, S, T> {
    #[inline(always)]
    fn take<R: Rule<T>>(self, rule: R) {
        mean(self.simd, rule, self.t, self.view);
    }
}

/// Rows of one output each, all slices of one length.
pub(super) struct Rows<'a, T> {
    pub pred: &'a [T],
    pub targets: &'a [T],
    /// What the gradient of each row is multiplied by.
    pub factors: &'a [T],
    pub losses: Option<&'a mut [T]>,
    pub gradient: Option<&'a mut [T]>,
}

impl<T> Rows<'_, T> {
    /// The first `count` rows, and the others.
    #[inline(always)]
    fn split_at(&mut self, count: usize) -> [Rows<'_, T>; 2] {
        fn both<T>(slice: Option<&mut [T]>, count: usize) -> [Option<&mut [T]>; 2] {
            slice.map_or([None, None], |slice| {
                let (first, rest) = slice.split_at_mut(count);
                [Some(first), Some(rest)]
            })
        }
        let [losses, other_losses] = both(self.losses.as_deref_mut(), count);
        let [gradient, other_gradient] = both(self.gradient.as_deref_mut(), count);
        [
            Rows {
                pred: &self.pred[..count],
                targets: &self.targets[..count],
                factors: &self.factors[..count],
                losses,
                gradient,
            },
            Rows {
                pred: &self.pred[count..],
                targets: &self.targets[count..],
                factors: &self.factors[count..],
                losses: other_losses,
                gradient: other_gradient,
            },
        ]
    }
}

pub(super) struct OfRows<'a, S, T> {
    pub simd: S,
    pub rows: Rows<'a, T>,
}

impl<S: Simd, T: Element> TakesRule<T> for OfRows<'_, S, T> {
    #[inline(always)]
    fn take<R: Rule<T>>(mut self, rule: R) {
        let lanes = T::Vector::<S>::LANES;
        let tail = self.rows.pred.len() % lanes;
        let whole = self.rows.pred.len() - tail;
        let [whole, rest] = self.rows.split_at(whole);
        // The last rows that fill no vector go through copies: so the loop has no test in it, and stands there once.
        let copied = if tail > 0 { lanes } else { 0 };
        let mut copies = [[T::ZERO; MOST_LANES]; 5];
        for (copy, slice) in copies
            .iter_mut()
            .zip([rest.pred, rest.targets, rest.factors])
        {
            copy[..tail].copy_from_slice(slice);
        }
        let [pred, targets, factors, losses, gradient] = copies.each_mut();
        for rows in [
            whole,
            Rows {
                pred: &pred[..copied],
                targets: &targets[..copied],
                factors: &factors[..copied],
                losses: rest.losses.is_some().then_some(&mut losses[..copied]),
                gradient: rest.gradient.is_some().then_some(&mut gradient[..copied]),
            },
        ] {
            vectors(self.simd, rule, rows);
        }
        let [.., losses, gradient] = copies;
        for (out, copy) in [(rest.losses, losses), (rest.gradient, gradient)] {
            if let Some(out) = out {
                out.copy_from_slice(&copy[..tail]);
            }
        }
    }
}

/// A rule of rows in whole vectors. What is not wanted is not computed: a loop for each case.
#[inline(always)]
fn vectors<S: Simd, T: Element, R: Rule<T>>(simd: S, rule: R, rows: Rows<'_, T>) {
    let lanes = T::Vector::<S>::LANES;
    let pairs = (rows.pred.chunks_exact(lanes)).zip(rows.targets.chunks_exact(lanes));
    let factors = rows.factors.chunks_exact(lanes);
    match (rows.losses, rows.gradient) {
        (Some(losses), Some(gradient)) => {
            let outs = (losses.chunks_exact_mut(lanes)).zip(gradient.chunks_exact_mut(lanes));
            for (((z, t), factor), (loss_out, out)) in pairs.zip(factors).zip(outs) {
                let (loss, slope) = vector::<T::Vector<S>, R>(simd, rule, z, t);
                keep(simd, loss, loss_out);
                scale(simd, slope, factor, out);
            }
        }
        (Some(losses), None) => {
            for ((z, t), out) in pairs.zip(losses.chunks_exact_mut(lanes)) {
                let (loss, _) = vector::<T::Vector<S>, R>(simd, rule, z, t);
                keep(simd, loss, out);
            }
        }
        (None, Some(gradient)) => {
            let outs = gradient.chunks_exact_mut(lanes);
            for (((z, t), factor), out) in pairs.zip(factors).zip(outs) {
                let (_, slope) = vector::<T::Vector<S>, R>(simd, rule, z, t);
                scale(simd, slope, factor, out);
            }
        }
        (None, None) => {}
    }
}

/// The rule at a vector of rows.
#[inline(always)]
fn vector<V: Vector, R: Rule<V::Element>>(
    simd: V::Simd,
    rule: R,
    z: &[V::Element],
    t: &[V::Element],
) -> (V, V) {
    V::prefetch_ahead(z.as_ptr());
    V::prefetch_ahead(t.as_ptr());
    rule.at(simd, 0, V::load_slice(simd, z), V::load_slice(simd, t))
}

/// A sum of one begins at +0, as the sum of many.
#[inline(always)]
fn keep<V: Vector>(simd: V::Simd, loss: V, out: &mut [V::Element]) {
    (V::zero(simd) + loss).store_slice(out);
}

/// Zero where the factor is: a row that does not count may hold anything.
#[inline(always)]
fn scale<V: Vector>(simd: V::Simd, slope: V, factor: &[V::Element], out: &mut [V::Element]) {
    let (zero, factor) = (V::zero(simd), V::load_slice(simd, factor));
    V::prefetch_ahead(out.as_ptr());
    V::select(factor.eq(zero), zero, slope * factor).store_slice(out);
}

/// The mean over outputs of a rule.
#[inline(always)]
pub(super) fn mean<S: Simd, T: Element, R: Rule<T>>(
    simd: S,
    rule: R,
    t: &[Feature<T>],
    view: &mut View<'_, T>,
) {
    let outputs = view.z.len();
    let count = T::Vector::<S>::splat(simd, T::from_f64(outputs as f64));
    for at in (0..PANEL).step_by(T::Vector::<S>::LANES) {
        let mut sum = PanelSum::<T::Vector<S>>::new(simd);
        let factor: T::Vector<S> = share(load(simd, view.factors, at), count, outputs);
        for (j, (z, t)) in view.z.iter().zip(t).enumerate() {
            let (loss, slope) = rule.at(simd, j, load(simd, z, at), load(simd, t, at));
            sum.add(j, loss);
            if let Some(dz) = &mut view.dz {
                store(slope * factor, &mut dz[j], at);
            }
        }
        store(share(sum.total(outputs), count, outputs), view.losses, at);
    }
}

/// x over the number of outputs, without a division by one.
#[inline(always)]
fn share<V: Arithmetic>(x: V, count: V, outputs: usize) -> V {
    if outputs == 1 { x } else { x / count }
}

/// (z − t)².
#[derive(Clone, Copy)]
pub(super) struct Mse;

impl<T: Element> Rule<T> for Mse {
    #[inline(always)]
    fn at<V: Arithmetic<Element = T>>(self, _: V::Simd, _: usize, z: V, t: V) -> (V, V) {
        let d = z - t;
        (d * d, d + d)
    }
}

/// |z − t|; the derivative at 0 is 0.
#[derive(Clone, Copy)]
pub(super) struct L1;

impl<T: Element> Rule<T> for L1 {
    #[inline(always)]
    fn at<V: Arithmetic<Element = T>>(self, simd: V::Simd, _: usize, z: V, t: V) -> (V, V) {
        let d = z - t;
        let sign = d.bit_and(splat(simd, -0.0)).bit_or(V::splat(simd, T::ONE));
        let zero = V::zero(simd);
        (d.abs(), V::select(d.lt(zero) | zero.lt(d), sign, d))
    }
}

/// With c = d clipped to ±δ, the loss is c·(d − c/2) and the derivative c.
#[derive(Clone, Copy)]
pub(super) struct Huber<T>(pub T);

impl<T: Element> Rule<T> for Huber<T> {
    #[inline(always)]
    fn at<V: Arithmetic<Element = T>>(self, simd: V::Simd, _: usize, z: V, t: V) -> (V, V) {
        let delta = V::splat(simd, self.0);
        let d = z - t;
        let clipped = (-delta).greater(delta.lesser(d));
        (clipped * (d - splat::<V>(simd, 0.5) * clipped), clipped)
    }
}

/// −t·log z − (1 − t)·log(1 − z), logarithms no less than −100; the derivative's divisor no less than 10⁻¹²: torch's
/// bounds.
#[derive(Clone, Copy)]
pub(super) struct Bce;

impl<T: Element> Rule<T> for Bce {
    #[inline(always)]
    fn at<V: Arithmetic<Element = T>>(self, simd: V::Simd, _: usize, z: V, t: V) -> (V, V) {
        let one = V::splat(simd, T::ONE);
        let least = splat::<V>(simd, -100.0);
        let yes = least.greater(z.log(simd));
        let no = least.greater((-z).log1p(simd));
        let variance = splat::<V>(simd, 1e-12).greater((one - z) * z);
        (-(t.mul_add(yes, (one - t) * no)), (z - t) / variance)
    }
}

/// e = exp(−|z|), log(1 + e), and w = e / (1 + e): the smaller of σ(z) and 1 − σ(z).
#[inline(always)]
fn logistic<V: Arithmetic>(simd: V::Simd, z: V) -> (V, V) {
    let one = V::splat(simd, V::Element::ONE);
    let e = (-z.abs()).exp_nonpositive_or_zero(simd);
    (e.log1p_unit(simd), e / (one + e))
}

/// max(z, 0) − z·t + log(1 + e), the derivative σ(z) − t.
#[derive(Clone, Copy)]
pub(super) struct WithLogits;

impl<T: Element> Rule<T> for WithLogits {
    #[inline(always)]
    fn at<V: Arithmetic<Element = T>>(self, simd: V::Simd, _: usize, z: V, t: V) -> (V, V) {
        let (zero, one) = (V::zero(simd), V::splat(simd, T::ONE));
        let (softplus, w) = logistic(simd, z);
        let loss = (-z).mul_add(t, zero.greater(z)) + softplus;
        // Where t is 1, σ − 1 would lose the digits of a small 1 − σ.
        let slope = V::select(z.lt(zero), w - t, (one - t) - w);
        (loss, slope)
    }
}

/// (1 − t)·z + (1 + (p − 1)·t)·(log(1 + e) + max(−z, 0)), the derivative (1 − t)·σ(z) − p·t·(1 − σ(z)).
#[derive(Clone, Copy)]
pub(super) struct WeightedWithLogits<'a, T>(pub &'a [T]);

impl<T: Element> Rule<T> for WeightedWithLogits<'_, T> {
    #[inline(always)]
    fn at<V: Arithmetic<Element = T>>(self, simd: V::Simd, j: usize, z: V, t: V) -> (V, V) {
        let (zero, one) = (V::zero(simd), V::splat(simd, T::ONE));
        let p = V::splat(simd, self.0[j]);
        let (softplus, w) = logistic(simd, z);
        let (yes, no) = (p * t, one - t);
        // −log σ(z) and −log(1 − σ(z)).
        let missed = softplus + zero.greater(-z);
        let alarm = softplus + zero.greater(z);
        let negative = z.lt(zero);
        let sigmoid = V::select(negative, w, one - w);
        let rest = V::select(negative, one - w, w);
        (
            yes.mul_add(missed, no * alarm),
            no.mul_add(sigmoid, -(yes * rest)),
        )
    }
}
