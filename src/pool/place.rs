//! A worker's place in the team: whether it waits, sleeps or is called; and where it wakes.

#![allow(unsafe_code)]

use super::affinity::Affinity;
use super::{SPIN, SPIN_WOKEN, Work};
use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::Thread;
use std::time::Instant;

/// Spins for a call.
const WAITING: u32 = 0;
const ASLEEP: u32 = 1;
const CALLED: u32 = 2;
/// Woken, and not yet there.
const WAKING: u32 = 3;

/// What a worker is called for, and how many threads are.
#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) work: *const Work<'static>,
    pub(super) count: usize,
}

/// State, arrivals and task lie in one cache line.
#[repr(C, align(128))]
pub(super) struct Place {
    state: AtomicU32,
    /// How often the worker has arrived at a barrier in this call.
    pub(super) arrivals: AtomicU32,
    /// Written by the caller before it calls, read by the worker after that.
    task: UnsafeCell<Option<Task>>,
    worker: OnceLock<(Thread, Affinity)>,
}

// SAFETY: the task is written only by the holder of the team while the worker is not called, and read only by the worker
// once it is; what it points to is shared by the whole team (`Work` is `Sync`).
unsafe impl Sync for Place {}

impl Place {
    /// A worker that is about to come counts as one that waits: it looks for a call before it sleeps.
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU32::new(WAITING),
            arrivals: AtomicU32::new(0),
            task: UnsafeCell::new(None),
            worker: OnceLock::new(),
        }
    }

    /// Whether the worker would start at once.
    pub(super) fn is_awake(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WAITING && self.worker.get().is_some()
    }

    /// Calls the worker, which sees what was written before.
    ///
    /// # Safety
    /// The caller alone holds the team, this worker has finished, and the task's work lives until it has again.
    pub(super) unsafe fn call(&self, task: Task) {
        // SAFETY: the worker does not look at it before it is called.
        unsafe { *self.task.get() = Some(task) };
        self.rouse_as(CALLED);
    }

    /// Whether the worker is done with the last call; then its caller sees what it wrote.
    pub(super) fn has_finished(&self) -> bool {
        self.state.load(Ordering::Acquire) != CALLED
    }

    /// Wakes the worker if it sleeps, for a call to come.
    pub(super) fn wake(&self) {
        if self.state.load(Ordering::Acquire) == ASLEEP {
            self.rouse_as(WAKING);
        }
    }

    /// Only the one caller that holds the team changes the state of a worker that sleeps: it sleeps until this is done,
    /// and takes away the bar when it finds another state.
    fn rouse_as(&self, state: u32) {
        if self.state.load(Ordering::Acquire) == ASLEEP {
            let (_, affinity) = self.worker.get().expect("a worker that sleeps has come");
            affinity.avoid_this_core();
        }
        if self.state.swap(state, Ordering::AcqRel) == ASLEEP {
            let (thread, _) = self.worker.get().expect("a worker that sleeps has come");
            thread.unpark();
        }
    }

    /// The worker's side: the task of the next call, having spun for a while and slept after that; and whether it slept.
    pub(super) fn await_call(&self) -> (Task, bool) {
        let slept = self.wait_for_call();
        // SAFETY: the worker is called, and the caller wrote the task before.
        let task = unsafe { *self.task.get() };
        (task.expect("a called worker has a task"), slept)
    }

    fn wait_for_call(&self) -> bool {
        let (_, affinity) = self
            .worker
            .get_or_init(|| (std::thread::current(), Affinity::of_this_thread()));
        let mut patience = SPIN;
        let mut slept = false;
        loop {
            let since = Instant::now();
            while since.elapsed() < patience {
                for _ in 0..32 {
                    if self.state.load(Ordering::Acquire) == CALLED {
                        return slept;
                    }
                    std::hint::spin_loop();
                }
            }
            if self
                .state
                .compare_exchange(WAITING, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
                .is_err()
            {
                return slept;
            }
            slept = true;
            while self.state.load(Ordering::Acquire) == ASLEEP {
                std::thread::park();
            }
            affinity.anywhere_again();
            let _ =
                self.state
                    .compare_exchange(WAKING, WAITING, Ordering::AcqRel, Ordering::Relaxed);
            patience = SPIN_WOKEN;
        }
    }

    /// The worker's side: the call is done.
    pub(super) fn finished(&self) {
        self.state.store(WAITING, Ordering::Release);
    }
}
