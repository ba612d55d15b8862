//! One thread of a team.

use super::team::Team;
use std::ops::Range;

/// One thread of a team.
pub struct Member<'a> {
    pub index: usize,
    pub count: usize,
    /// Whether this thread slept until this call.
    pub woken: bool,
    team: Option<&'a Team>,
}

impl Member<'_> {
    /// A team of one.
    pub fn alone() -> Member<'static> {
        Member {
            index: 0,
            count: 1,
            woken: false,
            team: None,
        }
    }

    pub(super) fn of_team(index: usize, count: usize, team: &Team) -> Member<'_> {
        Member {
            index,
            count,
            woken: false,
            team: Some(team),
        }
    }

    pub(super) fn if_woken(self, woken: bool) -> Self {
        Self { woken, ..self }
    }

    /// The same member, for the next of several passes.
    pub fn again(&self) -> Self {
        Self { ..*self }
    }

    /// This member's contiguous part of `0..total`; the same at every call.
    #[inline(always)]
    pub fn share(&self, total: usize) -> Range<usize> {
        // Without divisions where there is nothing to divide: the smallest nets would notice.
        if self.count == 1 {
            return 0..total;
        }
        total * self.index / self.count..total * (self.index + 1) / self.count
    }

    /// Waits until every member is here. What any wrote before, all see after.
    #[inline(always)]
    pub fn barrier(&self) {
        if let Some(team) = self.team {
            team.meet(self.index, self.count);
        }
    }
}
