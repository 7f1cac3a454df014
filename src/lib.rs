//! vipward: a hot standby for self-hosted load balancers on clouds without multicast.
//!
//! ARCHITECTURE.md is the map.

pub mod admin;
pub mod checks;
pub mod cli;
pub mod cloud;
pub mod config;
pub mod consistency;
pub mod demo;
pub mod hooks;
pub mod journal;
pub mod kernel;
pub mod names;
mod netlink;
mod program;
pub mod runtime;
pub mod simulated_cloud;
pub mod state;
pub mod telemetry;
pub mod transport;

/// The version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version and the commit that it was built from.
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("VIPWARD_COMMIT"), ")");
