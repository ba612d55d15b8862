//! Which of two ways is the faster one here, found by trying.
//!
//! On one and the same virtual machine a word was seen to take 50 ns from one core to the other for minutes, then 230 for a
//! while: presumably the hypervisor moves them to cores that share no third-level cache. A step of 64-128-10 takes 10 µs on two
//! threads in the one case, 24 in the other, and 16 on one. The update beside the products takes a tenth off the same step on a
//! Zen 5, and adds a tenth to one of 784-128-64-10 on a Xeon. So calls are timed now and then, some in the one way, some in the
//! other.

use super::{Member, WORTH_SHARING, WORTH_WAKING, run_by};
use std::ops::Range;
use std::time::Instant;

/// Work that may be done sooner by one thread than by several, though it is worth sharing elsewhere.
const BORDER: Range<f64> = WORTH_SHARING..WORTH_WAKING;
/// After so many calls both ways are timed again.
const PERIOD: u32 = 2048;
/// So many calls are timed of each; the fastest counts.
const TIMED: u32 = 4;
/// The most calls of a period for it: one way may not come about, as where workers are asleep.
const MOST_TRIED: u32 = 32;
/// What is chosen changes for what takes less than this share of its time.
const BETTER: f64 = 0.97;

/// What a series of calls has found; the result of a call does not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    chosen: bool,
    /// Since the period began.
    calls: u32,
    /// Of calls in the way `false`, in the way `true`.
    timed: [u32; 2],
    /// The least seconds an operation took in them.
    least: [f64; 2],
}

impl Choice {
    /// At first `chosen`; tried after so many calls.
    pub fn new(chosen: bool, after: u32) -> Self {
        Self {
            calls: PERIOD - after,
            timed: [TIMED; 2],
            ..Self::begun(chosen)
        }
    }

    /// At the beginning of a period.
    fn begun(chosen: bool) -> Self {
        Self {
            chosen,
            calls: 0,
            timed: [0; 2],
            least: [f64::INFINITY; 2],
        }
    }

    /// How the next call is to be done, and whether its time is wanted.
    pub fn way(&mut self) -> (bool, bool) {
        if self.calls == PERIOD {
            *self = Self::begun(self.chosen);
        }
        self.calls += 1;
        let wanted = [self.chosen, !self.chosen]
            .into_iter()
            .find(|&way| self.timed[usize::from(way)] < TIMED);
        match wanted {
            Some(way) if self.calls <= MOST_TRIED => (way, true),
            _ => (self.chosen, false),
        }
    }

    /// The seconds that an operation of a call took.
    pub fn note(&mut self, way: bool, seconds: f64) {
        let at = usize::from(way);
        self.timed[at] += 1;
        self.least[at] = self.least[at].min(seconds);
        if self.timed == [TIMED; 2] {
            let (chosen, other) = (usize::from(self.chosen), usize::from(!self.chosen));
            if self.least[other] < BETTER * self.least[chosen] {
                self.chosen = !self.chosen;
            }
        }
    }

    /// [`run`](super::run), shared (`true`) or alone, whichever is faster. By how many members, unless it was a trial.
    pub fn run(&mut self, flops: f64, work: &(dyn Fn(Member<'_>) + Sync)) -> Option<usize> {
        if !BORDER.contains(&flops) {
            return Some(run_by(flops, true, work));
        }
        let (share, timed) = self.way();
        if timed {
            let start = Instant::now();
            let shared = run_by(flops, share, work) > 1;
            // Not shared after all where the workers are asleep or taken.
            if shared == share {
                self.note(share, start.elapsed().as_secs_f64() / flops);
            }
            None
        } else {
            Some(run_by(flops, share, work))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a period's calls were shared, each way taking so many seconds; `asleep`: shared calls never come about.
    fn period(choice: &mut Choice, alone: f64, shared: f64, asleep: bool) -> u32 {
        let mut count = 0;
        for _ in 0..PERIOD {
            let (share, timed) = choice.way();
            count += u32::from(share);
            if timed && !(share && asleep) {
                choice.note(share, if share { shared } else { alone });
            }
        }
        count
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_tried_now_and_then() {
        let mut choice = Choice::new(true, 0);
        assert_eq!(period(&mut choice, 16.0, 10.0, false), PERIOD - TIMED);
        // The cores have moved apart, and come together again.
        assert_eq!(period(&mut choice, 16.0, 24.0, false), TIMED);
        assert_eq!(period(&mut choice, 16.0, 24.0, false), TIMED);
        assert_eq!(period(&mut choice, 16.0, 10.0, false), PERIOD - TIMED);
        // Too little to change for.
        assert_eq!(period(&mut choice, 9.8, 10.0, false), PERIOD - TIMED);
    }

    #[test]
    fn nothing_is_tried_at_first() {
        let mut choice = Choice::new(true, 64);
        assert!((0..64).all(|_| choice.way() == (true, false)));
        assert_eq!(period(&mut choice, 10.0, 16.0, false), TIMED);
    }

    #[test]
    fn what_cannot_be_timed_changes_nothing() {
        let mut choice = Choice::new(true, 0);
        assert_eq!(period(&mut choice, 16.0, 10.0, true), PERIOD);
        choice.chosen = false;
        choice.calls = PERIOD;
        assert_eq!(period(&mut choice, 16.0, 10.0, true), MOST_TRIED - TIMED);
    }
}
