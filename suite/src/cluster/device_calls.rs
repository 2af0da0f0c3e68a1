//! Calls to other ranks that run on a device.
//!
//! The host only queues them. If another rank does not answer, it is not the call that waits, but some later
//! operation of the host on the device, wherever that is. So the watchdog asks the device how far it is.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Longest wait in [`abort_all`].
const ABORT_WAIT: Duration = Duration::from_secs(2);

/// The queued calls of one communicator. They are asked from a thread of their own, and never wait.
pub trait DeviceCalls: Send + Sync {
    /// How far the device is.
    ///
    /// # Errors
    /// The message of a call that has failed since it was queued.
    fn progress(&self) -> Result<Progress, String>;
    /// Ends the calls that still run. No further call is made.
    fn abort(&self);
}

/// How far a device is with the calls that were queued on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of calls queued so far.
    pub queued: u64,
    /// Whether the last of them is done.
    pub done: bool,
}

static WATCHED: Mutex<Vec<Weak<dyn DeviceCalls>>> = Mutex::new(Vec::new());

fn watched() -> MutexGuard<'static, Vec<Weak<dyn DeviceCalls>>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the watchdog ask for `calls` until they are dropped.
pub fn watch(calls: &Arc<impl DeviceCalls + 'static>) {
    let calls = Arc::downgrade(calls);
    watched().push(calls);
}

/// The calls of all communicators.
pub(crate) fn all() -> Vec<Arc<dyn DeviceCalls>> {
    let mut watched = watched();
    watched.retain(|calls| calls.strong_count() > 0);
    watched.iter().filter_map(Weak::upgrade).collect()
}

/// Ends the running calls of all communicators, so that the device becomes free. Returns after two seconds at
/// most: a driver that hangs must not keep the job from ending.
pub fn abort_all() {
    let calls = all();
    if calls.is_empty() {
        return;
    }
    let (report, ended) = channel();
    std::thread::spawn(move || {
        calls.iter().for_each(|calls| calls.abort());
        let _ = report.send(());
    });
    let _ = ended.recv_timeout(ABORT_WAIT);
}
