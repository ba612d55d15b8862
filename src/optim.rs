//! Optimisers: one loop over flat memory.
//!
//! With gradient g, weights w, learning rate α, weight decay λ (torch's formulas; the sources are named there):
//!
//! * SGD: g ← g + λw; with momentum μ: v ← μv + (1 − τ)g (the first time v ← g); g ← g + μv (Nesterov) or v; w ← w − αg.
//!   Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever et al., ICML 2013.
//! * Adam: g ← g + λw (AdamW instead: w ← w − αλw); m ← m + (1 − β₁)(g − m); v ← β₂v + (1 − β₂)g²;
//!   w ← w − α · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε). Kingma and Ba, ICLR 2015; Loshchilov and Hutter, ICLR 2019;
//!   AMSGrad keeps the largest v: Reddi et al., ICLR 2018.
//!
//! Adam's bias corrections are folded into the rate and ε, so that a lane costs one square root and one division:
//! α√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m / (√v + ε√(1 − β₂ᵗ)). The powers are running products in float64.
//!
//! A dead unit's gradient is zero for ever; its moments would shrink to subnormals after some 800 steps and slow the
//! update threefold. So m and v below [`tiny`] become zero, on every instruction set alike: at that size they change
//! no weight.

use crate::error::{Error, Result};
use crate::simd::{Element, Kernel, Simd, Vector};
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sgd,
    Adam,
    AdamW,
}

/// One parameter group's settings; each kind reads its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    pub lr: f64,
    pub weight_decay: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub nesterov: bool,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub amsgrad: bool,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 0.0,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            amsgrad: false,
        }
    }
}

/// The state arrays of a kind, by torch's names, in the order of [`Slots`].
pub fn state_names(kind: Kind, groups: &[Group]) -> Vec<&'static str> {
    match kind {
        Kind::Sgd if groups.iter().any(|group| group.momentum != 0.0) => vec!["momentum_buffer"],
        Kind::Sgd => vec![],
        Kind::Adam | Kind::AdamW if groups.iter().any(|group| group.amsgrad) => {
            vec!["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
        }
        Kind::Adam | Kind::AdamW => vec!["exp_avg", "exp_avg_sq"],
    }
}

