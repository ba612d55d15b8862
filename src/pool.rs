//! Threads: one parallel region a call.
//!
//! [`run`] hands a closure to a team of threads that meet at [`Member::barrier`]s. The calling thread is member 0; the
//! others are rayon's. A worker that has finished lingers for at most [`SPIN`], spinning for the next call, then goes
//! back to rayon and sleeps. A call that finds the team taken, or comes from inside it, runs alone.

#![allow(unsafe_code)]

use crate::simd::FloatControl;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The longest that a thread spins before it yields or sleeps.
const SPIN: Duration = Duration::from_micros(100);
/// A call within this time of the one before is one of a series: it pays to wake workers for the next.
const SERIES_NANOS: u64 = 200_000;
/// Work below this never pays a second thread (floating-point operations).
const WORTH_SHARING: f64 = 1.5e6;
/// Work below this ends sooner on one thread than a sleeping one is awake.
const WORTH_WAKING: f64 = 2.5e7;

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

/// A mutable slice of which the members of a team write disjoint parts between two barriers.
#[derive(Clone, Copy)]
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are handed out by unsafe functions alone, whose callers vouch for disjointness.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// # Safety
    /// `len` elements at `start` are valid for reads and writes for `'a`.
    pub unsafe fn from_raw(start: *mut T, len: usize) -> Self {
        Self {
            start,
            len,
            life: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline(always)]
    pub fn as_ptr(&self) -> *mut T {
        self.start
    }

    /// # Safety
    /// No thread writes the range while the reference lives.
    ///
    /// # Panics
    /// If the range reaches past the end.
    #[inline(always)]
    pub unsafe fn read(&self, range: Range<usize>) -> &'a [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice; the caller vouches that nobody writes it.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.end - range.start) }
    }

    /// # Safety
    /// No other thread reads or writes the range while the reference lives.
    ///
    /// # Panics
    /// If the range reaches past the end.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn write(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice; the caller vouches that nobody else touches it.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start)
        }
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

/// Carried by the panic of a member whose team-mate panicked.
struct TeamPanicked;

#[repr(align(128))]
struct Barrier {
    count: AtomicUsize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    panicked: AtomicBool,
}

impl Barrier {
    const fn new() -> Self {
        Self {
            count: AtomicUsize::new(1),
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        }
    }

