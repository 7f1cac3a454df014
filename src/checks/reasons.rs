//! Why each check fails, for people: the core only counts verdicts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vipward_core::CheckId;

/// The longest reason; one with an error of somebody else's in it may be longer.
const LONGEST: usize = 500;

/// The reason of each check's last failure, while it fails. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reasons(Arc<Mutex<BTreeMap<u8, String>>>);

impl Reasons {
    /// Why the check's last run failed; `None` if it passed.
    #[must_use]
    pub fn of(&self, check: CheckId) -> Option<String> {
        self.all().get(&check.0).cloned()
    }

    pub(super) fn set(&self, check: CheckId, reason: Option<String>) {
        match reason {
            Some(reason) => {
                let reason = reason.chars().take(LONGEST).collect();
                self.all().insert(check.0, reason);
            }
            None => {
                self.all().remove(&check.0);
            }
        }
    }

    /// The checks are others from now on.
    pub(super) fn forget(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u8, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