impl Group {
    /// # Errors
    /// A setting outside its range, as torch refuses it.
    pub fn check(&self, kind: Kind) -> Result<()> {
        let at_least_zero = |name: &str, value: f64| {
            if value >= 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(Error::Value(format!(
                    "{name} is {value}; it must be a finite number ≥ 0"
                )))
            }
        };
        at_least_zero("lr", self.lr)?;
        at_least_zero("weight_decay", self.weight_decay)?;
        match kind {
            Kind::Sgd => {
                at_least_zero("momentum", self.momentum)?;
                if !self.dampening.is_finite() {
                    return Err(Error::Value(format!(
                        "dampening is {}; it must be finite",
                        self.dampening
                    )));
                }
                if self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0) {
                    return Err(Error::Value(
                        "nesterov needs momentum > 0 and dampening = 0".into(),
                    ));
                }
            }
            Kind::Adam | Kind::AdamW => {
                at_least_zero("eps", self.eps)?;
                for (name, beta) in [("betas[0]", self.beta1), ("betas[1]", self.beta2)] {
                    if !(0.0..1.0).contains(&beta) {
                        return Err(Error::Value(format!(
                            "{name} is {beta}; it must lie in [0, 1)"
                        )));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Moments smaller than this become zero: far above the subnormals, far below what moves a weight.
pub fn tiny<T: Element>() -> T {
    // 2⁻¹⁰⁰ for float32, 2⁻⁹⁰⁰ for float64; their squares' roots stay normal.
    T::from_f64(if T::ROW_LANES == 16 {
        2f64.powi(-100)
    } else {
        2f64.powi(-900)
    })
}

/// What one step does to the parameters of one group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule<T> {
    Sgd {
        rate: T,
        decay: T,
    },
    Momentum {
        rate: T,
        decay: T,
        momentum: T,
        fresh: T,
        nesterov: bool,
    },
    Adam {
        rate: T,
        eps: T,
        keep1: T,
        fresh1: T,
        keep2: T,
        fresh2: T,
        decay: T,
        shrink: T,
        amsgrad: bool,
    },
}

/// Running powers of a group's betas.
pub type Powers = [f64; 2];

impl<T: Element> Rule<T> {
    /// The rule of the step that comes `before` steps after the first; the powers are those of this step.
    pub fn new(kind: Kind, group: &Group, before: u64, powers: Powers) -> Self {
        let t = T::from_f64;
        match kind {
            Kind::Sgd if group.momentum == 0.0 => Rule::Sgd {
                rate: t(group.lr),
                decay: t(group.weight_decay),
            },
            Kind::Sgd => Rule::Momentum {
                rate: t(group.lr),
                decay: t(group.weight_decay),
                // The first time the momentum is the gradient itself, undamped.
                momentum: t(group.momentum),
                fresh: t(if before == 0 {
                    1.0
                } else {
                    1.0 - group.dampening
                }),
                nesterov: group.nesterov,
            },
            Kind::Adam | Kind::AdamW => {
                let root = (1.0 - powers[1]).sqrt();
                let decoupled = kind == Kind::AdamW;
                Rule::Adam {
                    rate: t(group.lr * root / (1.0 - powers[0])),
                    eps: t(group.eps * root),
                    keep1: t(group.beta1),
                    fresh1: t(1.0 - group.beta1),
                    keep2: t(group.beta2),
                    fresh2: t(1.0 - group.beta2),
                    decay: t(if decoupled { 0.0 } else { group.weight_decay }),
                    shrink: t(if decoupled {
                        1.0 - group.lr * group.weight_decay
                    } else {
                        1.0
                    }),
                    amsgrad: group.amsgrad,
                }
            }
        }
    }
}

/// What becomes of the gradient before the rule sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip<T> {
    /// Multiplies the gradient: the norm's clipping.
    pub factor: T,
    /// Bounds its magnitude: the value's clipping.
    pub bound: Option<T>,
}

impl<T: Element> Clip<T> {
    pub fn none() -> Self {
        Self {
            factor: T::ONE,
            bound: None,
        }
    }
}

/// The state of as many parameters as the weights, or empty where the rule has none.
pub struct Slots<'a, T> {
    pub first: &'a mut [T],
    pub second: &'a mut [T],
    pub third: &'a mut [T],
}

/// Updates parameters in place.
///
/// # Panics
/// If the slices that the rule needs differ in length.
#[inline(always)]
pub fn update<S: Simd, T: Element>(
    simd: S,
    rule: &Rule<T>,
    clip: &Clip<T>,
    weights: &mut [T],
    gradient: &[T],
    slots: Slots<'_, T>,
) {
    assert!(weights.len() == gradient.len());
    if *clip == Clip::none() {
        by_rule(simd, rule, weights, gradient, slots, |g| g);
    } else {
        let factor = T::Vector::<S>::splat(simd, clip.factor);
        let bound = clip.bound.map(|bound| T::Vector::<S>::splat(simd, bound));
        by_rule(simd, rule, weights, gradient, slots, |g| {
            let g = g * factor;
            match bound {
                // A NaN stays: neither comparison holds.
                Some(bound) => {
                    let g = T::Vector::<S>::select(bound.lt(g), bound, g);
                    T::Vector::<S>::select(g.lt(-bound), -bound, g)
                }
                None => g,
            }
        });
    }
}

#[inline(always)]
fn by_rule<S: Simd, T: Element>(
    simd: S,
    rule: &Rule<T>,
    weights: &mut [T],
    gradient: &[T],
    slots: Slots<'_, T>,
    clip: impl Fn(T::Vector<S>) -> T::Vector<S>,
) {
    let splat = |value: T| T::Vector::<S>::splat(simd, value);
    match *rule {
        Rule::Sgd { rate, decay } => {
            let (rate, decay) = (splat(-rate), splat(decay));
            each(simd, [weights], gradient, |[w], g| {
                let g = w.mul_add(decay, clip(g));
                [g.mul_add(rate, w)]
            });
        }
        Rule::Momentum {
            rate,
            decay,
            momentum,
            fresh,
            nesterov,
        } => {
            let (rate, decay, momentum, fresh) =
                (splat(-rate), splat(decay), splat(momentum), splat(fresh));
            each(simd, [weights, slots.first], gradient, |[w, v], g| {
                let g = w.mul_add(decay, clip(g));
                let v = v.mul_add(momentum, g * fresh);
                let direction = if nesterov { v.mul_add(momentum, g) } else { v };
                [direction.mul_add(rate, w), v]
            });
        }
        Rule::Adam {
            rate,
            eps,
            keep1,
            fresh1,
            keep2,
            fresh2,
            decay,
            shrink,
            amsgrad,
        } => {
            let (rate, eps, decay, shrink) =
                (splat(-rate), splat(eps), splat(decay), splat(shrink));
            let (keep1, fresh1, keep2, fresh2) =
                (splat(keep1), splat(fresh1), splat(keep2), splat(fresh2));
            let (tiny, zero) = (splat(tiny()), splat(T::ZERO));
            let flush = |x: T::Vector<S>| T::Vector::<S>::select(x.abs().lt(tiny), zero, x);
            let moments = |w: T::Vector<S>, m: T::Vector<S>, v: T::Vector<S>, g: T::Vector<S>| {
                let g = w.mul_add(decay, clip(g));
                (
                    flush(m.mul_add(keep1, g * fresh1)),
                    flush(v.mul_add(keep2, (g * g) * fresh2)),
                )
            };
            let moved = |w: T::Vector<S>, m: T::Vector<S>, v: T::Vector<S>| {
                (m / (v.sqrt() + eps)).mul_add(rate, w * shrink)
            };
            if amsgrad {
                each(
                    simd,
                    [weights, slots.first, slots.second, slots.third],
                    gradient,
                    |[w, m, v, most], g| {
                        let (m, v) = moments(w, m, v, g);
                        // A NaN in v goes on into the largest.
                        let most = T::Vector::<S>::select(v.le(most), most, v);
                        [moved(w, m, most), m, v, most]
                    },
                );
            } else {
                each(
                    simd,
                    [weights, slots.first, slots.second],
                    gradient,
                    |[w, m, v], g| {
                        let (m, v) = moments(w, m, v, g);
                        [moved(w, m, v), m, v]
                    },
                );
            }
        }
    }
}

/// Applies `step` to vectors of the state and the gradient, two at a time to overlap their latencies.
#[inline(always)]
fn each<S: Simd, T: Element, const N: usize>(
    simd: S,
    mut state: [&mut [T]; N],
    gradient: &[T],
    step: impl Fn([T::Vector<S>; N], T::Vector<S>) -> [T::Vector<S>; N],
) {
    let (lanes, len) = (T::Vector::<S>::LANES, gradient.len());
    assert!(state.iter().all(|slot| slot.len() == len));
    let mut at = 0;
    while at + 2 * lanes <= len {
        let load = |state: &[&mut [T]; N], at: usize| -> [T::Vector<S>; N] {
            std::array::from_fn(|n| T::Vector::<S>::load_slice(simd, &state[n][at..at + lanes]))
        };
        let g = |at: usize| T::Vector::<S>::load_slice(simd, &gradient[at..at + lanes]);
        let first = step(load(&state, at), g(at));
        let second = step(load(&state, at + lanes), g(at + lanes));
        for n in 0..N {
            first[n].store_slice(&mut state[n][at..at + lanes]);
            second[n].store_slice(&mut state[n][at + lanes..at + 2 * lanes]);
        }
        at += 2 * lanes;
    }
    while at < len {
        let end = len.min(at + lanes);
        let tails = std::array::from_fn(|n| T::Vector::<S>::load_tail(simd, &state[n][at..end]));
        let results = step(tails, T::Vector::<S>::load_tail(simd, &gradient[at..end]));
        for n in 0..N {
            results[n].store_tail(&mut state[n][at..end]);
        }
        at = end;
    }
}

/// [`update`] as a kernel.
pub struct Update<'a, T> {
    pub rule: &'a Rule<T>,
    pub clip: &'a Clip<T>,
    pub weights: &'a mut [T],
    pub gradient: &'a [T],
    pub slots: Slots<'a, T>,
}

