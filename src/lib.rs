//! vipward
pub mod journal;
pub mod names;
