//! How often an address is put right against something else that changes it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many times within [`WINDOW`] it is put right at once.
const AT_ONCE: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// Beyond that it waits for so long from one time to the next.
pub(super) const SLOW: Duration = Duration::from_secs(10);

/// The last times that an address was put right.
#[derive(Debug, Default)]
pub(super) struct Budget {
    made: VecDeque<Instant>,
}

impl Budget {
    /// When it may be put right the next time.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        match self.fought_until(now) {
            Some(_) => self.made.back().map_or(now, |last| *last + SLOW).max(now),
            None => now,
        }
    }

    pub(super) fn spend(&mut self, now: Instant) {
        self.made.push_back(now);
    }

    /// While there is a fight: when it counts as over, if nothing changes the address any more.
    pub(super) fn fought_until(&mut self, now: Instant) -> Option<Instant> {
        while self.made.front().is_some_and(|first| *first + WINDOW <= now) {
            self.made.pop_front();
        }
        let over = self.made.len().checked_sub(AT_ONCE)?;
        self.made.get(over).map(|oldest| *oldest + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_slows_down_and_ends() {
        let start = Instant::now();
        let mut budget = Budget::default();
        for _ in 0..AT_ONCE {
            assert_eq!(budget.next(start), start, "at once");
            budget.spend(start);
        }
        assert_eq!(budget.next(start), start + SLOW);
        assert_eq!(budget.fought_until(start), Some(start + WINDOW));

        // It goes on at the slow pace for as long as it is fought.
        let mut now = start;
        for _ in 0..100 {
            now = budget.next(now);
            budget.spend(now);
        }
        assert_eq!(now, start + SLOW * 100);
        assert!(budget.made.len() <= 2 * AT_ONCE, "{}", budget.made.len());

        // And is over a while after.
        let over = budget.fought_until(now).unwrap();
        assert_eq!(over, now - SLOW * 4 + WINDOW);
        assert_eq!(budget.fought_until(over), None);
        assert_eq!(budget.next(over), over);
    }
}
