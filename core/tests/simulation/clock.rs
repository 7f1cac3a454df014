//! Real time, and what each host makes of it.

/// Nanoseconds: of real time, or of a host's clock where said so.
pub(crate) type Nanos = u64;

/// A millisecond.
pub(crate) const MS: Nanos = 1_000_000;
/// A second.
pub(crate) const SEC: Nanos = 1_000_000_000;

/// One part in a million: clock rates are so many of them per unit of real time.
pub(crate) const MILLION: u64 = 1_000_000;

/// A host's boot-time clock: an offset, a rate, and freezes that stop it.
///
/// Its *shadow* is the same clock, but no freeze stops it and no reboot sets it back. Promises
/// are judged by shadows: a machine whose clock stood still may believe in its lease, but real
/// time went on for everybody else.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    real: Nanos,
    local: Nanos,
    shadow: Nanos,
    rate: u64,
    stopped: bool,
}

/// One instant, on all three clocks of a host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Moment {
    pub(crate) real: Nanos,
    pub(crate) local: Nanos,
    pub(crate) shadow: Nanos,
}

impl Clock {
    /// A clock that shows `local` at real time `real` and runs at `rate` parts in a million.
    pub(crate) fn new(real: Nanos, local: Nanos, rate: u64) -> Self {
        Self { real, local, shadow: local, rate, stopped: false }
    }

    /// What it shows at `real`.
    pub(crate) fn at(&self, real: Nanos) -> Moment {
        let passed = (real - self.real) * self.rate / MILLION;
        let local = if self.stopped { self.local } else { self.local + passed };
        Moment { real, local, shadow: self.shadow + passed }
    }

    /// When it shows `local` for the first time, if nothing changes.
    pub(crate) fn when(&self, local: Nanos) -> Nanos {
        let left = local.saturating_sub(self.local);
        if left > 1_000_000 * SEC {
            return Nanos::MAX;
        }
        self.real + (left * MILLION).div_ceil(self.rate)
    }

    /// Runs at another rate from now on.
    pub(crate) fn set_rate(&mut self, real: Nanos, rate: u64) {
        self.rebase(real);
        self.rate = rate;
    }

    /// Stands still, or runs again.
    pub(crate) fn set_stopped(&mut self, real: Nanos, stopped: bool) {
        self.rebase(real);
        self.stopped = stopped;
    }

    /// The host reboots: its clock starts near zero.
    pub(crate) fn reboot(&mut self, real: Nanos, local: Nanos) {
        self.rebase(real);
        self.local = local;
        self.stopped = false;
    }

    fn rebase(&mut self, real: Nanos) {
        let now = self.at(real);
        (self.real, self.local, self.shadow) = (now.real, now.local, now.shadow);
    }
}
