//! Ends a job whose ranks wait in vain.
//!
//! A rank that dies takes the job with it: the launcher sees to that. One that stands still (stopped, swapped out, hung in a driver) does
//! not, and the others would wait in their next collective for ever. So a thread beside each rank looks how long it has been waiting.
//! Only trainings are watched: there all ranks do the same work at the same time, whereas elsewhere one may honestly wait
//! for another that renders data or probes a larger share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time that a rank waits beyond what the steps so far explain; `EQR_WATCHDOG_SECONDS` sets another, for tests.
const PATIENCE: Duration = Duration::from_secs(40);
/// Times that patience where a wait may be long: for the first step, which builds kernels and warms caches, and for a checkpoint.
const SLACK: u32 = 10;
/// Longest steps that are waited for beside: ranks need not be equally fast.
const STEPS: u32 = 3;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Begins and ends of calls that wait for other ranks: odd inside one.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Milliseconds that one may take; 0 where nothing is watched.
static LIMIT: AtomicU64 = AtomicU64::new(0);

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn patience() -> Duration {
    let set = std::env::var("EQR_WATCHDOG_SECONDS").ok().and_then(|text| text.parse().ok());
    set.map_or(PATIENCE, Duration::from_secs)
}

/// Runs a call that returns when other ranks answer.
pub fn waiting<T>(call: impl FnOnce() -> T) -> T {
    CALLS.fetch_add(1, Ordering::AcqRel);
    let out = call();
    CALLS.fetch_add(1, Ordering::AcqRel);
    out
}

/// Starts the thread. `end` gets the seconds that were waited, and must end the job.
pub fn start(end: impl Fn(u64) + Send + 'static) {
    std::thread::spawn(move || {
        // counted in looks, not by the clock: a job that was suspended as a whole and continued has not waited
        let (mut call, mut waited) = (0, 0);
        loop {
            std::thread::sleep(LOOK);
            let (now, limit) = (CALLS.load(Ordering::Acquire), LIMIT.load(Ordering::Acquire));
            let still = now == call && now % 2 == 1 && limit > 0;
            waited = if still { waited + milliseconds(LOOK) } else { 0 };
            call = now;
            if still && waited > limit {
                return end(waited / 1000);
            }
        }
    });
}

/// A training is being watched, until this is dropped.
pub struct Watch {
    patience: Duration,
    longest: Option<Duration>,
    began: Instant,
}

impl Watch {
    /// The training begins.
    pub fn begin() -> Self {
        let watch = Watch { patience: patience(), longest: None, began: Instant::now() };
        watch.limit();
        watch
    }

    /// The steps of an epoch begin.
    pub fn steps_begin(&mut self) {
        self.began = Instant::now();
        self.limit();
    }

    /// A step is done and the next begins.
    pub fn step_done(&mut self) {
        self.longest = Some(self.longest.unwrap_or_default().max(self.began.elapsed()));
        self.began = Instant::now();
        self.limit();
    }

    /// What follows are no steps: ranks wait for the one that writes.
    pub fn steps_end(&mut self) {
        set_limit(self.patience * SLACK);
    }

    fn limit(&self) {
        set_limit(self.longest.map_or(self.patience * SLACK, |longest| self.patience + longest * STEPS));
    }
}

fn set_limit(limit: Duration) {
    LIMIT.store(milliseconds(limit), Ordering::Release);
}

impl Drop for Watch {
    fn drop(&mut self) {
        set_limit(Duration::ZERO);
    }
}
