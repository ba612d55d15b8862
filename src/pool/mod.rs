//! Threads: one parallel region a call.
//!
//! [`run`] hands a closure to a team of threads that meet at [`Member::barrier`]s. The calling thread is member 0; the
//! others are rayon's, which stay here for good. A worker that has finished lingers for at most [`SPIN`], spinning for
//! the next call, then sleeps. A call that finds the team taken, or comes from inside it, runs alone.

#![allow(unsafe_code)]

mod affinity;
mod choice;
mod member;
mod place;
mod setting;
mod shared;
mod team;
#[cfg(test)]
pub(crate) mod tests;

pub use choice::Choice;
pub use member::Member;
pub use setting::{
    MOST_THREADS, num_threads, num_threads_and_source, set_local_num_threads, set_num_threads,
};
pub use shared::Shared;

use crate::simd::FloatControl;
use place::{Place, Task};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use team::Team;

/// The longest that a thread spins before it yields or sleeps.
const SPIN: Duration = Duration::from_micros(100);
/// As long for a worker that was woken during a call that its caller does alone: the next is to find it awake.
const SPIN_WOKEN: Duration = Duration::from_micros(400);
/// A call within this time of the one before is one of a series: it pays to wake workers for the next.
const SERIES_NANOS: u64 = 200_000;
/// Work below this never pays a second thread (floating-point operations).
const WORTH_SHARING: f64 = 1.5e6;
/// Work below this ends sooner on one thread than a sleeping one is awake.
const WORTH_WAKING: f64 = 2.5e7;

type Work<'a> = dyn Fn(Member<'_>) + Sync + 'a;

struct Pool {
    team: Team,
    /// Held by the call that uses the team.
    taken: AtomicBool,
    /// When the last shared or shareable call ended, in nanoseconds since `epoch`.
    last_call: AtomicU64,
    epoch: Instant,
}

static POOL: AtomicPtr<Pool> = AtomicPtr::new(null_mut());
static MOST_USED: AtomicUsize = AtomicUsize::new(1);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A forked child has none of its parent's threads: it forgets the pool, and builds its own when it needs one.
#[cfg(unix)]
fn forget_after_fork() {
    extern "C" fn forget() {
        POOL.store(null_mut(), Ordering::Relaxed);
        INSIDE.with(|inside| inside.set(false));
    }
    // SAFETY: the handler stores to statics and to this thread's locals, nothing that fork could have left locked.
    unsafe { libc::pthread_atfork(None, None, Some(forget)) };
}

fn pool(workers: usize) -> Option<&'static Pool> {
    // SAFETY: the pointer is null or from `Box::leak`; a pool is never freed.
    let existing = unsafe { POOL.load(Ordering::Acquire).as_ref() };
    if let Some(pool) = existing
        && pool.team.places.len() >= workers
    {
        return Some(pool);
    }
    static BUILDING: AtomicU32 = AtomicU32::new(0);
    // A process id that a forked child does not share, so that a fork while another thread builds locks nobody out.
    let me = std::process::id();
    let holder = BUILDING.load(Ordering::Relaxed);
    if holder == me
        || BUILDING
            .compare_exchange(holder, me, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
    {
        return existing;
    }
    #[cfg(unix)]
    {
        static FORK: std::sync::Once = std::sync::Once::new();
        FORK.call_once(forget_after_fork);
    }
    let workers = workers.max(setting::default_threads().0 - 1);
    let built = rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .thread_name(|i| format!("nnrs-{}", i + 1))
        .build()
        .ok()
        .map(|rayon| {
            let pool: &'static Pool = Box::leak(Box::new(Pool {
                team: Team::new(workers),
                taken: AtomicBool::new(false),
                last_call: AtomicU64::new(0),
                epoch: Instant::now(),
            }));
            rayon.spawn_broadcast(|context| pool.attend(context.index()));
            // The threads end with the process.
            std::mem::forget(rayon);
            pool
        });
    if let Some(pool) = built {
        POOL.store(std::ptr::from_ref(pool).cast_mut(), Ordering::Release);
    }
    BUILDING.store(0, Ordering::Release);
    built.or(existing)
}

