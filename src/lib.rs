//! vipward

pub mod simulated_cloud;
