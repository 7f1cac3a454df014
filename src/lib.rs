//! vipward
pub mod journal;
pub mod names;
pub mod state;