impl Pool {
    /// What a worker does for the rest of its life.
    fn attend(&'static self, index: usize) {
        let place = &self.team.places[index];
        INSIDE.with(|inside| inside.set(true));
        loop {
            let (Task { work, count }, woken) = place.await_call();
            {
                let _control = FloatControl::enter();
                let member = Member::of_team(index + 1, count, &self.team).if_woken(woken);
                // SAFETY: the closure outlives the call, which waits for this worker to finish.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| unsafe { (*work)(member) }))
                {
                    self.team.note(payload);
                }
            }
            place.finished();
        }
    }

    /// Runs the work on `count` threads, the caller's among them; `taken` is held.
    fn share_out(&'static self, count: usize, work: &Work<'_>) {
        // SAFETY: the lifetime is widened, but the pointer is used only until the workers have finished, which is awaited
        // below even after a panic.
        let work_of_team = unsafe {
            std::mem::transmute::<*const Work<'_>, *const Work<'static>>(std::ptr::from_ref(work))
        };
        self.team.begin(count - 1);
        for place in &self.team.places[..count - 1] {
            let task = Task {
                work: work_of_team,
                count,
            };
            // SAFETY: `taken` is held, and the last call waited for all of its workers.
            unsafe { place.call(task) };
        }
        INSIDE.with(|inside| inside.set(true));
        let member = Member::of_team(0, count, &self.team);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(member))) {
            self.team.note(payload);
        }
        INSIDE.with(|inside| inside.set(false));
        if let Some(payload) = self.team.end(count - 1) {
            self.taken.store(false, Ordering::Release);
            resume_unwind(payload);
        }
    }

    /// Whether the team is the caller's now, as nobody had it; the caller gives it back.
    fn take(&self) -> bool {
        self.taken
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    fn awake(&self, workers: usize) -> bool {
        self.team.places[..workers].iter().all(Place::is_awake)
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

/// Runs `work` on as many threads as are set and as pay for `flops` floating-point operations.
///
/// The result must not depend on the number of members. A panic of any member is the panic of this call.
pub fn run(flops: f64, work: &(dyn Fn(Member<'_>) + Sync)) {
    run_by(flops, true, work);
}

/// [`run`], on this thread alone unless `share` is set; how many took part.
fn run_by(flops: f64, share: bool, work: &(dyn Fn(Member<'_>) + Sync)) -> usize {
    let _control = FloatControl::enter();
    let alone = || {
        work(Member::alone());
        1
    };
    let count = if !share || flops < WORTH_SHARING || INSIDE.with(Cell::get) {
        1
    } else {
        num_threads()
    };
    if count == 1 {
        return alone();
    }
    let Some(pool) = pool(count - 1) else {
        return alone();
    };
    let count = count.min(pool.team.places.len() + 1);
    if !pool.take() {
        return alone();
    }
    let shares = flops >= WORTH_WAKING || pool.awake(count - 1);
    if shares {
        MOST_USED.fetch_max(count, Ordering::Relaxed);
        pool.share_out(count, work);
    } else {
        if pool.now() - pool.last_call.load(Ordering::Relaxed) < SERIES_NANOS {
            for place in &pool.team.places[..count - 1] {
                place.wake();
            }
        }
        INSIDE.with(|inside| inside.set(true));
        let outcome = catch_unwind(AssertUnwindSafe(|| work(Member::alone())));
        INSIDE.with(|inside| inside.set(false));
        if let Err(payload) = outcome {
            pool.taken.store(false, Ordering::Release);
            resume_unwind(payload);
        }
    }
    pool.last_call.store(pool.now(), Ordering::Relaxed);
    pool.taken.store(false, Ordering::Release);
    if shares { count } else { 1 }
}

/// Wakes the workers for calls that follow at once and together take so many floating-point operations.
pub fn announce(flops: f64) {
    let count = num_threads();
    if flops < WORTH_WAKING || count == 1 || INSIDE.with(Cell::get) {
        return;
    }
    if let Some(pool) = pool(count - 1)
        && pool.take()
    {
        for place in pool.team.places.iter().take(count - 1) {
            place.wake();
        }
        pool.taken.store(false, Ordering::Release);
    }
}

/// The most threads that took part in one call since the last reset.
pub fn most_threads_used() -> usize {
    MOST_USED.load(Ordering::Relaxed)
}

pub fn reset_most_threads_used() {
    MOST_USED.store(1, Ordering::Relaxed);
}
