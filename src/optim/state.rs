//! An optimiser with its state, over the flat buffers of a model.

#![allow(unsafe_code)]

use super::{
    AdamVectors, AmsgradVectors, Clip, Group, Kind, MomentumVectors, Optimizer, Rows, Rule,
    Segment, SgdVectors, Update, VectorRule, sweep_rows,
};
use crate::buffer::Flat;
use crate::error::{Error, Result};
use crate::gemm::{Ahead, caches};
use crate::pool::{self, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use std::ops::Range;
use std::sync::Arc;

/// Rules, progress and slots of an optimisation of the parameters in one flat buffer.
pub struct State<T> {
    pub rules: Optimizer<T>,
    parameters: Arc<Flat<T>>,
    gradients: Arc<Flat<T>>,
    /// As long as the parameters where the rules use them, else empty.
    slots: [Arc<Flat<T>>; 3],
}

/// Floating-point operations that the update of a parameter is reckoned to cost.
const UPDATE_FLOPS: f64 = 30.0;

impl<T: Element> State<T> {
    /// # Errors
    /// Settings out of range, segments outside the buffers.
    pub fn new(
        kind: Kind,
        parameters: Arc<Flat<T>>,
        gradients: Arc<Flat<T>>,
        segments: &[Segment],
        groups: &[Group],
    ) -> Result<Self> {
        if parameters.len() != gradients.len() {
            return Err(Error::Value(format!(
                "the gradient buffer has {} elements, the parameter buffer {}",
                gradients.len(),
                parameters.len()
            )));
        }
        let rules = Optimizer::new(kind, parameters.len(), segments, groups)?;
        let slots = std::array::from_fn(|_| Arc::new(Flat::zeros(0, 0)));
        let mut state = Self {
            rules,
            parameters,
            gradients,
            slots,
        };
        state.make_slots();
        Ok(state)
    }

    /// Makes the slots that the rules use and that are not there yet.
    fn make_slots(&mut self) {
        let used = self.rules.slot_names().len();
        for (number, slot) in self.slots.iter_mut().enumerate().take(used) {
            if slot.is_empty() {
                // Read beside the parameters at equal offsets: each begins on another line.
                *slot = Arc::new(Flat::zeros(self.parameters.len(), 5 + 3 * number));
            }
        }
    }

    /// # Errors
    /// Settings out of range, or no such group.
    pub fn set_group(&mut self, index: usize, group: Group) -> Result<()> {
        self.rules.set_group(index, group)?;
        self.make_slots();
        Ok(())
    }

    /// A slot by torch's name.
    pub fn slot(&self, name: &str) -> Option<&Arc<Flat<T>>> {
        let at = self
            .rules
            .slot_names()
            .iter()
            .position(|slot| *slot == name)?;
        Some(&self.slots[at])
    }

    /// Elements in the buffers.
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Where the gradient begins.
    pub(super) fn gradients(&self) -> *mut T {
        self.gradients.as_mut_pointer()
    }

    /// Where the parameters and two slots begin.
    pub(super) fn adam_buffers(&self) -> [*mut T; 3] {
        [&self.parameters, &self.slots[0], &self.slots[1]].map(|flat| flat.as_mut_pointer())
    }

    /// Whether this optimises the parameters of a network over these buffers.
    pub fn is_over(&self, parameters: &Arc<Flat<T>>, gradients: &Arc<Flat<T>>) -> bool {
        Arc::ptr_eq(&self.parameters, parameters) && Arc::ptr_eq(&self.gradients, gradients)
    }

    /// Updates the parameters in a range of the buffers, by the rules of the step begun last.
    ///
    /// # Safety
    /// No other thread touches this range of the parameters, the gradient or the slots.
    #[inline(always)]
    pub unsafe fn update<S: Simd>(&self, simd: S, clip: Clip<T>, range: Range<usize>) {
        let part = |flat: &Flat<T>| {
            // SAFETY: valid for its length.
            let shared = unsafe { Shared::from_raw(flat.as_mut_pointer(), flat.len()) };
            let range = if flat.is_empty() { 0..0 } else { range.clone() };
            // SAFETY: the caller's.
            unsafe { shared.write(range) }
        };
        let [first, second, third] = &self.slots;
        simd.call(Update {
            optimizer: &self.rules,
            clip,
            first: range.start,
            weights: part(&self.parameters),
            gradient: part(&self.gradients),
            slots: [part(first), part(second), part(third)],
        });
    }

    /// Updates a rectangle of one parameter from a gradient that lies elsewhere, its rows `gradient_stride` apart.
    ///
    /// # Safety
    /// No other thread touches the rectangle in the parameters or the slots; `gradient` may be read.
    #[inline(always)]
    pub unsafe fn update_rows<S: Simd>(
        &self,
        simd: S,
        clip: Clip<T>,
        at: Rectangle,
        gradient: *const T,
        gradient_stride: usize,
    ) {
        let mut at = at;
        if at.columns == at.stride && at.columns == gradient_stride {
            // Rows without a gap between them are one.
            (at.rows, at.columns) = (1, at.rows * at.columns);
        }
        simd.call(UpdateRows {
            state: self,
            clip,
            at,
            gradient,
            gradient_stride,
        });
    }

    /// Of the parameter that begins at `start` what its update will wait for, as memory to be written, rows `stride`
    /// apart: the parameter and its slots, or, where `rows` of them, as many as a thread has, stay in its second-level cache
    /// from step to step, nothing; but the parameter alone if other threads have read it since.
    pub fn ahead(
        &self,
        start: usize,
        rows: usize,
        stride: usize,
        read_by_others: bool,
    ) -> Ahead<T> {
        let used = self.rules.slot_names().len();
        let stays = (1 + used) * rows * stride * size_of::<T>() <= caches().l2;
        let mut ahead = Ahead::nothing();
        ahead.count = match (stays, read_by_others) {
            (false, _) => 1 + used,
            (true, true) => 1,
            (true, false) => 0,
        };
        ahead.row = stride;
        let flats = std::iter::once(&self.parameters).chain(&self.slots[..used]);
        for (buffer, flat) in ahead.buffers.iter_mut().zip(flats) {
            *buffer = flat.as_mut_pointer().wrapping_add(start).cast_const();
        }
        ahead
    }

    /// Σ g² of a chunk of [`Optimizer::norm_chunks`].
    ///
    /// # Safety
    /// No other thread writes this chunk of the gradient.
    #[inline(always)]
    pub unsafe fn squared_norm<S: Simd>(&self, simd: S, chunk: usize) -> f64 {
        // SAFETY: valid for its length; the caller's for the rest.
        let gradient = unsafe {
            Shared::from_raw(self.gradients.as_mut_pointer(), self.gradients.len())
                .read(self.rules.norm_chunks()[chunk].clone())
        };
        super::squared_norm_of_chunk(simd, gradient)
    }

    /// Σ g² of all chunks in float64 throughout: where a chunk's squares overflow.
    ///
    /// # Safety
    /// No other thread writes the gradient.
    pub unsafe fn wide_squared_norm(&self) -> f64 {
        // SAFETY: valid for its length; the caller's for the rest.
        let gradient = unsafe {
            Shared::from_raw(self.gradients.as_mut_pointer(), self.gradients.len())
                .read(0..self.gradients.len())
        };
        super::wide_squared_norm(&self.rules, gradient)
    }

    /// One step from the gradient as it lies in its buffer.
    pub fn step(&mut self, isa: Isa) {
        self.rules.begin_step(None);
        let state = &*self;
        let len = state.parameters.len();
        pool::run(len as f64 * UPDATE_FLOPS, &|member| {
            let lines = member.share(len.div_ceil(super::ALIGNMENT));
            let range = lines.start * super::ALIGNMENT..len.min(lines.end * super::ALIGNMENT);
            isa.run(Step { state, range });
        });
    }
}

/// Rows of a parameter, or parts of them: offsets are in elements into the flat buffers.
#[derive(Clone, Copy, Debug)]
pub struct Rectangle {
    pub start: usize,
    pub stride: usize,
    pub rows: usize,
    pub columns: usize,
}

struct UpdateRows<'a, T> {
    state: &'a State<T>,
    clip: Clip<T>,
    at: Rectangle,
    gradient: *const T,
    gradient_stride: usize,
}

