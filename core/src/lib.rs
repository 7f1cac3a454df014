//! The decisions of vipward: a pure state machine, with no sockets, clocks, tasks or randomness.
//!
//! ```text
//!  peers, timers, checks ──┐                              ┌──> requests and answers to peers
//!  cloud results         ──┼──> Node::step(now, input) ───┼──> cloud calls
//!  operators             ──┘                              └──> journal, disk
//! ```
//!
//! * Same state, same `now`, same [`Input`]: always the same [`Output`]s.
//! * Outputs are orders, carried out first to last; none is waited for. What comes of one comes
//!   back as an [`Input`].
//! * After each step the surroundings ask [`Node::next_deadline`] and call again at that time.
//!
//! Section numbers in comments are those of the design; names follow VRRP (RFC 9568, which says
//! "Active" for Master), Raft and the EC2 API.

mod command;
mod config;
mod election;
mod electorate;
mod event;
mod gate;
mod group;
mod handover;
mod health;
mod input;
mod local;
mod mastership;
mod message;
#[cfg(feature = "mutations")]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
mod mutation;
mod node;
mod output;
mod ownership;
mod peer;
mod random;
mod reference;
mod shared;
mod snapshot;
mod standing;
mod status;
mod timing;
mod types;
mod voter;

pub use command::*;
pub use config::*;
pub use event::*;
pub use input::*;
pub use message::*;
pub use node::{Node, reload_refusals};
pub use output::*;
pub use random::Random;
pub use reference::*;
pub use status::*;
pub use timing::*;
pub use types::*;
