//! The kernel's links and IPv4 addresses over rtnetlink, for the edges that need them.

mod changes;
#[cfg(test)]
pub(crate) mod namespace;
mod request;
mod view;

pub(crate) use changes::Changes;
pub(crate) use request::{Netlink, is, is_refusal};
pub(crate) use view::{Held, Link, View};
