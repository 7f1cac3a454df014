//! What a node knows of each peer: its life, its links, its last heartbeat, and the evidence that
//! its process is dead (design 3.5).

use std::sync::Arc;
use std::time::Duration;

use crate::message::{GroupBeat, Heartbeat};
use crate::mutation::{Mutation, active};
use crate::reference::Admission;
use crate::types::{BootId, GroupId, LinkId, SendNumber, Timestamp};

/// So many past lives of a peer are remembered, so that none of them returns.
const REMEMBERED_BOOTS: usize = 8;

/// One peer, as this node sees it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Peer {
    /// The life that last answered us, or the first that spoke.
    pub(crate) boot: Option<BootId>,
    /// Since when that life is known.
    pub(crate) boot_since: Timestamp,
    /// Lives that were replaced by a newer one that answered; none of them returns.
    replaced: Vec<BootId>,
    /// The last life replaced, and the links on which the newer one answered or the attempt was
    /// refused.
    previous: Option<(BootId, u32)>,
    /// Links on which an attempt was refused since the current life was last heard.
    refused: u32,
    /// Lives known to be dead.
    proven: Vec<BootId>,
    /// Of those, the ones that the groups know of.
    reported: Vec<BootId>,
    /// Open connections with it, both directions.
    open: u16,
    /// The last connection was closed then; it is probed until this is explained.
    closed_at: Option<Timestamp>,
    /// When it is probed next.
    pub(crate) probe_at: Option<Timestamp>,
    /// When anything of it was last heard.
    pub(crate) heard_at: Option<Timestamp>,
    /// When anything of its current life was last heard.
    life_heard_at: Timestamp,
    /// For how long it was not heard before that life; `None` for the first.
    pub(crate) away: Option<Duration>,
    /// The newest send of ours that it answered went out then.
    pub(crate) answered_to: Option<Timestamp>,
    /// What it last said that operators admitted.
    pub(crate) admissions: Vec<Admission>,
    /// By link.
    pub(crate) links: Vec<Link>,
    /// Its newest heartbeat, when it came and of which life.
    pub(crate) beat: Option<(Arc<Heartbeat>, Timestamp, BootId)>,
    /// Whether the journal has it as up.
    pub(crate) up: bool,
    /// Since when the journal has its configuration as different.
    pub(crate) drift_since: Option<Timestamp>,
    /// Requests of a replaced life, heard since the last of a live one.
    pub(crate) strays: u32,
}

/// One link to a peer.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Link {
    /// When anything was last heard over it.
    pub(crate) heard_at: Option<Timestamp>,
    /// Whether the journal has it as up.
    pub(crate) up: bool,
}

/// How a life of a peer was heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// It sent a request.
    Spoke,
    /// It answered: to a send that went out then, if that is known.
    Answered {
        /// When the request went out.
        asked_at: Option<Timestamp>,
    },
}

/// How a heartbeat stands to those heard before of the same life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Copy {
    /// The newest yet.
    First,
    /// Another copy of the newest.
    Repeat,
    /// Older than the newest.
    Stale,
}

impl Peer {
    pub(crate) fn new(links: u8) -> Self {
        Self {
            boot: None,
            boot_since: Timestamp::default(),
            replaced: Vec::new(),
            previous: None,
            refused: 0,
            proven: Vec::new(),
            reported: Vec::new(),
            open: 0,
            closed_at: None,
            probe_at: None,
            heard_at: None,
            life_heard_at: Timestamp::default(),
            away: None,
            answered_to: None,
            admissions: Vec::new(),
            links: vec![Link::default(); usize::from(links.max(1))],
            beat: None,
            up: false,
            drift_since: None,
            strays: 0,
        }
    }

    /// Notes that `boot` was heard over `link`. False if that life was replaced: to be ignored.
    pub(crate) fn heard(&mut self, now: Timestamp, boot: BootId, link: LinkId, how: Heard) -> bool {
        let answered = how != Heard::Spoke;
        if self.replaced.contains(&boot) {
            self.strays = self.strays.saturating_add(u32::from(!answered));
            return false;
        }
        let newer = self.boot.is_some_and(|known| known != boot);
        // A slow answer to something older may still come from a life that is over.
        let proves = match how {
            Heard::Answered { asked_at: Some(at) } => at >= self.boot_since,
            Heard::Answered { asked_at: None } | Heard::Spoke => active(Mutation::OldBootAnswers),
        };
        if self.boot.is_none() {
            self.boot = Some(boot);
            self.boot_since = now;
        } else if newer && proves {
            self.replace(boot);
            self.boot_since = now;
            self.away = Some(now.since(self.life_heard_at));
        }
        if self.boot == Some(boot) {
            self.life_heard_at = now;
            self.refused = 0;
            self.proven.retain(|dead| *dead != boot);
            self.reported.retain(|dead| *dead != boot);
            if answered {
                self.confirm_previous(link);
            }
        }
        self.strays = 0;
        self.heard_at = Some(now);
        if let Some(link) = self.links.get_mut(link.index()) {
            link.heard_at = Some(now);
        }
        true
    }

