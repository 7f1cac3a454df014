//! Which incoming connections may stay: strangers are few and short, peers are served.

use std::collections::VecDeque;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vipward_core::NodeId;

/// Connections that have not sent an authenticated request yet. Each costs at most its buffers
/// and one body, about 130 KiB, so that all together stay below 16 MiB.
const MAX_STRANGERS: usize = 96;

/// A connection that has not sent an authenticated request by then is closed.
pub(super) const STRANGER_TIME: Duration = Duration::from_secs(1);

/// Connections of one peer and link: twice what a link opens, since a peer's host may have
/// restarted without closing those of before.
const MAX_PER_LINK: usize = 16;

/// The open incoming connections, oldest first. Each can be hung up.
#[derive(Debug)]
pub(super) struct Admission {
    strangers: VecDeque<(u64, CancellationToken)>,
    /// By node.
    known: Vec<(usize, VecDeque<(u64, CancellationToken)>)>,
}

impl Admission {
    /// None yet. `links` has, by node, how many lead there.
    pub(super) fn new(links: &[u8]) -> Self {
        let room = |count: &u8| (usize::from(*count) * MAX_PER_LINK, VecDeque::new());
        Self { strangers: VecDeque::new(), known: links.iter().map(room).collect() }
    }

    /// Lets a stranger in; where there are too many, the oldest has to go.
    pub(super) fn admit(&mut self, id: u64, hangup: CancellationToken) {
        self.strangers.push_back((id, hangup));
        if self.strangers.len() > MAX_STRANGERS
            && let Some((_, oldest)) = self.strangers.pop_front()
        {
            oldest.cancel();
        }
    }

    /// A stranger turned out to be `peer`.
    pub(super) fn recognise(&mut self, id: u64, peer: NodeId) {
        let Some(index) = self.strangers.iter().position(|(stranger, _)| *stranger == id) else {
            return;
        };
        let Some(stranger) = self.strangers.remove(index) else { return };
        let Some((room, connections)) = self.known.get_mut(peer.index()) else { return };
        connections.push_back(stranger);
        if connections.len() > *room
            && let Some((_, oldest)) = connections.pop_front()
        {
            oldest.cancel();
        }
    }

    /// The connection has ended.
    pub(super) fn forget(&mut self, id: u64) {
        let all = self.known.iter_mut().map(|(_, connections)| connections);
        for connections in all.chain([&mut self.strangers]) {
            connections.retain(|(other, _)| *other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_makes_room_and_peers_stay() {
        let mut admission = Admission::new(&[0, 1]);
        let token = |id, admission: &mut Admission| {
            let token = CancellationToken::new();
            admission.admit(id, token.clone());
            token
        };
        let peer = token(0, &mut admission);
        admission.recognise(0, NodeId(1));
        let oldest = token(1, &mut admission);
        let others: Vec<_> =
            (2..=MAX_STRANGERS as u64).map(|id| token(id, &mut admission)).collect();
        assert!(!oldest.is_cancelled());
        let newest = token(MAX_STRANGERS as u64 + 1, &mut admission);
        assert!(oldest.is_cancelled());
        assert!(!peer.is_cancelled() && !newest.is_cancelled());
        assert!(others.iter().all(|other| !other.is_cancelled()));
        admission.forget(2);
        let _next = token(MAX_STRANGERS as u64 + 2, &mut admission);
        assert!(others.iter().all(|other| !other.is_cancelled()));
    }
}
