//! The `vipward` binary from outside: its commands and exit codes, its daemons and what they
//! answer, and what they make of bad input. Nothing here calls into the program.
//!
//! Every cluster has a network of its own in 127.0.0.0/8 and a directory of its own, so the tests
//! run beside each other. They wait for conditions; a deadline is for a machine that is busy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers outside #[test].

mod admin;
mod bad_input;
mod cloud_faults;
mod commands;
mod configuration;
mod daemon;
mod demo;
mod failover;
mod fixture;
mod gate;
mod hooks;
mod hostile;
mod secondary;
mod simulated_cloud;
mod switchover;
