//! What one pass over a batch writes, allocated once for the largest batch seen.

use super::session::Batch;
use super::ways::Ways;
use super::{Layer, Network};
use crate::buffer::Aligned;
use crate::gemm::{LOCAL_LEN, PANEL, caches, packed_len, padded, panels_len};
use crate::pool::{Member, num_threads};
use crate::simd::Element;
use std::ops::Range;

/// What a pass needs beside the activations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Purpose {
    Predict,
    Train,
}

pub struct Workspace<T> {
    /// Rows that fit.
    pub rows: usize,
    purpose: Purpose,
    /// The batch: one copy, or, if it is not too large, with two threads one for each.
    inputs: Vec<Inputs<T>>,
    /// Whether each thread has a copy of its own in this pass.
    pub own_inputs: bool,
    pub layers: Vec<LayerSpace<T>>,
    /// The gradient with respect to the input, when asked for.
    pub dx: Aligned<T>,
    /// Dense targets in panels.
    pub targets: Aligned<T>,
    pub losses: Aligned<T>,
    /// One packing buffer a thread.
    pub packed: Vec<Aligned<T>>,
    /// One buffer a thread for the gradient of a few weights on its way to their update.
    pub local: Vec<Aligned<T>>,
    /// The rows of the last forward pass by hand. None: nothing to go backward from.
    pub forward: Option<usize>,
    pub ways: Ways,
}

/// The batch, scaled: panels, and columns for the first layer's weight gradient.
pub struct Inputs<T> {
    pub panels: Aligned<T>,
    pub columns: Aligned<T>,
}

pub struct LayerSpace<T> {
    /// The layer's output, in panels.
    pub out: Aligned<T>,
    /// What the activation's derivative is computed from, where that is not the output.
    pub kept: Aligned<T>,
    /// The output as columns, for the next layer's weight gradient.
    pub columns: Aligned<T>,
    /// The gradient with respect to the layer's linear output (before the activation).
    pub gradient: Aligned<T>,
    /// Dropout's keep-masks: bit r of `[panel][feature]` is row r of the panel.
    pub masks: Aligned<u16>,
}

impl<T: Element> Workspace<T> {
    pub fn empty() -> Self {
        let none = || Aligned::zeros(0);
        Self {
            rows: 0,
            purpose: Purpose::Predict,
            inputs: Vec::new(),
            own_inputs: false,
            layers: Vec::new(),
            dx: none(),
            targets: none(),
            losses: none(),
            packed: Vec::new(),
            local: Vec::new(),
            forward: None,
            ways: Ways::new(),
        }
    }

    /// Whether two threads that have copies of the batch of their own may do better to share one. Where the batch is small, to
    /// fetch and pack it twice costs less than a barrier; else that depends on how near the cores are to each other. Rows that
    /// lie anywhere take longer to fetch.
    pub fn may_share_inputs(&self, network: &Network<T>, batch: &Batch<'_, T>) -> bool {
        let small = caches().l1 / if batch.picks.is_some() { 4 } else { 1 };
        self.inputs.len() > 1 && input_bytes(network, batch.rows) > small
    }

    /// Whether this member has a copy of the batch of its own.
    pub fn has_own_inputs(&self, member: &Member<'_>) -> bool {
        self.own_inputs && member.count == self.inputs.len()
    }

    /// The panels of the batch that this member packs.
    pub fn packed_by(&self, member: &Member<'_>, rows: usize) -> Range<usize> {
        let panels = rows.div_ceil(PANEL);
        if self.has_own_inputs(member) {
            0..panels
        } else {
            member.share(panels)
        }
    }

    pub fn inputs(&self, member: &Member<'_>) -> &Inputs<T> {
        let own = self.has_own_inputs(member);
        &self.inputs[if own { member.index } else { 0 }]
    }

    /// Grows to `rows` rows of the network, if need be, and to the threads that are set.
    pub fn prepare(&mut self, network: &Network<T>, rows: usize, purpose: Purpose) {
        let threads = num_threads();
        if self.rows >= rows.max(1) && self.purpose >= purpose && self.packed.len() >= threads {
            return;
        }
        let rows = rows.max(self.rows).max(1);
        let train = purpose == Purpose::Train;
        // Both forms leave no room in a second-level cache else.
        let may_own = input_bytes(network, rows) <= caches().l2 / 2;
        let if_train = |len: usize| Aligned::zeros(if train { len } else { 0 });
        let space = |layer: &Layer| LayerSpace {
            out: Aligned::zeros(panels_len(rows, layer.outputs)),
            kept: if_train(if layer.keeps_apart() {
                panels_len(rows, layer.outputs)
            } else {
                0
            }),
            columns: if_train(panels_len(layer.outputs, rows)),
            gradient: if_train(panels_len(rows, layer.outputs)),
            masks: Aligned::zeros(if train && layer.dropout.is_some() {
                padded(rows) / PANEL * layer.outputs
            } else {
                0
            }),
        };
        let most_packed = network
            .layers
            .iter()
            .map(|layer| packed_len::<T>(layer.inputs, layer.outputs))
            .max()
            .unwrap_or(0);
        *self = Self {
            rows,
            purpose,
            inputs: (0..if train && may_own { threads.min(2) } else { 1 })
                .map(|_| Inputs {
                    panels: Aligned::zeros(panels_len(rows, network.inputs)),
                    columns: if_train(panels_len(network.inputs, rows)),
                })
                .collect(),
            own_inputs: false,
            layers: network.layers.iter().map(space).collect(),
            dx: if_train(panels_len(rows, network.inputs)),
            targets: if_train(panels_len(rows, network.outputs)),
            losses: if_train(padded(rows)),
            packed: (0..threads).map(|_| if_train(most_packed)).collect(),
            local: (0..threads).map(|_| if_train(LOCAL_LEN)).collect(),
            forward: None,
            ways: self.ways,
        };
    }
}

/// Bytes of so many rows of a network's input.
fn input_bytes<T>(network: &Network<T>, rows: usize) -> usize {
    rows * network.inputs * size_of::<T>()
}
