//! How many threads a call may use.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static SETTING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LOCAL_SETTING: Cell<usize> = const { Cell::new(0) };
}

/// The variables that set the number of threads, first found wins.
const VARIABLES: [&str; 3] = ["NNRS_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"];

/// The number of threads without any call to set it, and where it comes from.
pub(super) fn default_threads() -> (usize, &'static str) {
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
