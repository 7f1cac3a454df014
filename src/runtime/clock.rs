//! The program's clock.

use rustix::time::{ClockId, clock_gettime};
use vipward_core::Timestamp;

/// Now, on `CLOCK_BOOTTIME`: it counts suspended time, which `std::time::Instant` on Linux does
/// not, and nobody can set it.
#[must_use]
pub fn now() -> Timestamp {
    #[cfg(feature = "mutations")]
    if let Some(wall) = by_wall::now() {
        return wall;
    }
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(feature = "mutations")]
pub use by_wall::choose;

/// A deliberate fault of the lab's: time by the wall clock, which anybody can set.
#[cfg(feature = "mutations")]
mod by_wall {
    use std::sync::OnceLock;
    use std::time::{SystemTime, UNIX_EPOCH};

    use vipward_core::Timestamp;

    static CHOSEN: OnceLock<()> = OnceLock::new();

    /// Turns that fault on. Whether `name` is its name.
    pub fn choose(name: &str) -> bool {
        name == "wall-clock" && CHOSEN.set(()).is_ok()
    }

    /// The wall clock as the C library tells it, which is where the lab sets it for one process.
    pub(super) fn now() -> Option<Timestamp> {
        CHOSEN.get()?;
        #[allow(clippy::disallowed_methods)] // That is the fault.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(Timestamp::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)))
    }
}
