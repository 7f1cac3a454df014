//! The daemon: builds every part, hands each what it needs, and ends them in order.
//!
//! ```text
//!  main runtime (threads)                        heartbeat thread (current-thread runtime,
//!    cloud ─┐                                     real-time priority, locked memory)
//!    checks ─┼── Input ──> bounded queue ──────────> heart: Node::step ──┐
//!    state ──┘                                        ▲    transport <───┤
//!    narrator <── Event ── bounded queue <────────────┼──────────────────┤
//!    cloud    <── CloudCall                           │                  │
//!    state    <── Durable (newest only) <─────────────┼──────────────────┘
//!    admin ── Ask (status, switchover) ───────────────┘
//! ```
//!
//! `heart` is the loop, `translate` turns the configuration into the settings of each part,
//! `reload` and `start` do what their names say, `ask` answers the admin interface.

mod ask;
pub mod clock;
mod heart;
mod manifests;
mod narrator;
mod observers;
mod realtime;
mod reload;
mod start;
mod thread;
mod translate;

pub use start::{RunError, RunOptions, run};

pub(crate) use start::{Identified, identify, read_keys};
pub(crate) use translate::cloud as cloud_settings;
pub(crate) use translate::links as link_settings;
