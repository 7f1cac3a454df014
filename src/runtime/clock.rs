//! The program's clock.

use rustix::time::{ClockId, clock_gettime};
use vipward_core::Timestamp;

/// Now, on `CLOCK_BOOTTIME`: it counts suspended time, which `std::time::Instant` on Linux does
/// not, and nobody can set it.
#[must_use]
pub fn now() -> Timestamp {
    let time = clock_gettime(clock());
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(not(feature = "mutations"))]
fn clock() -> ClockId {
    ClockId::Boottime
}

/// A deliberate fault of the lab's: time by the wall clock, which anybody can set.
#[cfg(feature = "mutations")]
static BY_WALL: std::sync::OnceLock<()> = std::sync::OnceLock::new();

#[cfg(feature = "mutations")]
fn clock() -> ClockId {
    if BY_WALL.get().is_some() { ClockId::Realtime } else { ClockId::Boottime }
}

/// Turns that fault on. Whether `name` is its name.
#[cfg(feature = "mutations")]
pub fn choose(name: &str) -> bool {
    name == "wall-clock" && BY_WALL.set(()).is_ok()
}