impl<T: Element> UpdateRows<'_, T> {
    /// The rectangle's first element in a buffer.
    ///
    /// # Panics
    /// If the buffer ends before the rectangle.
    #[inline(always)]
    fn start(&self, flat: &Flat<T>) -> *mut T {
        let Rectangle {
            start,
            stride,
            rows,
            columns,
        } = self.at;
        assert!(rows == 0 || start + (rows - 1) * stride + columns <= flat.len());
        flat.as_mut_pointer().wrapping_add(start)
    }

    #[inline(always)]
    fn each<S: Simd, R: VectorRule<T::Vector<S>, K>, const K: usize>(self, simd: S, rule: R) {
        let mut slots = [std::ptr::null_mut(); K];
        for (slot, flat) in slots.iter_mut().zip(&self.state.slots) {
            *slot = self.start(flat);
        }
        let rows = Rows {
            rows: self.at.rows,
            columns: self.at.columns,
            weights: self.start(&self.state.parameters),
            slots,
            stride: self.at.stride,
            gradient: self.gradient,
            gradient_stride: self.gradient_stride,
        };
        // SAFETY: within the buffers; the maker vouches for the gradient, and that nobody else touches the rectangle.
        unsafe { sweep_rows(simd, rule, self.clip, rows) }
    }
}

impl<T: Element> Kernel for UpdateRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.state.rules.rule_at(self.at.start) {
            None => {}
            Some(Rule::Sgd(rule)) if !rule.uses_momentum() => {
                self.each::<S, _, 0>(simd, SgdVectors::new(simd, rule))
            }
            Some(Rule::Sgd(rule)) => self.each::<S, _, 1>(simd, MomentumVectors::new(simd, rule)),
            Some(Rule::Adam(rule)) if !rule.amsgrad() => {
                self.each::<S, _, 2>(simd, AdamVectors::new(simd, rule))
            }
            Some(Rule::Adam(rule)) => self.each::<S, _, 3>(simd, AmsgradVectors::new(simd, rule)),
        }
    }
}

struct Step<'a, T> {
    state: &'a State<T>,
    range: Range<usize>,
}

impl<T: Element> Kernel for Step<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: the shares of the members are disjoint, and the optimiser is borrowed mutably by the step.
        unsafe { self.state.update(simd, Clip::none(), self.range) }
    }
}
