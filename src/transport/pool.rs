//! Which of a link's connections carries the next request.

use std::collections::VecDeque;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::wire::Kind;

/// So many connections are kept open and used in turn.
const KEPT: usize = 2;

/// So many requests of one class at once, each on a connection of its own. A class never waits
/// for another: votes are held back by their voters, and commands take as long as they take.
const MAX_BUSY: usize = 4;

/// What waits alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    /// Answered at once, repeated soon.
    State,
    /// Held back for up to one heartbeat interval.
    Vote,
    /// Answered when it is done.
    Command,
}

impl Class {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Heartbeat | Kind::Resign => Self::State,
            Kind::Vote => Self::Vote,
            Kind::Operator => Self::Command,
        }
    }
}

/// The connections of one link, and the requests that they carry.
#[derive(Debug)]
pub(super) struct Pool<Line> {
    /// The one that rested longest first.
    idle: VecDeque<Line>,
    /// Connections open or being opened, busy and idle ones.
    open: usize,
    /// Requests under way, oldest first.
    busy: VecDeque<Busy>,
    requests: u64,
}

#[derive(Debug)]
struct Busy {
    class: Class,
    number: u64,
    since: Instant,
    give_way: CancellationToken,
}

impl<Line> Default for Pool<Line> {
    fn default() -> Self {
        Self { idle: VecDeque::new(), open: 0, busy: VecDeque::new(), requests: 0 }
    }
}

/// How the next request goes out.
#[derive(Debug)]
pub(super) enum Checkout<Line> {
    /// On this connection; if `spare`, another is to be opened beside it.
    Kept {
        /// The connection.
        line: Line,
        /// The place of the other is taken already.
        spare: bool,
    },
    /// On a new connection, whose place is taken already.
    Dial,
    /// Not at all.
    Full,
}

impl<Line> Pool<Line> {
    /// A connection for a request. Where too many wait, the oldest heartbeat gives way to the
    /// next if it was begun before the time that `stuck_before` tells.
    pub(super) fn checkout(
        &mut self,
        kind: Kind,
        is_open: impl FnMut(&Line) -> bool,
        stuck_before: impl FnOnce() -> Option<Instant>,
    ) -> Checkout<Line> {
        self.idle.retain(is_open);
        if let Some(line) = self.idle.pop_front() {
            let spare = self.open < KEPT;
            if spare {
                self.enter();
            }
            return Checkout::Kept { line, spare };
        }
        let class = Class::of(kind);
        let mut waiting = self.busy.iter().filter(|busy| busy.class == class);
        if waiting.clone().count() >= MAX_BUSY {
            let oldest = waiting.next().filter(|_| class == Class::State);
            let stuck = oldest.zip(stuck_before()).filter(|(busy, before)| busy.since < *before);
            let Some((busy, _)) = stuck else { return Checkout::Full };
            busy.give_way.cancel();
            let number = busy.number;
            self.end(number);
        }
        self.enter();
        Checkout::Dial
    }

    /// Takes a connection back, to be used again. Those beyond what is kept are closed.
    pub(super) fn keep(&mut self, line: Line) {
        if self.idle.len() < KEPT {
            self.idle.push_back(line);
        }
    }

    /// Empties the pool of what rests.
    pub(super) fn take_idle(&mut self) -> VecDeque<Line> {
        std::mem::take(&mut self.idle)
    }

    /// A connection is being opened.
    pub(super) fn enter(&mut self) {
        self.open += 1;
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// A request is under way. It is to end when the token says so.
    pub(super) fn begin(&mut self, kind: Kind, now: Instant) -> (u64, CancellationToken) {
        self.requests += 1;
        let (number, give_way) = (self.requests, CancellationToken::new());
        let class = Class::of(kind);
        self.busy.push_back(Busy { class, number, since: now, give_way: give_way.clone() });
        (number, give_way)
    }

    /// That request has ended.
    pub(super) fn end(&mut self, number: u64) {
        self.busy.retain(|busy| busy.number != number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn checkout(pool: &mut Pool<u8>, kind: Kind, stuck_before: Instant) -> Checkout<u8> {
        pool.checkout(kind, |_| true, || Some(stuck_before))
    }

    #[tokio::test]
    async fn connections_are_used_in_turn_and_a_second_is_opened() {
        let (mut pool, now) = (Pool::default(), Instant::now());
        assert!(matches!(checkout(&mut pool, Kind::Heartbeat, now), Checkout::Dial));
        pool.keep(1);
        let Checkout::Kept { line: 1, spare: true } = checkout(&mut pool, Kind::Heartbeat, now)
        else {
            panic!()
        };
        pool.keep(2);
        pool.keep(1);
        for expected in [2, 1, 2, 1] {
            let Checkout::Kept { line, spare: false } = checkout(&mut pool, Kind::Vote, now) else {
                panic!()
            };
            assert_eq!(line, expected);
            pool.keep(line);
        }
    }

    #[tokio::test]
    async fn the_oldest_stuck_request_gives_way_and_a_fresh_one_does_not() {
        let (mut pool, now) = (Pool::<u8>::default(), Instant::now());
        let mut tokens = Vec::new();
        for kind in [Kind::Operator, Kind::Vote].into_iter().chain([Kind::Heartbeat; 4]) {
            assert!(matches!(checkout(&mut pool, kind, now), Checkout::Dial));
            tokens.push(pool.begin(kind, now).1);
        }
        assert!(matches!(checkout(&mut pool, Kind::Heartbeat, now), Checkout::Full));
        let later = now + Duration::from_millis(1);
        assert!(matches!(checkout(&mut pool, Kind::Heartbeat, later), Checkout::Dial));
        let gave_way: Vec<_> = tokens.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(gave_way, [false, false, true, false, false, false]);
    }

    #[tokio::test]
    async fn votes_and_commands_never_take_the_place_of_heartbeats() {
        let (mut pool, now) = (Pool::<u8>::default(), Instant::now());
        let later = now + Duration::from_millis(1);
        for kind in [Kind::Vote, Kind::Operator] {
            for _ in 0..4 {
                assert!(matches!(checkout(&mut pool, kind, later), Checkout::Dial));
                pool.begin(kind, now);
            }
            // They are held back, not stuck: none gives way.
            assert!(matches!(checkout(&mut pool, kind, later), Checkout::Full));
        }
        assert!(matches!(checkout(&mut pool, Kind::Heartbeat, now), Checkout::Dial));
    }
}
