//! vipward

pub mod transport;
