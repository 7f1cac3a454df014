//! What people and tools ask a running daemon.

mod document;

pub use document::*;
