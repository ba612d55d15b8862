//! Where the time of a training step goes: a stop-watch in the code of the step, for `benches/step.rs`.
//!
//! Without the feature `phases` nothing of it is compiled.

/// What a thread has just done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Packing of the batch, masks.
    Load,
    Forward,
    Loss,
    InputGradient,
    WeightGradient,
    /// The optimiser's update, where it follows each part of a weight gradient; beside the products it counts as theirs.
    Update,
    BiasGradient,
}

/// Phases, in their order.
pub const PHASES: [Phase; 7] = [
    Phase::Load,
    Phase::Forward,
    Phase::Loss,
    Phase::InputGradient,
    Phase::WeightGradient,
    Phase::Update,
    Phase::BiasGradient,
];

#[cfg(feature = "phases")]
mod clock {
    use super::{PHASES, Phase};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    static APART: AtomicBool = AtomicBool::new(false);

    /// From now on updates follow the products of their gradients, to be timed apart; or go on beside them where that is faster.
    pub fn set_apart(apart: bool) {
        APART.store(apart, Ordering::Relaxed);
    }

    pub fn is_apart() -> bool {
        APART.load(Ordering::Relaxed)
    }

    thread_local! {
        static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
        static SECONDS: Cell<[f64; PHASES.len()]> = const { Cell::new([0.0; PHASES.len()]) };
    }

    /// A step begins on this thread.
    pub fn begin() {
        LAST.set(Some(Instant::now()));
    }

    /// The time since the last call on this thread was this phase's.
    pub fn done(phase: Phase) {
        let now = Instant::now();
        if let Some(last) = LAST.replace(Some(now)) {
            let mut seconds = SECONDS.get();
            seconds[phase as usize] += (now - last).as_secs_f64();
            SECONDS.set(seconds);
        }
    }

    /// The seconds of each phase on this thread; they begin anew.
    pub fn take() -> [f64; PHASES.len()] {
        SECONDS.replace([0.0; PHASES.len()])
    }
}

#[cfg(feature = "phases")]
pub use clock::{begin, done, is_apart, set_apart, take};

#[cfg(not(feature = "phases"))]
#[inline(always)]
pub fn is_apart() -> bool {
    false
}

#[cfg(not(feature = "phases"))]
#[inline(always)]
pub fn begin() {}

#[cfg(not(feature = "phases"))]
#[inline(always)]
pub fn done(_phase: Phase) {}