    /// Made ready for a team; nobody is waiting.
    fn reset(&self, count: usize) {
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

/// A worker's place in the team.
#[repr(align(128))]
struct Place(AtomicU32);

const ABSENT: u32 = 0;
const WAITING: u32 = 1;
const CALLED: u32 = 2;
const WAKING: u32 = 3;

type Work<'a> = dyn Fn(Member<'_>) + Sync + 'a;

struct Pool {
    rayon: rayon::ThreadPool,
    places: Vec<Place>,
    /// Held by the call that uses the team.
    taken: AtomicBool,
    barrier: Barrier,
    /// What to do, and for how many; written by the call that holds `taken` before it calls the workers.
    work: UnsafeCell<Option<(*const Work<'static>, usize)>>,
    /// Workers that have not finished.
    remaining: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// When the last shared or shareable call ended, in nanoseconds since `epoch`.
    last_call: AtomicU64,
    epoch: Instant,
}

// SAFETY: `work` is written only by the holder of `taken` while no worker is called, and read only by workers it called.
unsafe impl Sync for Pool {}

static POOL: AtomicPtr<Pool> = AtomicPtr::new(null_mut());
static SETTING: AtomicUsize = AtomicUsize::new(0);
static MOST_USED: AtomicUsize = AtomicUsize::new(1);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static LOCAL_SETTING: Cell<usize> = const { Cell::new(0) };
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
        && pool.places.len() >= workers
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
    let workers = workers.max(default_threads().0 - 1);
    let built = rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .thread_name(|i| format!("nnrs-{}", i + 1))
        .build()
        .ok()
        .map(|rayon| {
            &*Box::leak(Box::new(Pool {
                rayon,
                places: (0..workers)
                    .map(|_| Place(AtomicU32::new(ABSENT)))
                    .collect(),
                taken: AtomicBool::new(false),
                barrier: Barrier::new(),
                work: UnsafeCell::new(None),
                remaining: AtomicUsize::new(0),
                panic: Mutex::new(None),
                last_call: AtomicU64::new(0),
                epoch: Instant::now(),
            }))
        });
    if let Some(pool) = built {
        POOL.store(std::ptr::from_ref(pool).cast_mut(), Ordering::Release);
    }
    BUILDING.store(0, Ordering::Release);
    built.or(existing)
}

impl Pool {
    /// What a worker does from waking to sleeping.
    fn attend(&'static self, place: usize) {
        let state = &self.places[place].0;
        INSIDE.with(|inside| inside.set(true));
        let _ = state.compare_exchange(WAKING, WAITING, Ordering::AcqRel, Ordering::Relaxed);
        loop {
            let since = Instant::now();
            while state.load(Ordering::Acquire) != CALLED {
                if since.elapsed() > SPIN
                    && state
                        .compare_exchange(WAITING, ABSENT, Ordering::AcqRel, Ordering::Acquire)
                        .is_ok()
                {
                    INSIDE.with(|inside| inside.set(false));
                    return;
                }
                for _ in 0..32 {
                    std::hint::spin_loop();
                }
            }
            // SAFETY: this worker was called: the holder of `taken` wrote `work` before and waits for it to finish.
            let (work, count) = unsafe { (*self.work.get()).expect("a called worker has work") };
            {
                let _control = FloatControl::enter();
                let member = Member {
                    index: place + 1,
                    count,
                    barrier: Some(&self.barrier),
                };
                // SAFETY: the closure outlives the call, which waits for `remaining` to reach zero.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| unsafe { (*work)(member) }))
                {
                    self.note(payload);
                }
            }
            state.store(WAITING, Ordering::Release);
            self.remaining.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn spawn(&'static self, place: usize) {
        #[cfg(test)]
        let _waking = tests::Waking::begin();
        self.rayon.spawn(move || self.attend(place));
    }

    /// Wakes those that sleep, for a call to come; waits for nobody.
    fn wake(&'static self, workers: usize) {
        for place in 0..workers {
            let state = &self.places[place].0;
            if state
                .compare_exchange(ABSENT, WAKING, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                self.spawn(place);
            }
        }
    }

    fn note(&self, payload: Box<dyn Any + Send>) {
        if !payload.is::<TeamPanicked>() {
            let mut first = self
                .panic
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            first.get_or_insert(payload);
        }
        self.barrier.panicked.store(true, Ordering::Relaxed);
    }

    /// Runs the work on `count` threads, the caller's among them; `taken` is held.
    fn share_out(&'static self, count: usize, work: &Work<'_>) {
        self.barrier.reset(count);
        self.remaining.store(count - 1, Ordering::Relaxed);
        // SAFETY: `taken` is held and no worker is called, so nobody else looks at `work`. The lifetime is widened:
        // the pointer is used only until `remaining` is zero, which is awaited below even after a panic.
        unsafe {
            *self.work.get() = Some((
                std::mem::transmute::<*const Work<'_>, *const Work<'static>>(std::ptr::from_ref(
                    work,
                )),
                count,
            ));
        }
        for place in 0..count - 1 {
            if self.places[place].0.swap(CALLED, Ordering::AcqRel) == ABSENT {
                self.spawn(place);
            }
        }
        INSIDE.with(|inside| inside.set(true));
        let member = Member {
            index: 0,
            count,
            barrier: Some(&self.barrier),
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(member))) {
            self.note(payload);
        }
        INSIDE.with(|inside| inside.set(false));
        wait_until(|| self.remaining.load(Ordering::Acquire) == 0);
        let panic = self
            .panic
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
        if let Some(payload) = panic {
            self.taken.store(false, Ordering::Release);
            resume_unwind(payload);
        }
    }

    fn awake(&self, workers: usize) -> bool {
        self.places[..workers]
            .iter()
            .all(|place| place.0.load(Ordering::Relaxed) == WAITING)
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

/// Runs `work` on as many threads as are set and as pay for `flops` floating-point operations.
///
/// The result must not depend on the number of members. A panic of any member is the panic of this call.
pub fn run(flops: f64, work: &(dyn Fn(Member<'_>) + Sync)) {
    let _control = FloatControl::enter();
    let count = if flops < WORTH_SHARING || INSIDE.with(Cell::get) {
        1
    } else {
        num_threads()
    };
    if count == 1 {
        return work(Member::alone());
    }
    let Some(pool) = pool(count - 1) else {
        return work(Member::alone());
    };
    let count = count.min(pool.places.len() + 1);
    if pool
        .taken
        .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        return work(Member::alone());
    }
    if flops >= WORTH_WAKING || pool.awake(count - 1) {
        MOST_USED.fetch_max(count, Ordering::Relaxed);
        pool.share_out(count, work);
    } else {
        if pool.now() - pool.last_call.load(Ordering::Relaxed) < SERIES_NANOS {
            pool.wake(count - 1);
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
}

/// The variables that set the number of threads, first found wins.
const VARIABLES: [&str; 3] = ["NNRS_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"];

/// The number of threads without any call to set it, and where it comes from.
fn default_threads() -> (usize, &'static str) {
    static DEFAULT: std::sync::OnceLock<(usize, &'static str)> = std::sync::OnceLock::new();
    *DEFAULT.get_or_init(|| {
        if cfg!(test) {
            // Tests run side by side and there is one team: those that want it say so, and wait for each other.
            return (1, "the tests");
        }
        for variable in VARIABLES {
            // OMP_NUM_THREADS may be a list, one number a level of nesting: the first counts.
            let value = std::env::var(variable).unwrap_or_default();
            let first = value.split(',').next().unwrap_or_default().trim();
            if let Ok(n @ 1..) = first.parse::<usize>() {
                return (n.min(MOST_THREADS), variable);
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (
            cores.min(MOST_THREADS),
            "the cores that this process may use",
        )
    })
}

/// More threads than this are refused: a slip, not a machine.
pub const MOST_THREADS: usize = 1024;

/// The number of threads that a large call from this thread would use.
pub fn num_threads() -> usize {
    num_threads_and_source().0
}

/// [`num_threads`], and where the number comes from.
pub fn num_threads_and_source() -> (usize, &'static str) {
    match (
        LOCAL_SETTING.with(Cell::get),
        SETTING.load(Ordering::Relaxed),
    ) {
        (0, 0) => default_threads(),
        (0, n) => (n, "set_num_threads"),
        (n, _) => (n, "threads(n) of this thread"),
    }
}

/// Sets the number of threads for all callers; 0 takes the setting back.
pub fn set_num_threads(n: usize) {
    SETTING.store(n.min(MOST_THREADS), Ordering::Relaxed);
}

/// Sets the number for the calling thread alone, 0 for none; returns what was set before.
pub fn set_local_num_threads(n: usize) -> usize {
    LOCAL_SETTING.with(|setting| setting.replace(n.min(MOST_THREADS)))
}

/// The most threads that took part in one call since the last reset.
pub fn most_threads_used() -> usize {
    MOST_USED.load(Ordering::Relaxed)
}

pub fn reset_most_threads_used() {
    MOST_USED.store(1, Ordering::Relaxed);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const LARGE: f64 = 1e9;

    thread_local! {
        static WAKING: Cell<bool> = const { Cell::new(false) };
    }

    /// This thread hands a worker that sleeps to rayon, which allocates for it.
    pub(crate) struct Waking;

    impl Waking {
        pub(super) fn begin() -> Self {
            WAKING.set(true);
            Self
        }

        pub(crate) fn is_on() -> bool {
            WAKING.try_with(Cell::get).unwrap_or(false)
        }
    }

    impl Drop for Waking {
        fn drop(&mut self) {
            WAKING.set(false);
        }
    }

    /// Whether this thread is at work for a call.
    pub(crate) fn is_inside() -> bool {
        INSIDE.try_with(Cell::get).unwrap_or(false)
    }

    /// Tests that need the team wait for each other.
    static TEAM: Mutex<()> = Mutex::new(());

    /// Runs `body` where large calls have `n` threads.
    pub(crate) fn with_threads<R>(n: usize, body: impl FnOnce() -> R) -> R {
        let _team = TEAM.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        reset_most_threads_used();
        let before = set_local_num_threads(n);
        let result = body();
        set_local_num_threads(before);
        result
    }

    #[test]
    fn members_meet_at_barriers() {
        for n in [2, 3, 5] {
            with_threads(n, || {
                let mut cells = vec![0usize; 1000];
                for round in 1..50 {
                    let shared = Shared::new(&mut cells);
                    run(LARGE, &|member| {
                        let share = member.share(1000);
                        // SAFETY: shares are disjoint; the barrier separates writes from reads.
                        unsafe { shared.write(share) }.fill(round);
                        member.barrier();
                        // SAFETY: nobody writes between the two barriers.
                        let all = unsafe { shared.read(0..1000) };
                        assert!(all.iter().all(|&cell| cell == round));
                        member.barrier();
                    });
                }
                assert!(most_threads_used() >= n);
            });
        }
    }

    #[test]
    fn small_work_and_nested_calls_stay_on_their_thread() {
        with_threads(3, || {
            run(10.0, &|member| assert_eq!(member.count, 1));
            let nested = AtomicUsize::new(0);
            run(LARGE, &|_| {
                run(LARGE, &|inner| {
                    nested.fetch_add(inner.count, Ordering::Relaxed);
                });
            });
            assert_eq!(nested.load(Ordering::Relaxed), 3);
        });
    }

    #[test]
    fn a_second_caller_runs_alone() {
        with_threads(2, || {
            run(LARGE, &|member| {
                if member.index == 0 {
                    std::thread::spawn(|| {
                        set_local_num_threads(2);
                        run(LARGE, &|other| assert_eq!(other.count, 1));
                    })
                    .join()
                    .unwrap();
                }
            });
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        with_threads(3, || {
            for guilty in 0..3 {
                let outcome = catch_unwind(|| {
                    run(LARGE, &|member| {
                        assert!(member.index != guilty, "guilty {guilty}");
                        member.barrier();
                    });
                });
                let payload = outcome.unwrap_err();
                assert!(
                    payload
                        .downcast_ref::<String>()
                        .unwrap()
                        .starts_with("guilty")
                );
            }
            run(LARGE, &|member| member.barrier());
        });
    }

    #[test]
    fn shares_cover_everything_once() {
        for total in [0, 1, 2, 7, 100] {
            for count in 1..6 {
                let shares = (0..count).flat_map(|index| {
                    Member {
                        index,
                        count,
                        barrier: None,
                    }
                    .share(total)
                });
                assert!(shares.eq(0..total));
            }
        }
    }
}
