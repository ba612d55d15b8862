//! One thread of a team, and where they meet.

use super::SPIN;
use std::ops::Range;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// One thread of a team.
pub struct Member<'a> {
    pub index: usize,
    pub count: usize,
    barrier: Option<&'a Barrier>,
}

impl Member<'_> {
    /// A team of one.
    pub fn alone() -> Member<'static> {
        Member {
            index: 0,
            count: 1,
            barrier: None,
        }
    }

    pub(super) fn of_team(index: usize, count: usize, barrier: &Barrier) -> Member<'_> {
        Member {
            index,
            count,
            barrier: Some(barrier),
        }
    }

    /// The same member, for the next of several passes.
    pub fn again(&self) -> Self {
        Self { ..*self }
    }

    /// This member's contiguous part of `0..total`; the same at every call.
    #[inline(always)]
    pub fn share(&self, total: usize) -> Range<usize> {
        total * self.index / self.count..total * (self.index + 1) / self.count
    }

    /// Waits until every member is here. What any wrote before, all see after.
    #[inline(always)]
    pub fn barrier(&self) {
        if let Some(barrier) = self.barrier {
            barrier.wait();
        }
    }
}

/// Spins, then yields the core, then sleeps in short naps, until `ready`.
pub(super) fn wait_until(mut ready: impl FnMut() -> bool) {
    for _ in 0..64 {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    loop {
        for _ in 0..64 {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        let waited = start.elapsed();
        if waited > 20 * SPIN {
            std::thread::sleep(SPIN / 2);
        } else if waited > SPIN {
            std::thread::yield_now();
        }
    }
}

/// Carried by the panic of a member whose team-mate panicked.
pub(super) struct TeamPanicked;

#[repr(align(128))]
pub(super) struct Barrier {
    count: AtomicUsize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    pub(super) panicked: AtomicBool,
}

impl Barrier {
    pub(super) const fn new() -> Self {
        Self {
            count: AtomicUsize::new(1),
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        }
    }

    /// Made ready for a team; nobody is waiting.
    pub(super) fn reset(&self, count: usize) {
        self.count.store(count, Ordering::Relaxed);
        self.arrived.store(0, Ordering::Relaxed);
        self.panicked.store(false, Ordering::Relaxed);
    }

    fn wait(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.count.load(Ordering::Relaxed) {
            self.arrived.store(0, Ordering::Relaxed);
            self.generation
                .store(generation.wrapping_add(1), Ordering::Release);
        } else {
            wait_until(|| {
                self.generation.load(Ordering::Acquire) != generation
                    || self.panicked.load(Ordering::Relaxed)
            });
        }
        if self.panicked.load(Ordering::Relaxed) {
            panic_any(TeamPanicked);
        }
    }
}
