//! Stochastic gradient descent, as torch's `SGD`.
//!
//! With g the gradient + weight_decay · w: b ← momentum · b + (1 − dampening) · g (the first b is g itself);
//! w ← w − lr · b, or with `nesterov` w − lr · (g + momentum · b), or without momentum w − lr · g.

use super::adam::{MOMENT_FLOOR, power_of_two};
use super::{Group, VectorRule};
use crate::simd::{Element, Vector};

/// One step of a group.
#[derive(Clone, Copy, Debug)]
pub struct SgdRule<T> {
    negative_rate: T,
    decay: T,
    momentum: T,
    gain: T,
    nesterov: bool,
}

impl<T: Element> SgdRule<T> {
    /// `fresh`: the momentum buffer, all zeros, is filled by this step.
    pub fn new(group: &Group, lr: f64, fresh: bool) -> Self {
        Self {
            negative_rate: T::from_f64(-lr),
            decay: T::from_f64(group.weight_decay),
            momentum: T::from_f64(group.momentum),
            gain: T::from_f64(if fresh { 1.0 } else { 1.0 - group.dampening }),
            nesterov: group.nesterov,
        }
    }

    #[inline(always)]
    pub fn uses_momentum(&self) -> bool {
        self.momentum != T::ZERO
    }
}

/// An [`SgdRule`] without momentum, in registers.
#[derive(Clone, Copy)]
pub struct SgdVectors<V> {
    negative_rate: V,
    decay: V,
}

impl<V: Vector> SgdVectors<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, rule: &SgdRule<V::Element>) -> Self {
        Self {
            negative_rate: V::splat(simd, rule.negative_rate),
            decay: V::splat(simd, rule.decay),
        }
    }
}

impl<V: Vector> VectorRule<V, 0> for SgdVectors<V> {
    #[inline(always)]
    fn update(self, weight: V, gradient: V, _: [V; 0]) -> (V, [V; 0]) {
        let gradient = self.decay.mul_add(weight, gradient);
        (self.negative_rate.mul_add(gradient, weight), [])
    }
}

/// An [`SgdRule`] with momentum, in registers; the slot is b.
#[derive(Clone, Copy)]
pub struct MomentumVectors<V> {
    plain: SgdVectors<V>,
    momentum: V,
    gain: V,
    nesterov: bool,
    floor: V,
    zero: V,
}

impl<V: Vector> MomentumVectors<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, rule: &SgdRule<V::Element>) -> Self {
        Self {
            plain: SgdVectors::new(simd, rule),
            momentum: V::splat(simd, rule.momentum),
            gain: V::splat(simd, rule.gain),
            nesterov: rule.nesterov,
            floor: V::splat(simd, power_of_two(MOMENT_FLOOR)),
            zero: V::zero(simd),
        }
    }
}

impl<V: Vector> VectorRule<V, 1> for MomentumVectors<V> {
    #[inline(always)]
    fn update(self, weight: V, gradient: V, [buffer]: [V; 1]) -> (V, [V; 1]) {
        let gradient = self.plain.decay.mul_add(weight, gradient);
        let buffer = self.momentum.mul_add(buffer, self.gain * gradient);
        let buffer = V::select(buffer.abs().lt(self.floor), self.zero, buffer);
        let step = if self.nesterov {
            self.momentum.mul_add(buffer, gradient)
        } else {
            buffer
        };
        (self.plain.negative_rate.mul_add(step, weight), [buffer])
    }
}
