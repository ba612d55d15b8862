//! Optimisers: one loop over flat memory.
//!
//! The parameters lie in one buffer, the gradient and every slot of the optimiser's state in buffers of the same
//! layout. [`Optimizer`] knows the layout, the groups' hyperparameters and the step count, but owns no buffer. A step
//! is [`Optimizer::begin_step`], which works out one [`Rule`] a group, then [`Optimizer::update`] over any cover of
//! the buffer by slices, in any order and on any threads: every element is updated on its own.

mod adam;
mod adam_tile;
mod beside;
mod group;
mod norm;
mod sgd;
mod state;
mod sweep;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::simd::{Element, Simd};
use std::ops::Range;

pub use adam::{AdamRule, AdamVectors, AmsgradVectors};
pub use beside::Beside;
pub use group::{Group, Kind};
pub use norm::{all_finite, clip_scale, squared_norm, squared_norm_of_chunk, wide_squared_norm};
pub use sgd::{MomentumVectors, SgdRule, SgdVectors};
pub use state::{Rectangle, State};
pub use sweep::{Clip, Rows, Update, VectorRule, sweep, sweep_rows};

/// Segments start at multiples of this many elements; what lies between two is zero and stays so.
const ALIGNMENT: usize = 16;
/// Elements whose squares are summed in one go; see [`squared_norm`].
const NORM_CHUNK: usize = 4096;

/// Where a trained parameter lies, and whose hyperparameters it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub offset: usize,
    pub length: usize,
    pub group: usize,
}

impl Segment {
    fn end(self) -> usize {
        self.offset + self.length
    }
}

/// What a step does to the parameters of a group, worked out once a step.
#[derive(Clone, Copy, Debug)]
pub enum Rule<T> {
    Sgd(SgdRule<T>),
    Adam(AdamRule<T>),
}

/// The slots beside a slice of the parameters, in the order of [`Optimizer::slot_names`]; the rest are empty.
pub type Slots<'a, T> = [&'a mut [T]; 3];

/// Layout, hyperparameters and progress of an optimisation in element type `T`.
#[derive(Clone, Debug)]
pub struct Optimizer<T> {
    kind: Kind,
    groups: Vec<Group>,
    segments: Vec<Segment>,
    /// Neighbours of the same group, gaps of alignment included.
    runs: Vec<Segment>,
    norm_chunks: Vec<Range<usize>>,
    step_count: u64,
    /// β₁ᵗ and β₂ᵗ of every group, as running products.
    powers: Vec<[f64; 2]>,
    /// Groups whose momentum starts with the next step.
    fresh: Vec<bool>,
    rules: Vec<Rule<T>>,
    /// `powers` and `fresh` before the step begun last.
    before: (Vec<[f64; 2]>, Vec<bool>),
}

