//! vipward
pub mod cloud;
