//! vipward
