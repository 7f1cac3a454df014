//! Places where a test ends the process. In a program that ships, nothing.

/// Called before each change to the disk.
#[cfg(not(test))]
pub(super) fn step() {}

#[cfg(test)]
pub(super) fn step() {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static DIE_AT: LazyLock<Option<u64>> =
        LazyLock::new(|| std::env::var("VIPWARD_PULL_DIE_AT").ok()?.parse().ok());
    static STEPS: AtomicU64 = AtomicU64::new(0);
    if DIE_AT.is_some_and(|at| STEPS.fetch_add(1, Ordering::Relaxed) + 1 == at) {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        std::thread::park();
    }
}
