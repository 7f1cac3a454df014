//! The rules of the core, one by one: given a state, when an input arrives, then these orders.
//!
//! Section numbers are those of the design. The seeded simulation beside this judges the same
//! core by its invariants; here each rule has a test of its own, with the sentence it rests on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers outside #[test].

mod candidate;
mod configs;
mod copies;
mod crash;
mod fenced;
mod fixture;
mod guard;
mod handover;
mod health;
mod hooks;
mod judge;
mod kernel;
mod master;
mod network;
mod ops;
mod order;
mod ownership;
mod properties;
mod reading;
mod reload;
mod restart;
mod roles;
mod said;
mod scenes;
mod secondary;
mod stop;
mod switchover;
mod take_backs;
mod terms;
mod traps;
mod voter;
