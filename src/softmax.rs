//! Softmax and log-softmax along a row: pⱼ = exp(zⱼ − m) / Σₖ exp(zₖ − m), m the row's maximum; log pⱼ likewise.
//!
//! One exponential an element and one division a row. Nothing overflows; −∞ beside finite values has probability 0;
//! a NaN, an +∞ or nothing but −∞ makes the whole row NaN. Rows in panels and rows by themselves give the same bits.

#[cfg(test)]
mod tests;

use crate::gemm::PANEL;
use crate::gemm::turn::{panel_from_rows, rows_from_panel};
use crate::lanes::{Feature, PanelSum, RowSum, features, features_mut, load, store};
use crate::math::Math;
use crate::simd::{Arithmetic, Element, Kernel, Mask, Simd, Vector};

/// The maxima of the rows that begin at `at`; without meaning for a row that holds a NaN.
#[inline(always)]
pub(crate) fn maxima<V: Vector>(simd: V::Simd, z: &[Feature<V::Element>], at: usize) -> V {
    let mut parts = [load::<V>(simd, &z[0], at); 4];
    let (blocks, rest) = z.as_chunks::<4>();
    for block in blocks {
        for (part, feature) in parts.iter_mut().zip(block) {
            *part = part.greater(load(simd, feature, at));
        }
    }
    for feature in rest {
        parts[0] = parts[0].greater(load(simd, feature, at));
    }
    (parts[0].greater(parts[1])).greater(parts[2].greater(parts[3]))
}

/// Softmax of the rows of a panel.
///
/// # Panics
/// If a slice holds fewer than `outputs` features.
#[inline(always)]
pub fn forward_panel<S: Simd, T: Element>(
    simd: S,
    log: bool,
    outputs: usize,
    input: &[T],
    out: &mut [T],
) {
    let (z, out) = (features(input, outputs), features_mut(out, outputs));
    if outputs == 0 {
        return;
    }
    let lanes = T::Vector::<S>::LANES;
    for at in (0..PANEL).step_by(lanes) {
        let max = maxima::<T::Vector<S>>(simd, z, at);
        let mut sum = PanelSum::new(simd);
        for (j, (z, out)) in z.iter().zip(&mut *out).enumerate() {
            let shifted = load::<T::Vector<S>>(simd, z, at) - max;
            let e = shifted.exp_nonpositive(simd);
            sum.add(j, e);
            store(if log { shifted } else { e }, out, at);
        }
        let sum = sum.total(outputs);
        if log {
            let log_sum = sum.log(simd);
            for out in &mut *out {
                store(load::<T::Vector<S>>(simd, out, at) - log_sum, out, at);
            }
        } else {
            let scale = T::Vector::<S>::splat(simd, T::ONE) / sum;
            for out in &mut *out {
                store(load::<T::Vector<S>>(simd, out, at) * scale, out, at);
            }
        }
    }
}

/// The gradient with respect to the input, in place of the one with respect to the output; `out` is what
/// [`forward_panel`] wrote: pⱼ·(gⱼ − Σₖ gₖpₖ), of the logarithm gⱼ − pⱼ·Σₖ gₖ.
///
/// A row whose gradient is zero throughout gets zero, whatever its output holds.
///
/// # Panics
/// If a slice holds fewer than `outputs` features.
#[inline(always)]
pub fn backward_panel<S: Simd, T: Element>(
    simd: S,
    log: bool,
    outputs: usize,
    out: &[T],
    gradient: &mut [T],
) {
    let (out, gradient) = (features(out, outputs), features_mut(gradient, outputs));
    let lanes = T::Vector::<S>::LANES;
    let zero = T::Vector::<S>::zero(simd);
    for at in (0..PANEL).step_by(lanes) {
        let mut sum = PanelSum::new(simd);
        let mut bits = zero;
        for (j, (out, gradient)) in out.iter().zip(&*gradient).enumerate() {
            let g = load::<T::Vector<S>>(simd, gradient, at);
            bits = bits.bit_or(g);
            if log {
                sum.add(j, g);
            } else {
                sum.mul_add(j, g, load(simd, out, at));
            }
        }
        let sum = sum.total(outputs);
        let dead = bits.abs().eq(zero);
        for (out, gradient) in out.iter().zip(&mut *gradient) {
            let g = load::<T::Vector<S>>(simd, gradient, at);
            let value = input_gradient(simd, log, load(simd, out, at), g, sum);
            store(T::Vector::<S>::select(dead, zero, value), gradient, at);
        }
    }
}

