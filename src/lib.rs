//! vipward
pub mod names;
