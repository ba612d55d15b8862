//! Adam, AdamW and their AMSGrad form, as torch's.
//!
//! m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², w ← w − lr · m̂ / (√v̂ + eps) with m̂ = m / (1 − β₁ᵗ) and
//! v̂ = v / (1 − β₂ᵗ); Adam adds weight_decay · w to g, AdamW first shrinks w by lr · weight_decay; AMSGrad divides by
//! the largest v so far. Kingma and Ba, "Adam", ICLR 2015; Loshchilov and Hutter, "Decoupled weight decay
//! regularization", ICLR 2019; Reddi, Kale and Kumar, "On the convergence of Adam and beyond", ICLR 2018.
//!
//! The corrections 1 − βᵗ go into the learning rate and eps, worked out once a step:
//! w ← w − (lr √(1 − β₂ᵗ) / (1 − β₁ᵗ)) · m / (√v + eps √(1 − β₂ᵗ)), one square root and one division an element.
//!
//! A gradient below [`GRADIENT_FLOOR`] counts as zero, and a moment below [`MOMENT_FLOOR`] is set to zero: a unit that
//! has died would otherwise leave its moments among the subnormal numbers after some 800 steps, where arithmetic is
//! slow. The floors are so far apart that a gradient at its floor leaves both moments above theirs.

use super::{Group, VectorRule};
use crate::simd::{Element, Vector};

/// Exponents of two, of float32 and of float64.
pub(super) const GRADIENT_FLOOR: [i32; 2] = [-55, -480];
pub(super) const MOMENT_FLOOR: [i32; 2] = [-122, -1000];

/// 2ᵉ, e as the element type has it.
#[inline(always)]
pub(super) fn power_of_two<T: Element>(exponents: [i32; 2]) -> T {
    let exponent = exponents[usize::from(size_of::<T>() == 8)];
    T::from_f64(f64::from_bits(((1023 + exponent) as u64) << 52))
}

/// The exponents of the floor of a squared gradient.
pub(super) const SQUARED_FLOOR: [i32; 2] = [2 * GRADIENT_FLOOR[0], 2 * GRADIENT_FLOOR[1]];

/// One step of a group.
#[derive(Clone, Copy, Debug)]
pub struct AdamRule<T> {
    /// What is left of a weight by AdamW's decay.
    pub(super) keep: T,
    /// Adam's decay, added to the gradient.
    pub(super) decay: T,
    pub(super) beta1: T,
    pub(super) gain1: T,
    pub(super) beta2: T,
    pub(super) gain2: T,
    pub(super) negative_rate: T,
    pub(super) epsilon: T,
    amsgrad: bool,
}

impl<T: Element> AdamRule<T> {
    /// `powers`: β₁ᵗ and β₂ᵗ of this step; `decoupled`: AdamW.
    pub fn new(group: &Group, lr: f64, powers: [f64; 2], decoupled: bool) -> Self {
        let (correction1, root2) = (1.0 - powers[0], (1.0 - powers[1]).sqrt());
        Self {
            keep: T::from_f64(if decoupled {
                1.0 - lr * group.weight_decay
            } else {
                1.0
            }),
            decay: T::from_f64(if decoupled { 0.0 } else { group.weight_decay }),
            beta1: T::from_f64(group.beta1),
            gain1: T::from_f64(1.0 - group.beta1),
            beta2: T::from_f64(group.beta2),
            gain2: T::from_f64(1.0 - group.beta2),
            negative_rate: T::from_f64(-lr * root2 / correction1),
            epsilon: T::from_f64(group.eps * root2),
            amsgrad: group.amsgrad,
        }
    }

    #[inline(always)]
    pub fn amsgrad(&self) -> bool {
        self.amsgrad
    }
}

/// An [`AdamRule`] in registers; the slots are m and v.
#[derive(Clone, Copy)]
pub struct AdamVectors<V> {
    keep: V,
    decay: V,
    beta1: V,
    gain1: V,
    beta2: V,
    gain2: V,
    negative_rate: V,
    epsilon: V,
    squared_floor: V,
    moment_floor: V,
    /// Whether `keep` and `decay` change anything.
    shrinks: bool,
    decays: bool,
}

impl<V: Vector> AdamVectors<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, rule: &AdamRule<V::Element>) -> Self {
        Self {
            keep: V::splat(simd, rule.keep),
            decay: V::splat(simd, rule.decay),
            beta1: V::splat(simd, rule.beta1),
            gain1: V::splat(simd, rule.gain1),
            beta2: V::splat(simd, rule.beta2),
            gain2: V::splat(simd, rule.gain2),
            negative_rate: V::splat(simd, rule.negative_rate),
            epsilon: V::splat(simd, rule.epsilon),
            squared_floor: V::splat(simd, power_of_two(SQUARED_FLOOR)),
            moment_floor: V::splat(simd, power_of_two(MOMENT_FLOOR)),
            shrinks: rule.keep != V::Element::ONE,
            decays: rule.decay != V::Element::ZERO,
        }
    }

    #[inline(always)]
    fn moments(self, weight: V, gradient: V, [m, v]: [V; 2]) -> [V; 2] {
        let g = if self.decays {
            self.decay.mul_add(weight, gradient)
        } else {
            gradient
        };
        // g² is below the square of the floor where |g| is below the floor: that is a power of two.
        let squared = g * g;
        let part1 = (self.gain1 * g).zero_where_below(squared, self.squared_floor);
        let part2 = (self.gain2 * squared).zero_where_below(squared, self.squared_floor);
        let m = self.beta1.mul_add(m, part1);
        let v = self.beta2.mul_add(v, part2);
        [
            m.zero_where_below(m.abs(), self.moment_floor),
            v.zero_where_below(v, self.moment_floor),
        ]
    }

    #[inline(always)]
    fn step(self, weight: V, m: V, v: V) -> V {
        let kept = if self.shrinks {
            weight * self.keep
        } else {
            weight
        };
        self.negative_rate
            .mul_add(m / (v.sqrt() + self.epsilon), kept)
    }
}

impl<V: Vector> VectorRule<V, 2> for AdamVectors<V> {
    #[inline(always)]
    fn update(self, weight: V, gradient: V, slots: [V; 2]) -> (V, [V; 2]) {
        let [m, v] = self.moments(weight, gradient, slots);
        (self.step(weight, m, v), [m, v])
    }
}

/// An [`AdamRule`] with `amsgrad` in registers; the slots are m, v and the largest v.
#[derive(Clone, Copy)]
pub struct AmsgradVectors<V>(AdamVectors<V>);

impl<V: Vector> AmsgradVectors<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, rule: &AdamRule<V::Element>) -> Self {
        Self(AdamVectors::new(simd, rule))
    }
}

impl<V: Vector> VectorRule<V, 3> for AmsgradVectors<V> {
    #[inline(always)]
    fn update(self, weight: V, gradient: V, [m, v, largest]: [V; 3]) -> (V, [V; 3]) {
        let [m, v] = self.0.moments(weight, gradient, [m, v]);
        let largest = largest.greater(v);
        (self.0.step(weight, m, largest), [m, v, largest])
    }
}