impl<T: Element> Kernel for Update<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        update(
            simd,
            self.rule,
            self.clip,
            self.weights,
            self.gradient,
            self.slots,
        );
    }
}

/// Elements whose squares are summed in the element type; such sums are joined in float64, in order.
pub const NORM_CHUNK: usize = 4096;

/// Σ g² of at most [`NORM_CHUNK`] elements: `ROW_LANES` virtual lanes, joined by halving.
#[inline(always)]
pub fn squared_norm<S: Simd, T: Element>(simd: S, chunk: &[T]) -> f64 {
    assert!(chunk.len() <= NORM_CHUNK);
    let lanes = T::Vector::<S>::LANES;
    let mut sums = [T::ZERO; 16];
    let sums = &mut sums[..T::ROW_LANES];
    for lane in (0..T::ROW_LANES).step_by(lanes) {
        let mut sum = T::Vector::<S>::zero(simd);
        let mut at = lane;
        while at < chunk.len() {
            let g = T::Vector::<S>::load_tail(simd, &chunk[at..chunk.len().min(at + lanes)]);
            sum = g.mul_add(g, sum);
            at += T::ROW_LANES;
        }
        sum.store_slice(&mut sums[lane..]);
    }
    let mut width = T::ROW_LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] = sums[lane] + sums[lane + width];
        }
        width /= 2;
    }
    sums[0].to_f64()
}

/// Which group each part of a flat buffer belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub range: Range<usize>,
    pub group: usize,
}