impl<T: Element> Optimizer<T> {
    /// `length` is that of the flat buffer; segments may come in any order.
    pub fn new(kind: Kind, length: usize, segments: &[Segment], groups: &[Group]) -> Result<Self> {
        let mut segments: Vec<Segment> = segments
            .iter()
            .copied()
            .filter(|segment| segment.length > 0)
            .collect();
        segments.sort_by_key(|segment| segment.offset);
        let mut end = 0;
        for &Segment {
            offset,
            length: size,
            group,
        } in &segments
        {
            if group >= groups.len() {
                let count = groups.len();
                return Err(Error::Value(format!(
                    "a segment has group {group}; expected less than {count}"
                )));
            }
            if offset < end || size > length || offset > length - size {
                return Err(Error::Value(format!(
                    "a segment has offset {offset} and length {size}; expected it within {end} to {length}"
                )));
            }
            end = offset + size;
        }
        for group in groups {
            group.check(kind)?;
        }
        let mut norm_chunks = Vec::new();
        for run in joined(&segments, |_, _| true) {
            let starts = (run.offset..run.end()).step_by(NORM_CHUNK);
            norm_chunks.extend(starts.map(|at| at..run.end().min(at + NORM_CHUNK)));
        }
        let mut optimizer = Self {
            kind,
            groups: groups.to_vec(),
            runs: joined(&segments, |a, b| a.group == b.group),
            segments,
            norm_chunks,
            step_count: 0,
            powers: Vec::new(),
            fresh: Vec::new(),
            rules: Vec::with_capacity(groups.len()),
            before: (Vec::new(), Vec::new()),
        };
        optimizer.set_step_count(0);
        Ok(optimizer)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The trained parameters in the order of their offsets.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Changes a group's hyperparameters from the next step on; [`Optimizer::slot_names`] may grow.
    pub fn set_group(&mut self, index: usize, group: Group) -> Result<()> {
        let count = self.groups.len();
        let Some(place) = self.groups.get_mut(index) else {
            return Err(Error::Value(format!(
                "group is {index}; expected less than {count}"
            )));
        };
        group.check(self.kind)?;
        *place = group;
        Ok(())
    }

    /// The state that the hyperparameters call for, by torch's names.
    pub fn slot_names(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Sgd if self.groups.iter().all(|group| group.momentum == 0.0) => &[],
            Kind::Sgd => &["momentum_buffer"],
            Kind::Adam | Kind::AdamW if self.groups.iter().any(|group| group.amsgrad) => {
                &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
            }
            Kind::Adam | Kind::AdamW => &["exp_avg", "exp_avg_sq"],
        }
    }

    pub fn step_count(&self) -> u64 {
        self.step_count
    }

    /// Sets the count, and the powers as if all steps had been done with the present hyperparameters.
    pub fn set_step_count(&mut self, count: u64) {
        self.step_count = count;
        self.powers.clear();
        for group in &self.groups {
            self.powers
                .push(group.betas().map(|beta| running_power(beta, count)));
        }
        self.fresh = vec![count == 0; self.groups.len()];
    }

    pub fn powers(&self) -> &[[f64; 2]] {
        &self.powers
    }

    pub fn set_powers(&mut self, powers: &[[f64; 2]]) -> Result<()> {
        if powers.len() != self.groups.len() {
            let (has, wants) = (powers.len(), self.groups.len());
            return Err(Error::Shape(format!(
                "powers has shape ({has}, 2); expected ({wants}, 2), one row a group"
            )));
        }
        self.powers.copy_from_slice(powers);
        Ok(())
    }

    /// Counts a step and works out its rules. `learning_rate` stands in for that of every group.
    pub fn begin_step(&mut self, learning_rate: Option<f64>) {
        self.step_count += 1;
        self.before.0.clone_from(&self.powers);
        self.before.1.clone_from(&self.fresh);
        self.rules.clear();
        for (index, group) in self.groups.iter().enumerate() {
            let powers = &mut self.powers[index];
            for (power, beta) in powers.iter_mut().zip(group.betas()) {
                *power = next_power(*power, beta);
            }
            let rate = learning_rate.unwrap_or(group.lr);
            self.rules.push(match self.kind {
                Kind::Sgd => Rule::Sgd(SgdRule::new(group, rate, self.fresh[index])),
                Kind::Adam => Rule::Adam(AdamRule::new(group, rate, *powers, false)),
                Kind::AdamW => Rule::Adam(AdamRule::new(group, rate, *powers, true)),
            });
            self.fresh[index] &= group.momentum == 0.0;
        }
    }

    /// Takes the step begun last back, when it turns out that it must not be done.
    pub fn undo_step(&mut self) {
        if !self.rules.is_empty() {
            self.step_count -= 1;
            self.powers.clone_from(&self.before.0);
            self.fresh.clone_from(&self.before.1);
            self.rules.clear();
        }
    }

    /// The rules of the step begun last, one a group.
    pub fn rules(&self) -> &[Rule<T>] {
        &self.rules
    }

