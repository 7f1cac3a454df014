//! The rules of the core, one by one: given a state, when an input arrives, then these orders.
//!
//! Section numbers are those of the design. The seeded simulation beside this judges the same
//! core by its invariants; here each rule has a test of its own, with the sentence it rests on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers outside #[test].

mod admit;
mod candidate;
mod cold_start;
mod configs;
mod copies;
mod crash;
mod drift;
mod fenced;
mod fixture;
mod gate;
mod guard;
mod handover;
mod health;
mod hooks;
mod judge;
mod kernel;
mod maintenance;
mod master;
mod network;
mod ops;
mod order;
mod ownership;
mod probation;
mod properties;
mod pull;
mod reading;
mod reference;
mod rejoin;
mod reload;
mod restart;
mod roles;
mod said;
mod scenes;
mod secondary;
mod standing;
mod stop;
mod switchover;
mod take_backs;
mod terms;
mod traps;
mod voter;
