//! Each sequence number is accepted once, also when requests overtake one another.
//!
//! Two connections per link are used in turn, so numbers arrive slightly out of order. A sliding
//! window, as in IPsec (RFC 4303 section 3.4.3), accepts each number once and nothing older than
//! its left edge. Windows live as long as this process: what was recorded before is stopped by
//! this node's boot id.

use std::collections::{HashSet, VecDeque};

use vipward_core::{BootId, LinkId};

/// How many numbers the window spans: far more than can be under way on one link. A fetched
/// manifest takes a number each millisecond at most (`fetch.rs`), so a heartbeat that TCP sends
/// again and again may be eight seconds late.
const SPAN: u64 = 8192;
const WORDS: usize = (SPAN / 64) as usize;

/// The lives of one sender whose numbers are still accepted. Two would do (an old process and
/// its successor); more are kept so that two processes under one name are both heard, and the
/// core can raise its alarm.
const LIVES: usize = 4;

/// The lives remembered as over: a sender that restarts every second fills them in a day.
const PAST_LIVES: usize = 65_536;

/// The numbers accepted on one link in one life.
#[derive(Clone, Debug)]
struct Window {
    highest: u64,
    /// Bit `n % SPAN` is set if `n` was accepted; numbers within the span only.
    seen: [u64; WORDS],
}

impl Default for Window {
    fn default() -> Self {
        Self { highest: 0, seen: [0; WORDS] }
    }
}

impl Window {
    /// Whether `number` is accepted: it is new, and not older than the window.
    fn accept(&mut self, number: u64) -> bool {
        if number > self.highest {
            // Forget the numbers that leave the window on the left.
            for passed in 1..=(number - self.highest).min(SPAN) {
                self.set(self.highest.wrapping_add(passed), false);
            }
            self.highest = number;
        } else if self.highest - number >= SPAN || self.is_set(number) || number == 0 {
            return false;
        }
        self.set(number, true);
        true
    }

    fn is_set(&self, number: u64) -> bool {
        let bit = number % SPAN;
        self.seen.get(Self::word(bit)).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    fn set(&mut self, number: u64, on: bool) {
        let bit = number % SPAN;
        if let Some(word) = self.seen.get_mut(Self::word(bit)) {
            let mask = 1 << (bit % 64);
            *word = if on { *word | mask } else { *word & !mask };
        }
    }

    fn word(bit: u64) -> usize {
        usize::try_from(bit / 64).unwrap_or(0)
    }
}

/// The numbers accepted from one sender.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Newest last.
    lives: VecDeque<(BootId, Vec<Window>)>,
    /// Lives that are over; nothing from them is accepted again.
    past: HashSet<BootId>,
    /// The same in order of age.
    past_order: VecDeque<BootId>,
}

impl Windows {
    /// Whether this number of that life and link is accepted, which happens once.
    ///
    /// Only numbers of authenticated requests to this node's current life may be asked about.
    pub(super) fn accept(&mut self, boot: BootId, link: LinkId, number: u64) -> bool {
        if self.past.contains(&boot) {
            return false;
        }
        if !self.lives.iter().any(|(life, _)| *life == boot) {
            self.begin(boot);
        }
        let Some((_, links)) = self.lives.iter_mut().find(|(life, _)| *life == boot) else {
            return false;
        };
        if links.len() <= link.index() {
            links.resize_with(link.index() + 1, Window::default);
        }
        links.get_mut(link.index()).is_some_and(|window| window.accept(number))
    }

    fn begin(&mut self, boot: BootId) {
        self.lives.push_back((boot, Vec::new()));
        if self.lives.len() > LIVES
            && let Some((over, _)) = self.lives.pop_front()
        {
            self.past.insert(over);
            self.past_order.push_back(over);
        }
        if self.past_order.len() > PAST_LIVES
            && let Some(oldest) = self.past_order.pop_front()
        {
            self.past.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINK: LinkId = LinkId(0);

    #[test]
    fn a_number_is_accepted_once_and_out_of_order() {
        let mut windows = Windows::default();
        for number in [2, 1, 4, 3, 5] {
            assert!(windows.accept(BootId(1), LINK, number), "{number}");
        }
        for number in 0..=5 {
            assert!(!windows.accept(BootId(1), LINK, number), "{number}");
        }
        // Another link and another life count for themselves.
        assert!(windows.accept(BootId(1), LinkId(1), 1));
        assert!(windows.accept(BootId(2), LINK, 1));
    }

    #[test]
    fn what_is_older_than_the_window_is_refused() {
        let mut windows = Windows::default();
        assert!(windows.accept(BootId(1), LINK, 1_000_000));
        assert!(!windows.accept(BootId(1), LINK, 1_000_000 - SPAN));
        assert!(windows.accept(BootId(1), LINK, 1_000_000 - SPAN + 1));
        assert!(windows.accept(BootId(1), LINK, u64::MAX));
        assert!(!windows.accept(BootId(1), LINK, u64::MAX));
    }

    #[test]
    fn a_life_that_is_over_never_returns() {
        let mut windows = Windows::default();
        for boot in 1..=10 {
            assert!(windows.accept(BootId(boot), LINK, 1));
        }
        for boot in 1..=6 {
            assert!(!windows.accept(BootId(boot), LINK, 2), "{boot}");
        }
        assert!(windows.accept(BootId(7), LINK, 2));
    }

    proptest! {
        #[test]
        fn no_number_is_ever_accepted_twice(
            numbers in prop::collection::vec(1u64..3 * SPAN, 0..2_000),
        ) {
            let mut windows = Windows::default();
            let mut accepted = HashSet::new();
            for number in numbers {
                if windows.accept(BootId(1), LINK, number) {
                    prop_assert!(accepted.insert(number));
                }
            }
        }
    }
}
