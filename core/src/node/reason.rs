//! Why a node may not lead, and what would change that: sentences for people.

use super::Node;
use super::standing::{Missing, Verdict};
use crate::group::Group;
use crate::input::Differences;
use crate::types::{NodeId, Standing, Timestamp};

impl Node {
    /// Why this node may not lead, or only behind others, in one sentence.
    pub(crate) fn standing_reason(&self, now: Timestamp) -> Option<String> {
        match self.s.standing {
            Standing::Joining => Some(self.why_joining(now)),
            Standing::Quarantined => Some(self.why_quarantined()),
            Standing::Maintenance => {
                Some("an operator took it out; `vipward maintenance off` brings it back".into())
            }
            Standing::Probation => Some(format!(
                "on probation: it stands behind every other until it was healthy for {}s",
                self.s.config.probation.as_secs_f64()
            )),
            Standing::Ready if self.s.is_witness() || self.s.is_as_reference() => None,
            Standing::Ready => Some(
                "its configuration is not the reference's: it leads only when no node with the \
                 reference's is left; see `vipward diff`"
                    .into(),
            ),
        }
    }

    fn why_joining(&self, now: Timestamp) -> String {
        if self.s.is_witness() {
            return "no majority of voters is heard yet: look at the links and the other daemons"
                .into();
        }
        let reason = match self.verdict(now) {
            Verdict::Wait(Missing::Terms) => {
                "its state directory was empty: it learns from a majority first"
            }
            Verdict::Wait(Missing::Scan) => "its configuration is being scanned",
            Verdict::Wait(Missing::Balancers) => {
                "its configuration is not the reference's, and there is no master: it waits for \
                 the other balancers"
            }
            Verdict::Wait(Missing::Majority)
            | Verdict::New
            | Verdict::Equal
            | Verdict::Admitted
            | Verdict::ColdStart
            | Verdict::Different => {
                "no majority of voters has answered yet: look at the links and the other daemons"
            }
        };
        reason.into()
    }

    fn why_quarantined(&self) -> String {
        let me = self.s.config.name(self.s.config.me);
        let holder = self.reference_holder().map(|node| self.s.config.name(node));
        let compared = self.s.gate.comparison.as_ref();
        let found = compared.and_then(|it| Some((it.with, it.found.as_ref()?)));
        let mut sentence = match holder {
            Some(holder) => {
                format!("its configuration differs from the reference, which {holder} has")
            }
            None => "its configuration differs from the reference, which no node heard has".into(),
        };
        if let Some((with, found)) = found {
            let with = self.s.config.name(with);
            sentence += &format!(", in {} from {with}", entries(found));
        }
        if let Some(failed) = &self.s.gate.pull.failed {
            sentence += &format!("; the last repair failed: {}", failed.what);
        }
        let look = match holder.or(compared.map(|it| self.s.config.name(it.with))) {
            Some(name) => format!("; see `vipward diff {name}` and make it equal"),
            None => "; make it equal".into(),
        };
        sentence + &look + &format!(", or override with `vipward admit {me}`")
    }

    /// Why nobody may lead a group, if so: no master is known, and no balancer that could.
    pub(super) fn why_no_candidate(&self, group: &Group, now: Timestamp) -> Option<String> {
        let s = &self.s;
        if group.leader(s, now).is_some() || !s.hears_majority(now) {
            return None;
        }
        let mut reasons = Vec::new();
        for index in 0..s.config.nodes.len() {
            let node = NodeId(u8::try_from(index).unwrap_or(u8::MAX));
            if s.config.priority(group.id, node).is_none() {
                continue;
            }
            let reason = if node == s.config.me {
                self.why_not_me(group)?
            } else {
                why_not(group, s, node)?
            };
            reasons.push(format!("{} {reason}", s.config.name(node)));
        }
        if reasons.is_empty() {
            return None;
        }
        Some(format!(
            "nobody may lead, the addresses stay where they are: {}; make the configurations \
             equal, or override with `vipward admit NODE`",
            reasons.join(", ")
        ))
    }

    fn why_not_me(&self, group: &Group) -> Option<String> {
        let s = &self.s;
        if !s.is_healthy(group.id) {
            return Some("fails a fatal check".into());
        }
        if group.may_stand(s).is_some() {
            return None;
        }
        let found = s.gate.comparison.as_ref().and_then(|it| it.found.as_ref());
        let named = found.map_or_else(String::new, |found| format!(" ({})", entries(found)));
        Some(format!("is {}{named}", s.standing.as_str()))
    }
}

/// Why a peer may not lead; `None` if it may, as far as known.
fn why_not(group: &Group, s: &crate::shared::Shared, node: NodeId) -> Option<String> {
    let Some(beat) = s.live_beat(node) else { return Some("is not heard".into()) };
    let healthy = s.peer(node).and_then(|peer| peer.group(group.id)).is_some_and(|it| it.1.healthy);
    if !healthy {
        return Some("fails a fatal check or stops".into());
    }
    let last = beat.standing == Standing::Quarantined && s.config.last_resort;
    (!beat.standing.may_lead() && !last).then(|| format!("is {}", beat.standing.as_str()))
}

/// In which entries: as many as are named, and how many more.
fn entries(differences: &Differences) -> String {
    let Differences { named, total } = differences;
    let shown = u32::try_from(named.len()).unwrap_or(u32::MAX);
    let more = total.saturating_sub(shown);
    let list = named.join(", ");
    let count = if *total == 1 { "1 entry".into() } else { format!("{total} entries") };
    match (named.is_empty(), more) {
        (true, _) => count,
        (false, 0) => format!("{count} ({list})"),
        (false, more) => format!("{count} ({list} and {more} more)"),
    }
}
