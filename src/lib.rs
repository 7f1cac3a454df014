//! vipward
pub mod admin;
pub mod checks;
pub mod journal;
pub mod names;
pub mod state;
pub mod telemetry;
