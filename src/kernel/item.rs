//! One address: what is to be done about it, and what was told of it.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vipward_core::{KernelState, Presence};

use super::Address;
use super::announce::Announcements;
use super::budget::{Budget, SLOW};
use super::place::{NoPlace, Seen};
use crate::netlink::{Held, Link, View, is_refusal};

/// After a failure the next try waits.
const RETRY: Duration = Duration::from_secs(1);

/// What is to be done now.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Act {
    Nothing,
    /// It failed a moment ago, or is fought over: later.
    Later,
    Add(Link),
    Remove(Vec<Held>),
}

/// Why the kernel is not as wanted. Each is a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    #[error(
        "something else {does} {ip} again and again; it is put right each {SLOW:?}: find out what \
         does it (`ip monitor address`; systemd-networkd and NetworkManager are known to), and \
         make it leave {ip} alone"
    )]
    Fight { does: &'static str, ip: Ipv4Addr },
    #[error(
        "{ip}/{prefix} is not removed, as it is the first address of its subnet on {link}, and \
         the kernel would remove {others} with it; set the sysctl \
         net.ipv4.conf.{link}.promote_secondaries to 1"
    )]
    First { ip: Ipv4Addr, prefix: u8, link: String, others: String },
    #[error(
        "{ip} cannot be {done} without CAP_NET_ADMIN; give vipward that and CAP_NET_RAW, with \
         AmbientCapabilities= and CapabilityBoundingSet= of its unit"
    )]
    NotPermitted { ip: Ipv4Addr, done: &'static str },
    #[error("{ip} cannot be {done}: {error}; it is tried each {RETRY:?}")]
    Refused { ip: Ipv4Addr, done: &'static str, error: io::Error },
    #[error(
        "the kernel cannot be asked for its addresses: {0}; let vipward use netlink, with AF_NETLINK \
         in RestrictAddressFamilies= of its unit"
    )]
    Mute(String),
}

impl Trouble {
    pub(super) fn refused(ip: Ipv4Addr, done: &'static str, error: io::Error) -> Self {
        if is_refusal(&error) {
            return Self::NotPermitted { ip, done };
        }
        Self::Refused { ip, done, error }
    }

    /// Of an address that nothing is to be done about yet.
    pub(super) fn not_permitted(ip: Ipv4Addr) -> Self {
        Self::NotPermitted { ip, done: "added" }
    }
}

/// One address, and what is known of it.
pub(super) struct Item {
    pub(super) address: Address,
    pub(super) announcements: Announcements,
    wanted: Option<Presence>,
    /// Whether it was as wanted since it is wanted so: what changes it then is something else.
    reached: bool,
    budget: Budget,
    /// Whether its interface could pass packets.
    running: Option<bool>,
    retry: Option<Instant>,
    told: Option<Presence>,
    failure: Option<Arc<str>>,
}

