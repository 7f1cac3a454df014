//! One machine: its clock, its disk, its connections, and the process that runs on it.

use std::sync::Arc;

use vipward_core::{Answer, Config, Durable, Node, Request};

use crate::clock::{Clock, Nanos};
use crate::gate::Files;
use crate::kernel::{Edge, Kernel};
use crate::network::Route;
use crate::plan::{ADDRESSES, GROUPS, VOTERS};
use crate::world::Event;

/// The most links between two nodes.
pub(crate) const LINKS: usize = 3;

/// A machine.
pub(crate) struct Host {
    pub(crate) clock: Clock,
    /// A machine that is not up is silent; one that is up refuses for a process that is not.
    pub(crate) up: bool,
    pub(crate) process: Option<Process>,
    /// Counts the processes that ran here.
    pub(crate) life: u32,
    /// Frozen, with its clock or without.
    pub(crate) frozen: Option<Freeze>,
    /// What waits until it thaws.
    pub(crate) backlog: Vec<Event>,
    pub(crate) disk: Option<Durable>,
    /// What it held before the last write.
    pub(crate) disk_before: Option<Durable>,
    pub(crate) disk_fails: bool,
    /// Since when a term is in use that the disk does not know.
    pub(crate) short_since: Option<Nanos>,
    /// As an operator left it.
    pub(crate) config: Arc<Config>,
    /// The rest of its configuration, and what of it this life was told.
    pub(crate) files: Files,
    pub(crate) told: Option<Files>,
    /// Which of its checks fail.
    pub(crate) sick: [bool; 2],
    pub(crate) preflight_bad: bool,
    pub(crate) kernel: Kernel,
    /// Whether its orders fail.
    pub(crate) kernel_fails: bool,
    /// The deadline told to the queue, and the number of that telling.
    pub(crate) wake_at: Nanos,
    pub(crate) wake: u32,
    /// By peer.
    pub(crate) connections: [Connections; VOTERS],
    /// By peer: the last request and the last answer sent, which may yet arrive when their sender
    /// is dead.
    pub(crate) last: [Option<(Route, Request)>; VOTERS],
    pub(crate) last_answer: [Option<(Route, Answer)>; VOTERS],
    /// By peer and link: in which life the transport believes it to be.
    pub(crate) known: [[Option<u32>; LINKS]; VOTERS],
}

/// A freeze.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freeze {
    pub(crate) until: Nanos,
}

/// A process.
pub(crate) struct Process {
    pub(crate) node: Node,
    /// A write under way, and the one after it.
    pub(crate) writing: Option<Durable>,
    pub(crate) write_next: Option<Durable>,
    /// Since when it was asked to stop.
    pub(crate) stopping: Option<Nanos>,
    /// What its edge knows of the kernel.
    pub(crate) edges: [[Edge; ADDRESSES]; GROUPS],
}

/// The connections with a peer, as this host's transport sees them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connections {
    /// With which life of it.
    pub(crate) life: u32,
    /// One bit a link.
    pub(crate) open: u8,
}

impl Host {
    pub(crate) fn new(clock: Clock, config: Arc<Config>) -> Self {
        Self {
            clock,
            up: true,
            process: None,
            life: 0,
            frozen: None,
            backlog: Vec::new(),
            disk: None,
            disk_before: None,
            disk_fails: false,
            short_since: None,
            config,
            files: Files::default(),
            told: None,
            sick: [false; 2],
            preflight_bad: false,
            kernel: Kernel::default(),
            kernel_fails: false,
            wake_at: Nanos::MAX,
            wake: 0,
            connections: [Connections::default(); VOTERS],
            last: [const { None }; VOTERS],
            last_answer: [const { None }; VOTERS],
            known: [[None; LINKS]; VOTERS],
        }
    }

    /// Whether that life's process runs, frozen or not.
    pub(crate) fn runs(&self, life: u32) -> bool {
        self.process.is_some() && self.life == life
    }
}