#[inline(always)]
fn input_gradient<V: Vector>(simd: V::Simd, log: bool, out: V, g: V, sum: V) -> V {
    if log {
        (-out.exp_nonpositive(simd)).mul_add(sum, g)
    } else {
        out * (g - sum)
    }
}

/// Softmax of one row, in place.
#[inline(always)]
pub fn forward_row<S: Simd, T: Element>(simd: S, log: bool, values: &mut [T]) {
    if values.len() <= T::Vector::<S>::LANES {
        if !values.is_empty() {
            short_row(simd, log, values);
        }
        return;
    }
    let lanes = T::Vector::<S>::LANES;
    let max = T::Vector::<S>::splat(simd, row_maximum(simd, values));
    let mut sum = RowSum::new(simd);
    for (i, part) in values.chunks_mut(lanes).enumerate() {
        // Lanes beyond the row stay clear of subnormal numbers, which are slow.
        let shifted = keep(
            simd,
            part.len(),
            load_part::<T::Vector<S>>(simd, part) - max,
        );
        let e = shifted.exp_nonpositive(simd);
        sum.add(i, keep(simd, part.len(), e));
        store_part(if log { shifted } else { e }, part);
    }
    let sum = T::Vector::<S>::splat(simd, sum.total());
    if log {
        let log_sum = sum.log(simd);
        for part in values.chunks_mut(lanes) {
            store_part(load_part::<T::Vector<S>>(simd, part) - log_sum, part);
        }
    } else {
        let scale = T::Vector::<S>::splat(simd, T::ONE) / sum;
        for part in values.chunks_mut(lanes) {
            store_part(load_part::<T::Vector<S>>(simd, part) * scale, part);
        }
    }
}

/// A row that a vector holds.
#[inline(always)]
fn short_row<S: Simd, T: Element>(simd: S, log: bool, values: &mut [T]) {
    let count = values.len();
    let inside = T::Vector::<S>::mask_from_bits(simd, low_bits(count));
    let x = load_part::<T::Vector<S>>(simd, values);
    let first = T::Vector::<S>::splat(simd, values[0]);
    let max = greatest(T::Vector::<S>::select(inside, x, first), values[0]);
    let shifted = keep(simd, count, x - T::Vector::<S>::splat(simd, max));
    let e = shifted.exp_nonpositive(simd);
    let mut sum = RowSum::new(simd);
    sum.add(0, keep(simd, count, e));
    let sum = T::Vector::<S>::splat(simd, sum.total());
    let out = if log {
        shifted - sum.log(simd)
    } else {
        e * (T::Vector::<S>::splat(simd, T::ONE) / sum)
    };
    store_part(out, values);
}

/// [`backward_panel`] of one row: `out` holds the forward output and becomes the gradient with respect to the input.
#[inline(always)]
fn backward_row<S: Simd, T: Element>(simd: S, log: bool, dout: &[T], out: &mut [T]) {
    let lanes = T::Vector::<S>::LANES;
    let mut sum = RowSum::new(simd);
    let mut bits = T::Vector::<S>::zero(simd);
    for (i, (g, out)) in dout.chunks(lanes).zip(out.chunks(lanes)).enumerate() {
        let g = load_part::<T::Vector<S>>(simd, g);
        bits = bits.bit_or(g);
        if log {
            sum.add(i, g);
        } else {
            sum.mul_add(i, g, load_part(simd, out));
        }
    }
    if !(!bits.abs().eq(T::Vector::<S>::zero(simd))).any() {
        out.fill(T::ZERO);
        return;
    }
    let sum = T::Vector::<S>::splat(simd, sum.total());
    for (g, out) in dout.chunks(lanes).zip(out.chunks_mut(lanes)) {
        let (p, g) = (load_part(simd, out), load_part(simd, g));
        store_part(input_gradient::<T::Vector<S>>(simd, log, p, g, sum), out);
    }
}

