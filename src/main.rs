//! vipward
fn main() {}
