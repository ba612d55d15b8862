//! The threads of a pool, how they meet, and what becomes of their panics.
//!
//! What one core writes costs another some hundred nanoseconds to read. So a worker and its caller have one cache line
//! between them ([`Place`]): in it the worker finds its work, and the caller that the worker has arrived or finished.

use super::SPIN;
use super::place::Place;
use std::any::Any;
use std::panic::panic_any;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

/// Carried by the panic of a member whose team-mate panicked.
struct TeamPanicked;

#[repr(align(128))]
struct Caller {
    /// As [`Place::arrivals`].
    arrivals: AtomicU32,
}

pub(super) struct Team {
    caller: Caller,
    pub(super) places: Vec<Place>,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Team {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            caller: Caller {
                arrivals: AtomicU32::new(0),
            },
            places: (0..workers).map(|_| Place::new()).collect(),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    /// Made ready for a call, before any worker hears of it: who is called first may be at a barrier before the next is.
    pub(super) fn begin(&self, workers: usize) {
        for index in 0..=workers {
            self.arrivals(index).store(0, Ordering::Relaxed);
        }
    }

    /// How often member `index` has arrived at a barrier in this call.
    pub(super) fn arrivals(&self, index: usize) -> &AtomicU32 {
        match index.checked_sub(1) {
            None => &self.caller.arrivals,
            Some(worker) => &self.places[worker].arrivals,
        }
    }

    /// Waits until `count` members have arrived here as often as this one.
    pub(super) fn meet(&self, index: usize, count: usize) {
        let mine = self.arrivals(index);
        let times = mine.load(Ordering::Relaxed) + 1;
        mine.store(times, Ordering::Release);
        for other in (0..count).filter(|&other| other != index) {
            let theirs = self.arrivals(other);
            wait_until(|| {
                theirs.load(Ordering::Acquire) >= times || self.panicked.load(Ordering::Relaxed)
            });
        }
        if self.panicked.load(Ordering::Relaxed) {
            panic_any(TeamPanicked);
        }
    }

    /// Keeps the first panic of a call for its caller, and frees who waits for its member.
    pub(super) fn note(&self, payload: Box<dyn Any + Send>) {
        if !payload.is::<TeamPanicked>() {
            let mut first = self
                .panic
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            first.get_or_insert(payload);
        }
        self.panicked.store(true, Ordering::Release);
    }

    /// Waits for the workers of a call to finish; what a member panicked with, if one did.
    pub(super) fn end(&self, workers: usize) -> Option<Box<dyn Any + Send>> {
        for place in &self.places[..workers] {
            wait_until(|| place.has_finished());
        }
        if !self.panicked.load(Ordering::Acquire) {
            return None;
        }
        self.panicked.store(false, Ordering::Relaxed);
        self.panic
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take()
    }
}

/// Spins, then yields the core, then sleeps in short naps, until `ready`.
fn wait_until(mut ready: impl FnMut() -> bool) {
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
