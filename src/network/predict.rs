//! Prediction by a network whose parameters may still change: the forward pass of training, without what training keeps.

#![allow(unsafe_code)]

use super::Network;
use super::workspace::{Purpose, Workspace};
use crate::gemm::pack::Source;
use crate::pool::{self, Member, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use std::ops::Range;

/// Rows that pass through the network together; a multiple of a panel.
const BLOCK_ROWS: usize = 512;

struct Predict<'a, T> {
    network: &'a Network<T>,
    member: Member<'a>,
    space: &'a Workspace<T>,
    x: Source<'a, T>,
    rows: usize,
    out: Shared<'a, T>,
}

impl<T: Element> Kernel for Predict<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            network,
            member,
            space,
            x,
            rows,
            out,
        } = self;
        // SAFETY: the team runs this together over a workspace of its own; members unpack disjoint panels.
        unsafe {
            network.load(simd, &member, space, &x, rows, false);
            member.barrier();
            network.forward_layers(simd, &member, space, rows, false, &|| {});
            network.unload(simd, &member, space, rows, out);
            member.barrier();
        }
    }
}

impl<T: Element> Network<T> {
    /// A copy of some parameters.
    pub(crate) fn read(&self, range: Range<usize>) -> Vec<T> {
        assert!(range.start <= range.end && range.end <= self.parameters.len());
        // SAFETY: within the buffer; reads of plain numbers.
        unsafe {
            std::slice::from_raw_parts(
                self.parameters.as_mut_pointer().add(range.start),
                range.len(),
            )
            .to_vec()
        }
    }

    /// Evaluates `rows` rows into `out` (row-major, contiguous). Many threads may do this at once.
    ///
    /// # Safety
    /// `x` holds `rows` rows of `inputs` elements that nobody writes meanwhile.
    ///
    /// # Panics
    /// If `out` does not hold rows × outputs elements.
    pub unsafe fn predict(&self, isa: Isa, x: Source<'_, T>, rows: usize, out: &mut [T]) {
        assert!(out.len() == rows * self.outputs);
        // Never waited for: a forked child might find it locked for ever.
        let spare = self
            .predicting
            .try_lock()
            .ok()
            .and_then(|mut spaces| spaces.pop());
        let mut space = spare.unwrap_or_else(Workspace::empty);
        space.prepare(self, rows.min(BLOCK_ROWS), Purpose::Predict);
        let out = Shared::new(out);
        let work = |member: Member<'_>| {
            for first in (0..rows).step_by(BLOCK_ROWS) {
                let here = BLOCK_ROWS.min(rows - first);
                let at = first * self.outputs..(first + here) * self.outputs;
                // SAFETY: the part of the result that belongs to this block, which the team fills together.
                let part = unsafe { Shared::from_raw(out.as_ptr().add(at.start), at.len()) };
                let x = x.from_row(first);
                isa.run(Predict {
                    network: self,
                    member: member.again(),
                    space: &space,
                    x,
                    rows: here,
                    out: part,
                });
            }
        };
        pool::run(self.flops() * rows as f64, &work);
        if let Ok(mut spaces) = self.predicting.try_lock() {
            spaces.push(space);
        }
    }
}
