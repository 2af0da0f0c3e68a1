//! One message of what many ranks find at the same moment.

use std::time::Duration;

use crate::cluster::launch::launched_as;
use crate::cluster::stop_signal::signalled;

/// How much longer than the rank before it a rank waits.
const DELAY: Duration = Duration::from_millis(500);

/// Ranks from this one on speak at the same time.
const LAST: u32 = 8;

/// When a rank speaks, if several have found the same.
pub struct Turn {
    wait: Duration,
}

impl Turn {
    /// The turn of this rank. It is asked for early: later, a thread may hang with the lock of what is read
    /// here.
    pub fn of_this_rank() -> Turn {
        Turn { wait: DELAY * u32::try_from(launched_as()).unwrap_or(LAST).min(LAST) }
    }

    /// Whether another rank ends the job for what this one has found, too. The lowest one speaks and ends the
    /// job first; then the launcher signals the others. Called once, before this rank speaks.
    pub fn another_rank_ends_the_job(&self) -> bool {
        let asked_before = signalled();
        std::thread::sleep(self.wait);
        !asked_before && signalled()
    }
}