impl Item {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            announcements: Announcements::default(),
            wanted: None,
            reached: false,
            budget: Budget::default(),
            running: None,
            retry: None,
            told: None,
            failure: None,
        }
    }

    pub(super) fn want(&mut self, wanted: Option<Presence>) {
        if self.wanted != wanted {
            self.wanted = wanted;
            self.reached = false;
            self.retry = None;
            // With a new order the old fight is over.
            self.budget = Budget::default();
            self.announcements.end();
        }
    }

    /// Whether the kernel was as wanted when it was last seen.
    pub(super) fn is_settled(&self) -> bool {
        self.wanted.is_none() || self.reached
    }

    /// What is to be done about what was seen.
    pub(super) fn plan(&mut self, seen: &Seen, view: &View, now: Instant) -> Result<Act, Trouble> {
        let Some(wanted) = self.wanted else { return Ok(Act::Nothing) };
        if wanted == presence(seen) {
            self.keep_announced(seen, now);
            self.reached = true;
            self.retry = None;
            return Ok(Act::Nothing);
        }
        let link = match (wanted, &seen.link) {
            (Presence::Absent, _) => None,
            (Presence::Present, Ok(link)) => Some(link.clone()),
            (Presence::Present, Err(no_place)) => {
                self.reached = false;
                return Err(no_place.clone().into());
            }
        };
        if self.retry.is_some_and(|retry| now < retry) {
            return Ok(Act::Later);
        }
        if self.reached {
            let next = self.budget.next(now);
            if now < next {
                self.retry = Some(next);
                let does = if link.is_some() { "removes" } else { "adds" };
                return Err(Trouble::Fight { does, ip: self.address.ip });
            }
            self.budget.spend(now);
            self.reached = false;
        }
        match link {
            Some(link) => Ok(Act::Add(link)),
            None => {
                seen.held.iter().try_for_each(|held| goes_alone(*held, view))?;
                Ok(Act::Remove(seen.held.clone()))
            }
        }
    }

    /// A present address is announced when it begins to be wanted, as another node may have had
    /// it meanwhile, and when its interface comes back.
    fn keep_announced(&mut self, seen: &Seen, now: Instant) {
        let running = seen.link.as_ref().ok().map(|link| link.running);
        let back = self.running == Some(false) && running == Some(true);
        self.running = running;
        if self.wanted == Some(Presence::Present) && (back || !self.reached) {
            self.announcements.begin(now);
        }
    }

    /// Notes how it went, and says what the core is to be told.
    pub(super) fn note(
        &mut self,
        (before, after): (Presence, Presence),
        result: Result<(), Trouble>,
        now: Instant,
    ) -> Vec<KernelState> {
        let mut states = Vec::new();
        self.reached |= self.wanted == Some(after);
        if self.told != Some(before) {
            self.told = Some(before);
            // After news a failure is told again: it may look mended.
            self.failure = self.failure.take().filter(|_| result.is_ok());
            states.push(KernelState::Is(before));
        }
        match result {
            Err(trouble) => states.extend(self.fail(&trouble, now)),
            // What was put right in a fight may last for a moment only; it was told already.
            Ok(()) if self.failure.is_some() && self.budget.fought_until(now).is_some() => {}
            Ok(()) => {
                if self.failure.take().is_some() || self.told != Some(after) {
                    self.told = Some(after);
                    states.push(KernelState::Is(after));
                }
            }
        }
        states
    }

    /// Notes that the kernel is not as wanted, or would not become so. A failure is told once.
    pub(super) fn fail(&mut self, trouble: &Trouble, now: Instant) -> Option<KernelState> {
        self.wanted?;
        // A place that appears is an event.
        if !self.reached && !matches!(trouble, Trouble::NoPlace(_)) {
            self.retry = self.retry.filter(|retry| now < *retry).or(Some(now + RETRY));
        }
        let what: Arc<str> = trouble.to_string().into();
        let failure = self.failure.replace(Arc::clone(&what));
        (failure.as_ref() != Some(&what)).then_some(KernelState::Failed { what })
    }

    /// When there is something to be done or told, if nothing happens before.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let over = self.budget.fought_until(now).filter(|_| self.failure.is_some());
        let retry = self.retry.filter(|retry| now < *retry);
        [over, retry, self.announcements.due()].into_iter().flatten().min()
    }
}

pub(super) fn presence(seen: &Seen) -> Presence {
    if seen.held.is_empty() { Presence::Absent } else { Presence::Present }
}

/// The kernel removes the others of a subnet with its first address, unless it promotes them.
fn goes_alone(held: Held, view: &View) -> Result<(), Trouble> {
    let others: Vec<String> = view
        .held
        .iter()
        .filter(|it| it.secondary && it.ip != held.ip && held.subnet_has(it))
        .map(|it| it.ip.to_string())
        .collect();
    let link = view.links.iter().find(|it| it.index == held.link);
    let Some(link) = link.filter(|_| !held.secondary && !others.is_empty()) else { return Ok(()) };
    let promotes = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/promote_secondaries");
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
    };
    if promotes("all") || promotes(&link.name) {
        return Ok(());
    }
    let (ip, prefix, link, others) = (held.ip, held.prefix, link.name.clone(), others.join(", "));
    Err(Trouble::First { ip, prefix, link, others })
}
