//! A stand-in for the EC2 API: its query protocol, its documented defaults and errors, and faults
//! that can be changed while it runs. The demo, the benchmark and the tests reach it with the
//! same client as the real service.
//!
//! ```text
//!  EC2 query ──> exchange ── Request ──> Engine::arrive ── Plan ──> exchange: wait, land, answer
//!                                          │  faults, record            │
//!                                          └── Cloud::apply <── Engine::land
//!  /_vipward/ ──> admin: faults, resources, holders, record
//! ```
//!
//! Everything that decides is pure and told the time: `state`, `resources` and `describe` know
//! what AWS does, `faults` what goes wrong, `engine` puts the two together. `server`, `exchange`
//! and `admin` only wait, translate and write. What is simulated, and what is not, stands in `docs/simulated-cloud.md`.

mod admin;
mod args;
mod call;
mod describe;
mod ec2_error;
mod engine;
mod exchange;
mod faults;
mod private;
mod record;
mod reply;
mod resources;
mod server;
mod state;

#[cfg(test)]
mod admin_tests;
#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod private_tests;
#[cfg(test)]
mod state_tests;

pub use args::{ArgumentError, SimulatedCloudArgs, run};
pub use faults::{Answer, Fault, Faults, FaultsError, Rule, Selector, Throttle};
pub use record::{Caller, Entry, Outcome};
pub use resources::{
    Adopt, AllocationSpec, InterfaceSpec, PublicNetwork, ResourceError, Resources,
};
pub use server::{Options, SimulatedCloud, StartError};
pub use state::{Association, Holders, Holding};
