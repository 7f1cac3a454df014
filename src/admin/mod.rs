//! What people and tools ask a running daemon, and how they are answered.
//!
//! ```text
//!  operators ──> unix socket ──┐                        ┌──> the core's loop (status, orders)
//!                              ├──> routes ──> Handle ──┼──> the journal    (events)
//!  everybody ──> admin.listen ─┘   (read-only)          └──> the metrics
//! ```
//!
//! Nothing here decides. Every question has a deadline, and the numbers of connections, streams
//! and bytes are bounded, so a careless client costs nobody but itself.

mod client;
mod document;
mod handle;
mod listen;
mod routes;
mod stream;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, EventLines};
pub use document::*;
pub use handle::{
    AdmitOrder, Ask, CheckReport, EventQuery, EventReceiver, EventSource, Finding, Handle,
    MaintenanceOrder, MetricsSource, Order, Severity, SwitchoverOrder,
};
pub use listen::{AdminError, OperatorSocket, bind_tcp, bind_unix, serve_tcp, serve_unix};
pub use routes::{operator_routes, public_routes};
