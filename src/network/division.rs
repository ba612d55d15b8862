//! How threads divide a layer's forward product and its input gradient: by outputs, or by rows of the batch.
//!
//! Divided by outputs, a thread works with weights of its own, which stay in its caches from step to step; but everyone
//! reads what each has computed, so the threads must meet, and fetch it from each other's caches. A layer of few weights
//! is divided by rows: every thread reads all weights, and its rows stay with it through the layers that follow. 784-128-64-10
//! at batch 64 takes 2 % less so. Who computes an element has no influence on its bits.

#![allow(unsafe_code)]

use super::Network;
use crate::gemm::turn::{blocks, panels_to_columns};
use crate::gemm::{PANEL, Product};
use crate::pool::{Member, Shared};
use crate::simd::{Element, Simd};
use std::ops::Range;

impl<T: Element> Network<T> {
    /// The panels of this member, if layer l is divided by rows: a rule of the layer, the rows and the threads alone, so
    /// that all members find the same.
    pub(super) fn own_panels(
        &self,
        l: usize,
        member: &Member<'_>,
        rows: usize,
    ) -> Option<Range<usize>> {
        let panels = rows.div_ceil(PANEL);
        let by_rows = self.layers[l].linear.as_ref().is_none_or(|linear| {
            // The batch is no layer's output, and stays with nobody; half a tile would take as long as a whole one.
            l > 0
                && member.count > 1
                && panels >= 2 * member.count
                && linear.shape(rows).has_few_weights::<T>()
        });
        by_rows.then(|| member.share(panels))
    }
}

/// This member's part of a layer's product: of all units, or of its own panels. `after` is told of every finished rectangle.
///
/// # Safety
/// As [`Product::run`], for this part.
#[inline(always)]
pub(super) unsafe fn run_part<S: Simd, T: Element>(
    simd: S,
    product: &Product<T>,
    member: &Member<'_>,
    own_panels: Option<Range<usize>>,
    packed: *mut T,
    mut after: impl FnMut(Range<usize>, Range<usize>),
) {
    let (part, first) = match &own_panels {
        None => (*product, 0),
        Some(panels) => (product.of_panels(panels.clone()), panels.start * PANEL),
    };
    let units = |all| {
        if own_panels.is_some() {
            0..all
        } else {
            member.share(all)
        }
    };
    let after = |rows, columns: Range<usize>| {
        after(rows, first + columns.start..first + columns.end);
    };
    // SAFETY: the caller's.
    unsafe { part.run(simd, units, packed, after) };
}

/// This member's part of turning the input of a layer into columns: of its own panels, or of a share of the features.
///
/// # Safety
/// As `forward_layers`; the part of the input is finished.
#[inline(always)]
pub(super) unsafe fn turn_columns<S: Simd, T: Element>(
    simd: S,
    member: &Member<'_>,
    own_panels: Option<Range<usize>>,
    rows: usize,
    features: usize,
    panels: Shared<'_, T>,
    columns: Shared<'_, T>,
) {
    let all = blocks(rows, features);
    let across = rows.div_ceil(PANEL);
    // SAFETY: the members' blocks are disjoint.
    unsafe {
        match own_panels {
            None => panels_to_columns(simd, rows, features, member.share(all), panels, columns),
            Some(own) => {
                for first in (0..all).step_by(across) {
                    let here = first + own.start..first + own.end;
                    panels_to_columns(simd, rows, features, here, panels, columns);
                }
            }
        }
    }
}
