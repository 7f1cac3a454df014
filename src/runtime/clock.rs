//! The program's clock.

use rustix::time::{ClockId, clock_gettime};
use vipward_core::Timestamp;

/// Now, on `CLOCK_BOOTTIME`: it counts suspended time, which `std::time::Instant` on Linux does
/// not, and nobody can set it.
#[must_use]
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}