    /// What is updated, each part by its group's rule: the segments, joined across the gaps of alignment between
    /// neighbours of one group, where zeros stay zeros.
    #[inline]
    pub fn runs(&self) -> &[Segment] {
        // With epsilon 0 Adam would turn a gap into 0/0.
        let zeros_stay = self.kind == Kind::Sgd || self.groups.iter().all(|group| group.eps > 0.0);
        if zeros_stay {
            &self.runs
        } else {
            &self.segments
        }
    }

    /// Updates the parameters of the step begun last that lie in a part of the buffer: `weights`, `gradient` and the
    /// slots in use begin at element `first` of it.
    ///
    /// # Panics
    /// If the slices differ in length, or no step was begun.
    #[inline(always)]
    pub fn update<S: Simd>(
        &self,
        simd: S,
        clip: Clip<T>,
        first: usize,
        weights: &mut [T],
        gradient: &[T],
        slots: Slots<'_, T>,
    ) {
        let [slot0, slot1, slot2] = slots;
        for run in self.runs() {
            let start = run.offset.max(first);
            let end = run.end().min(first + weights.len());
            if start >= end {
                continue;
            }
            let part = start - first..end - first;
            let (w, g) = (&mut weights[part.clone()], &gradient[part.clone()]);
            match &self.rules[run.group] {
                Rule::Sgd(rule) if !rule.uses_momentum() => {
                    sweep(simd, SgdVectors::new(simd, rule), clip, w, g, []);
                }
                Rule::Sgd(rule) => {
                    let slots = [&mut slot0[part]];
                    sweep(simd, MomentumVectors::new(simd, rule), clip, w, g, slots);
                }
                Rule::Adam(rule) if !rule.amsgrad() => {
                    let slots = [&mut slot0[part.clone()], &mut slot1[part]];
                    sweep(simd, AdamVectors::new(simd, rule), clip, w, g, slots);
                }
                Rule::Adam(rule) => {
                    let slots = [
                        &mut slot0[part.clone()],
                        &mut slot1[part.clone()],
                        &mut slot2[part],
                    ];
                    sweep(simd, AmsgradVectors::new(simd, rule), clip, w, g, slots);
                }
            }
        }
    }

    /// The rule, in the step begun last, of the parameter that holds an element of the buffer; none if it is not trained.
    #[inline]
    pub fn rule_at(&self, element: usize) -> Option<&Rule<T>> {
        let after = self
            .segments
            .partition_point(|segment| segment.offset <= element);
        let segment = self.segments[..after].last()?;
        (element < segment.end()).then(|| &self.rules[segment.group])
    }

    /// The parts of the buffer whose squares are summed in one go, in the order in which their sums are joined.
    pub fn norm_chunks(&self) -> &[Range<usize>] {
        &self.norm_chunks
    }
}

/// Segments that meet, but for a gap of alignment, and that `alike` accepts, as one.
fn joined(segments: &[Segment], alike: impl Fn(Segment, Segment) -> bool) -> Vec<Segment> {
    let mut runs: Vec<Segment> = Vec::new();
    for &segment in segments {
        match runs.last_mut() {
            Some(run)
                if run.end().next_multiple_of(ALIGNMENT) >= segment.offset
                    && alike(*run, segment) =>
            {
                run.length = segment.end() - run.offset;
            }
            _ => runs.push(segment),
        }
    }
    runs
}

/// βᵗ⁺¹ from βᵗ; zero where it is subnormal. It would not come to zero by itself, and each product with it would take as long
/// as the rest of the rule.
fn next_power(power: f64, beta: f64) -> f64 {
    let next = power * beta;
    if next < f64::MIN_POSITIVE { 0.0 } else { next }
}

/// βᵗ as t multiplications.
fn running_power(beta: f64, count: u64) -> f64 {
    let mut power = 1.0;
    for _ in 0..count {
        let next = next_power(power, beta);
        if next == power {
            break;
        }
        power = next;
    }
    power
}
