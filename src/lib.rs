//! vipward
pub mod config;