/// The maximum of a row that is not empty; without meaning if it holds a NaN.
#[inline(always)]
fn row_maximum<S: Simd, T: Element>(simd: S, values: &[T]) -> T {
    let lanes = T::Vector::<S>::LANES;
    let mut max = T::Vector::<S>::splat(simd, values[0]);
    let parts = values.chunks_exact(lanes);
    let rest = parts.remainder();
    for part in parts {
        max = max.greater(T::Vector::<S>::load_slice(simd, part));
    }
    if !rest.is_empty() {
        let x = T::Vector::<S>::load_tail(simd, rest);
        let inside = T::Vector::<S>::mask_from_bits(simd, low_bits(rest.len()));
        max = max.greater(T::Vector::<S>::select(inside, x, max));
    }
    greatest(max, values[0])
}

/// The greatest element of a vector, one of which is at least `one`.
#[inline(always)]
fn greatest<V: Vector>(x: V, one: V::Element) -> V::Element {
    let mut spread = [one; PANEL];
    x.store_slice(&mut spread);
    let mut half = V::LANES / 2;
    while half > 0 {
        for l in 0..half {
            let (a, b) = (spread[l], spread[l + half]);
            spread[l] = if b > a { b } else { a };
        }
        half /= 2;
    }
    spread[0]
}

#[inline(always)]
fn low_bits(count: usize) -> u32 {
    (1 << count) - 1
}

/// The first `count` lanes; +0 in the others.
#[inline(always)]
fn keep<V: Vector>(simd: V::Simd, count: usize, x: V) -> V {
    if count == V::LANES {
        x
    } else {
        V::select(V::mask_from_bits(simd, low_bits(count)), x, V::zero(simd))
    }
}

#[inline(always)]
fn load_part<V: Vector>(simd: V::Simd, part: &[V::Element]) -> V {
    if part.len() == V::LANES {
        V::load_slice(simd, part)
    } else {
        V::load_tail(simd, part)
    }
}

#[inline(always)]
fn store_part<V: Vector>(x: V, part: &mut [V::Element]) {
    if part.len() == V::LANES {
        x.store_slice(part);
    } else {
        x.store_tail(part);
    }
}

/// Softmax of the rows of a contiguous matrix.
pub struct Forward<'a, T> {
    pub log: bool,
    /// Elements of a row.
    pub outputs: usize,
    pub x: &'a [T],
    pub out: &'a mut [T],
}

impl<T: Element> Kernel for Forward<'_, T> {
    type Output = ();
    /// # Panics
    /// If the lengths differ or are no multiple of `outputs`.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        check_lengths(self.outputs, self.out.len(), &[self.x.len()]);
        if self.outputs == 0 {
            return;
        }
        if self.outputs > PANEL {
            self.out.copy_from_slice(self.x);
            for row in self.out.chunks_exact_mut(self.outputs) {
                forward_row(simd, self.log, row);
            }
            return;
        }
        let mut z = [T::ZERO; PANEL * PANEL];
        let mut p = [T::ZERO; PANEL * PANEL];
        let several = PANEL * self.outputs;
        for (x, out) in self.x.chunks(several).zip(self.out.chunks_mut(several)) {
            panel_from_rows(simd, self.outputs, x, &mut z);
            forward_panel(simd, self.log, self.outputs, &z, &mut p);
            rows_from_panel(simd, self.outputs, &p, out);
        }
    }
}

/// The gradient with respect to x of the rows of a contiguous matrix: `out` is overwritten.
pub struct Backward<'a, T> {
    pub log: bool,
    /// Elements of a row.
    pub outputs: usize,
    pub dout: &'a [T],
    /// The forward input.
    pub x: &'a [T],
    pub out: &'a mut [T],
}

impl<T: Element> Kernel for Backward<'_, T> {
    type Output = ();
    /// # Panics
    /// If the lengths differ or are no multiple of `outputs`.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        check_lengths(
            self.outputs,
            self.out.len(),
            &[self.x.len(), self.dout.len()],
        );
        if self.outputs == 0 {
            return;
        }
        let rows = Forward {
            log: self.log,
            outputs: self.outputs,
            x: self.x,
            out: &mut *self.out,
        };
        rows.run(simd);
        let dout = self.dout.chunks_exact(self.outputs);
        for (dout, out) in dout.zip(self.out.chunks_exact_mut(self.outputs)) {
            backward_row(simd, self.log, dout, out);
        }
    }
}

fn check_lengths(outputs: usize, length: usize, others: &[usize]) {
    assert!(others.iter().all(|&other| other == length));
    assert!(length == 0 || (outputs > 0 && length.is_multiple_of(outputs)));
}