    /// A life is new only when it answers a request of ours; the old one never returns.
    fn replace(&mut self, boot: BootId) {
        if let Some(old) = self.boot.replace(boot) {
            push_bounded(&mut self.replaced, old);
            // What was refused to the old life before counts on for it.
            self.previous = Some((old, self.refused));
            self.refused = 0;
            if active(Mutation::OldBootAnswers) {
                push_bounded(&mut self.proven, old);
            }
        }
    }

    fn confirm_previous(&mut self, link: LinkId) {
        let all = self.all_links();
        if let Some((old, links)) = &mut self.previous {
            *links |= bit(link);
            if *links & all == all {
                let old = *old;
                self.previous = None;
                push_bounded(&mut self.proven, old);
            }
        }
    }

    /// Notes that a connection attempt was refused.
    pub(crate) fn connect_refused(&mut self, link: LinkId) {
        self.refused |= bit(link);
        self.confirm_previous(link);
    }

    /// Notes how many connections are open. When the last one closes, the process may be dying:
    /// it is probed at once, and again for a while, since a listener that is being closed may
    /// still accept before it refuses.
    pub(crate) fn connections(&mut self, now: Timestamp, open: u16) {
        if self.open > 0 && open == 0 {
            self.closed_at = Some(now);
            self.probe_at = Some(now);
        } else if open > 0 {
            self.closed_at = None;
            self.probe_at = None;
        }
        self.open = open;
    }

    /// Whether it is to be probed now; sets the next time, within `interval` of the closing.
    pub(crate) fn probe_due(&mut self, now: Timestamp, interval: Duration) -> bool {
        if self.probe_at.is_none_or(|at| at > now) {
            return false;
        }
        let dead = self.boot.is_some_and(|boot| self.is_dead(boot));
        let over = self.closed_at.is_none_or(|at| now.since(at) > interval);
        if dead || over {
            self.probe_at = None;
            return false;
        }
        self.probe_at = Some(now + (interval / 64).max(Duration::from_millis(1)));
        true
    }

    /// Whether the evidence proves that life dead: every configured link refused, or answered by
    /// a newer life; every connection closed; and nothing heard of it since.
    pub(crate) fn is_dead(&self, boot: BootId) -> bool {
        if self.proven.contains(&boot) {
            return true;
        }
        let all = self.all_links();
        let refused = if active(Mutation::SilenceIsCrash) {
            self.refused != 0
        } else {
            self.refused & all == all && self.open == 0
        };
        self.boot == Some(boot) && refused
    }

    /// A life that is known to be dead and was not reported yet: each once.
    pub(crate) fn new_death(&mut self) -> Option<BootId> {
        let current = self.boot.filter(|boot| self.is_dead(*boot));
        let proven = &self.proven;
        let dead = |boot: &BootId| proven.contains(boot) || Some(*boot) == current;
        // Only what is known to be dead is remembered here, so that nothing is told twice.
        self.reported.retain(dead);
        let mut all = self.proven.iter().copied().chain(current);
        let news = all.find(|boot| !self.reported.contains(boot))?;
        self.reported.push(news);
        Some(news)
    }

    /// Whether it is heard: on any link, within `patience`, and not known to be dead.
    pub(crate) fn is_live(&self, now: Timestamp, patience: Duration) -> bool {
        let dead = self.boot.is_some_and(|boot| self.is_dead(boot));
        !dead && self.heard_at.is_some_and(|at| now.since(at) <= patience)
    }

    /// Takes a heartbeat in and tells how it stands to those before.
    pub(crate) fn receive(&mut self, now: Timestamp, boot: BootId, beat: &Arc<Heartbeat>) -> Copy {
        let newest = match &self.beat {
            Some((newest, _, of)) if *of == boot => newest.send,
            Some(_) | None => SendNumber(0),
        };
        if beat.send < newest {
            return Copy::Stale;
        }
        if beat.send == newest {
            return Copy::Repeat;
        }
        self.beat = Some((Arc::clone(beat), now, boot));
        Copy::First
    }

    /// What its newest heartbeat says of a group.
    pub(crate) fn group(&self, group: GroupId) -> Option<(&Heartbeat, &GroupBeat)> {
        let (beat, _, _) = self.beat.as_ref()?;
        let of_group = beat.groups.iter().find(|beat| beat.group == group)?;
        Some((beat.as_ref(), of_group))
    }

    fn all_links(&self) -> u32 {
        (0..self.links.len()).fold(0, |all, link| all | 1_u32 << link.min(31))
    }
}

fn bit(link: LinkId) -> u32 {
    1_u32 << link.0.min(31)
}

fn push_bounded(boots: &mut Vec<BootId>, boot: BootId) {
    if boots.contains(&boot) {
        return;
    }
    if boots.len() >= REMEMBERED_BOOTS {
        boots.remove(0);
    }
    boots.push(boot);
}
