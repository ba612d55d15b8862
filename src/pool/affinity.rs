//! Where a sleeping worker wakes.
//!
//! After a pause Linux likes to wake a thread on the core of the one that wakes it, which is busy: the caller works and
//! spins there, and both share one core until the scheduler moves one of them, some 10 ms later (measured on two virtual
//! cores: a step of 0.19 ms takes 1.1 ms). So the caller bars its own core to a sleeping worker, and the worker, awake
//! elsewhere, takes the bar away.

#[cfg(target_os = "linux")]
pub(super) use linux::Affinity;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::Affinity;

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::UnsafeCell;
    use std::mem::{size_of, zeroed};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The cores that a worker may use.
    pub(in super::super) struct Affinity {
        thread: libc::pid_t,
        /// What to set again, when `barred`.
        cores: UnsafeCell<libc::cpu_set_t>,
        barred: AtomicBool,
    }

    // SAFETY: `cores` is written by the caller that found the worker asleep, before it wakes it; read by the worker once
    // awake, before it sleeps again.
    unsafe impl Sync for Affinity {}

    impl Affinity {
        pub(in super::super) fn of_this_thread() -> Self {
            Self {
                // SAFETY: has no requirements.
                thread: unsafe { libc::gettid() },
                // SAFETY: a set of bits.
                cores: UnsafeCell::new(unsafe { zeroed() }),
                barred: AtomicBool::new(false),
            }
        }

        /// Bars the caller's core to the sleeping worker, if it may use another. Where that is not permitted the worker
        /// wakes where it will.
        pub(in super::super) fn avoid_this_core(&self) {
            // SAFETY: the worker sleeps, and only the caller that found it so is here: nobody else looks at `cores`. The
            // calls read and write one set of the size given; the core's number is checked against it.
            unsafe {
                let cores = &mut *self.cores.get();
                let size = size_of::<libc::cpu_set_t>();
                let Ok(here) = usize::try_from(libc::sched_getcpu()) else {
                    return;
                };
                if here >= 8 * size
                    || libc::sched_getaffinity(self.thread, size, cores) != 0
                    || !libc::CPU_ISSET(here, cores)
                    || libc::CPU_COUNT(cores) < 2
                {
                    return;
                }
                let mut others = *cores;
                libc::CPU_CLR(here, &mut others);
                if libc::sched_setaffinity(self.thread, size, &raw const others) == 0 {
                    self.barred.store(true, Ordering::Release);
                }
            }
        }

        /// The worker's side, once awake.
        pub(in super::super) fn anywhere_again(&self) {
            if self.barred.swap(false, Ordering::Acquire) {
                // SAFETY: the caller has written `cores`, and writes it again only when this worker sleeps.
                unsafe {
                    libc::sched_setaffinity(
                        self.thread,
                        size_of::<libc::cpu_set_t>(),
                        self.cores.get(),
                    );
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    pub(in super::super) struct Affinity;

    impl Affinity {
        pub(in super::super) fn of_this_thread() -> Self {
            Self
        }

        pub(in super::super) fn avoid_this_core(&self) {}

        pub(in super::super) fn anywhere_again(&self) {}
    }
}
