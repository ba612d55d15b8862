//! In which ways the steps of a network are done, and what they have found of each.

use crate::pool::{Choice, num_threads};

/// Outlives a session: the next run over the same network need not try again.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// Whether a step is shared.
    pub sharing: Choice,
    /// Whether an update goes on beside the products of its gradient.
    pub beside: Choice,
    /// Whether each of two threads packs all of the batch, where that may pay.
    pub own_inputs: Choice,
    /// The most threads that a step has had, of those that are set.
    pub members: usize,
    threads: usize,
}

impl Ways {
    pub fn new() -> Self {
        Self {
            sharing: Choice::new(true, 0),
            // Not while another is found.
            beside: Choice::new(true, 64),
            own_inputs: Choice::new(false, 128),
            members: 1,
            threads: num_threads(),
        }
    }

    /// These, or new ones where another number of threads has been set.
    pub fn of_now(self) -> Self {
        if self.threads == num_threads() {
            self
        } else {
            Self::new()
        }
    }
}
