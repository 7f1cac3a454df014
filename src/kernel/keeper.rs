//! The loop: wait for anything to happen, read what the kernel has, make it as wanted.

use std::future::pending;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use vipward_core::{Input, KernelState, Presence};

use super::announce::{announce, may_announce};
use super::item::{Act, Item, Trouble, presence};
use super::place::Seen;
use super::{Keep, Mac, Settings, Wanted};
use crate::netlink::{Changes, Netlink, View, is, is_refusal};

/// The kernel is read again after so long, even if nothing seems to have happened.
const RESYNC: Duration = Duration::from_secs(30);
/// Between two readings because of events, so that a flood of them costs little.
const GAP: Duration = Duration::from_millis(10);
/// Before netlink is opened again.
const REOPEN: Duration = Duration::from_secs(1);
/// Between two tries at the end, which has little time.
const LAST_TRIES: Duration = Duration::from_millis(50);

/// All addresses of this node.
pub(super) struct Keeper {
    items: Vec<Item>,
    wanted: watch::Receiver<Wanted>,
    mac: Mac,
    inputs: mpsc::Sender<Input>,
    /// Whether this process may change addresses.
    permitted: bool,
    /// Whether it was said that it may not announce them.
    mute: bool,
}

impl Keeper {
    pub(super) fn new(
        settings: Settings,
        wanted: watch::Receiver<Wanted>,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let items = settings.addresses.into_iter().map(Item::new).collect();
        Self { items, wanted, mac: settings.mac, inputs, permitted: true, mute: false }
    }

    /// Keeps the kernel as wanted for ever.
    pub(super) async fn keep(&mut self) {
        // Both permissions are looked for before they are needed.
        self.mute = say(may_announce(), "any address", false);
        loop {
            if let Err(error) = self.keep_over_netlink().await {
                self.tell_broken(&error).await;
            }
            sleep(REOPEN).await;
        }
    }

    /// Until netlink breaks.
    async fn keep_over_netlink(&mut self) -> io::Result<()> {
        // Before the first reading, so that what changes meanwhile is told.
        let mut changes = Changes::open()?;
        let kernel = Netlink::open()?;
        self.permitted = kernel.may_change().await?;
        loop {
            let next = self.put_right(&kernel).await?;
            let quiet = Instant::now() + GAP;
            let event = async {
                sleep_until(quiet).await;
                changes.next().await
            };
            tokio::select! {
                happened = event => happened?,
                () = changed(&mut self.wanted) => {}
                () = changed(&mut self.mac) => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Makes the kernel as wanted once more, however often it takes.
    pub(super) async fn settle(&mut self) {
        loop {
            let settled = async {
                let kernel = Netlink::open()?;
                self.put_right(&kernel).await
            };
            match settled.await {
                Ok(_) if self.items.iter().all(Item::is_settled) => return,
                Ok(_) | Err(_) => sleep(LAST_TRIES).await,
            }
        }
    }

    /// Reads what the kernel has and puts right what is not as wanted. When to do so again.
    async fn put_right(&mut self, kernel: &Netlink) -> io::Result<Instant> {
        self.take_orders();
        let view = kernel.view().await?;
        let mac = *self.mac.borrow_and_update();
        let mut next = Instant::now() + RESYNC;
        for item in &mut self.items {
            let seen = Seen::of(&item.address, &view, mac);
            let states = put_item_right(kernel, item, &seen, &view, self.permitted).await;
            let now = Instant::now();
            if item.announcements.take(now)
                && let Ok(link) = &seen.link
            {
                let ip = item.address.ip;
                self.mute = say(announce(link, ip), &ip.to_string(), self.mute);
            }
            next = item.due(now).map_or(next, |due| due.min(next));
            tell(&self.inputs, item, states).await;
        }
        Ok(next)
    }

    fn take_orders(&mut self) {
        let wanted = self.wanted.borrow_and_update();
        for item in &mut self.items {
            item.want(match item.address.keep {
                Keep::Always => Some(Presence::Present),
                Keep::Ordered(group, address) => wanted.get(&(group, address)).copied(),
            });
        }
    }

    async fn tell_broken(&mut self, error: &io::Error) {
        self.take_orders();
        for item in &mut self.items {
            let state = item.fail(&Trouble::Mute(error.to_string()), Instant::now());
            tell(&self.inputs, item, state).await;
        }
    }
}

async fn put_item_right(
    kernel: &Netlink,
    item: &mut Item,
    seen: &Seen,
    view: &View,
    permitted: bool,
) -> Vec<KernelState> {
    let (ip, before, now) = (item.address.ip, presence(seen), Instant::now());
    match item.plan(seen, view, now) {
        Ok(Act::Nothing) => {
            let result = if permitted { Ok(()) } else { Err(Trouble::not_permitted(ip)) };
            item.note((before, before), result, now)
        }
        Ok(Act::Later) => Vec::new(),
        Ok(Act::Add(link)) => match kernel.add(link.index, ip).await {
            Ok(()) => {
                item.announcements.begin(now);
                item.note((before, Presence::Present), Ok(()), now)
            }
            Err(error) => {
                item.note((before, before), Err(Trouble::refused(ip, "added", error)), now)
            }
        },
        Ok(Act::Remove(all)) => {
            let mut result = Ok(());
            for held in all {
                let removed = kernel.remove(held).await;
                result = result.and(removed.map_err(|it| Trouble::refused(ip, "removed", it)));
            }
            let after = if result.is_ok() { Presence::Absent } else { before };
            item.note((before, after), result, now)
        }
        Err(trouble) => item.note((before, before), Err(trouble), now),
    }
}

/// Says once if nothing can be announced; whether it was said.
fn say(announced: io::Result<()>, what: &str, mute: bool) -> bool {
    match announced {
        Ok(()) => false,
        Err(error) if is_refusal(&error) || is(&error, Errno::AFNOSUPPORT) => {
            if !mute {
                tracing::warn!(
                    %error,
                    "{what} cannot be announced by ARP, and is set all the same: neighbours learn \
                     of it when their entries expire; give vipward CAP_NET_RAW, with \
                     AmbientCapabilities= and CapabilityBoundingSet= of its unit, and AF_PACKET \
                     with RestrictAddressFamilies="
                );
            }
            true
        }
        Err(error) => {
            tracing::debug!(%error, "{what} is not announced by ARP");
            mute
        }
    }
}

/// Tells the core of an address of its own, and the log of one that is always kept.
async fn tell(
    inputs: &mpsc::Sender<Input>,
    item: &Item,
    states: impl IntoIterator<Item = KernelState>,
) {
    for state in states {
        match (item.address.keep, state) {
            (Keep::Ordered(group, address), state) => {
                // At the end nobody may hear it.
                let _ = inputs.send(Input::Kernel { group, address, state }).await;
            }
            (Keep::Always, KernelState::Failed { what }) => {
                tracing::error!("a node's own address is not kept: {what}");
            }
            (Keep::Always, KernelState::Is(presence)) => {
                tracing::info!(ip = %item.address.ip, ?presence, "a node's own address");
            }
        }
    }
}

async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        // Its last value stays.
        pending().await
    }
}
