//! Ends a job whose ranks wait in vain.
//!
//! A rank that dies takes the job with it: the launcher sees to that. One that stands still (stopped, swapped out, hung in a driver) does
//! not, and the others would wait in their next collective for ever. So a thread beside each rank looks how long it has been waiting.
//! Only training steps are watched: there all ranks do the same work at the same time, whereas elsewhere one may honestly wait
//! for another that renders data or probes a larger share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time that a rank waits beyond what the steps so far explain; `EQR_WATCHDOG_SECONDS` sets another, for tests.
const PATIENCE: Duration = Duration::from_secs(40);
/// Times that wait for the first step of a training, which may build kernels and warm caches.
const FIRST: u32 = 15;
/// Longest steps that are waited for beside: ranks need not be equally fast.
const STEPS: u32 = 3;

/// Milliseconds since the process began at which this rank began to wait; 0 where it does not.
static WAITING: AtomicU64 = AtomicU64::new(0);
/// Milliseconds that it may wait; 0 where nothing is watched.
static LIMIT: AtomicU64 = AtomicU64::new(0);

fn now() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    milliseconds(BEGAN.get_or_init(Instant::now).elapsed()) + 1
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn patience() -> Duration {
    let set = std::env::var("EQR_WATCHDOG_SECONDS").ok().and_then(|text| text.parse().ok());
    set.map_or(PATIENCE, Duration::from_secs)
}

/// Runs a call that returns when other ranks answer.
pub fn waiting<T>(call: impl FnOnce() -> T) -> T {
    WAITING.store(now(), Ordering::Release);
    let out = call();
    WAITING.store(0, Ordering::Release);
    out
}

/// Starts the thread. `end` gets the seconds that were waited, and must end the job.
pub fn start(end: impl Fn(u64) + Send + 'static) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(250));
            let (since, limit) = (WAITING.load(Ordering::Acquire), LIMIT.load(Ordering::Acquire));
            let waited = now().saturating_sub(since);
            if since > 0 && limit > 0 && waited > limit {
                end(waited / 1000);
                return;
            }
        }
    });
}

/// Training steps are being taken, until this is dropped.
pub struct Steps {
    patience: Duration,
    longest: Duration,
    began: Instant,
}

impl Steps {
    /// The first step begins; `longest` is the longest step of this training so far, if it has taken one.
    pub fn begin(longest: Option<Duration>) -> Self {
        let patience = patience();
        let steps = Steps { patience, longest: longest.unwrap_or_default(), began: Instant::now() };
        steps.watch(if longest.is_some() { patience } else { patience * FIRST });
        steps
    }

    /// A step is done and the next begins.
    pub fn done(&mut self) {
        self.longest = self.longest.max(self.began.elapsed());
        self.began = Instant::now();
        self.watch(self.patience);
    }

    /// The longest step.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    fn watch(&self, patience: Duration) {
        LIMIT.store(milliseconds(patience + self.longest * STEPS), Ordering::Release);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        LIMIT.store(0, Ordering::Release);
    }
}
