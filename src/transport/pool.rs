//! Which of a link's connections carries the next request.

use std::collections::VecDeque;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::wire::Kind;

/// So many connections are kept open and used in turn.
const KEPT: usize = 2;

/// So many connections at once, busy ones included. A vote finds room when heartbeats are stuck.
fn most_connections(kind: Kind) -> usize {
    match kind {
        Kind::Heartbeat => 4,
        Kind::Vote | Kind::Resign => 6,
        Kind::Operator => 8,
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
    /// A connection for a request. Where all are busy, the oldest request gives way to it if it
    /// was begun before the time that `stuck_before` tells.
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
        if self.open >= most_connections(kind) {
            let oldest = self.busy.front();
            let stuck = oldest.zip(stuck_before()).is_some_and(|(it, before)| it.since < before);
            if !stuck {
                return Checkout::Full;
            }
            if let Some(oldest) = self.busy.pop_front() {
                oldest.give_way.cancel();
            }
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
    pub(super) fn begin(&mut self, now: Instant) -> (u64, CancellationToken) {
        self.requests += 1;
        let (number, give_way) = (self.requests, CancellationToken::new());
        self.busy.push_back(Busy { number, since: now, give_way: give_way.clone() });
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
        for _ in 0..4 {
            assert!(matches!(checkout(&mut pool, Kind::Heartbeat, now), Checkout::Dial));
            tokens.push(pool.begin(now).1);
        }
        assert!(matches!(checkout(&mut pool, Kind::Heartbeat, now), Checkout::Full));
        let later = now + Duration::from_millis(1);
        assert!(matches!(checkout(&mut pool, Kind::Heartbeat, later), Checkout::Dial));
        let gave_way: Vec<_> = tokens.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(gave_way, [true, false, false, false]);
        // A vote has room of its own.
        pool.leave();
        assert!(matches!(checkout(&mut pool, Kind::Vote, now), Checkout::Dial));
    }
}
