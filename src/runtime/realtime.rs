//! Real-time priority and locked memory for the heartbeat thread, where permitted.
//!
//! A busy machine must not look dead: without these, a heartbeat waits its turn behind whatever
//! else the machine does, and may wait for a page to be read from disk.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Low among real-time priorities: above everything ordinary, below the kernel's own threads.
const PRIORITY: u8 = 10;

/// What was permitted, in words for the log.
#[derive(Clone, Debug)]
pub(super) struct Permitted {
    /// Whether the calling thread has real-time priority, or why not.
    pub(super) priority: Result<(), String>,
    /// Whether memory is locked, or why not.
    pub(super) memory: Result<(), String>,
}

/// Asks for both, for the calling thread and the process.
#[must_use]
pub(super) fn request() -> Permitted {
    Permitted { priority: priority(), memory: memory() }
}

fn priority() -> Result<(), String> {
    let priority = PRIORITY.try_into()?;
    let priority = ThreadPriority::Crossplatform(priority);
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), priority, policy).map_err(
        |error| match error {
            thread_priority::Error::OS(code) => {
                let why = std::io::Error::from_raw_os_error(code);
                format!("{why}; CAP_SYS_NICE or LimitRTPRIO={PRIORITY} permits it")
            }
            thread_priority::Error::Priority(_)
            | thread_priority::Error::PriorityNotInRange(_)
            | thread_priority::Error::Ffi(_) => error.to_string(),
        },
    )
}

fn memory() -> Result<(), String> {
    // Under a limit, locking what is mapped later would make that mapping fail.
    if let Some(limit) = getrlimit(Resource::Memlock).current
        && !rustix::process::geteuid().is_root()
    {
        return Err(format!("LimitMEMLOCK is {limit} bytes, not infinity"));
    }
    // Pages are locked as they are touched, so that nothing is made resident for its own sake.
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(|error| error.to_string())
}
