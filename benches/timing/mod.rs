//! What the micro-benchmarks share.

mod median;

use _core::simd::Isa;
use median::median;
use std::time::Instant;

/// The instruction set that the first argument names; the best one without it.
///
/// # Panics
/// If this machine has none of that name.
pub fn isa() -> Isa {
    std::env::args()
        .nth(1)
        .filter(|name| !name.starts_with('-'))
        .map_or_else(Isa::best, |name| {
            name.parse().expect("an instruction set of this machine")
        })
}

/// The median seconds of a call, of so many rounds of `calls` calls.
pub fn seconds(rounds: usize, calls: usize, mut call: impl FnMut()) -> f64 {
    let times = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                call();
            }
            start.elapsed().as_secs_f64() / calls as f64
        })
        .collect();
    median(times)
}
