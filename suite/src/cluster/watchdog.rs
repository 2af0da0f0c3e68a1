//! Ends a job whose ranks wait in vain.
//!
//! A rank that dies takes the job with it: the launcher sees to that. One that stands still does not, and the others would wait in their
//! next collective for ever. So a thread beside each rank looks at two things:
//! - whether the next rank of the node is stopped, at any time;
//! - how long it has been waiting for the others, which tells of ranks on other nodes and of those that are swapped out or hung in a driver. Only
//!   trainings are watched so: there all ranks do the same work at the same time, whereas elsewhere one may honestly wait for another that
//!   renders data or probes a larger share.
//!
//! Both are counted in looks, not by the clock: a job that was suspended as a whole and continued has not waited.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::next_rank::{RankProcess, next_rank};

/// Time that a rank waits beyond what the steps so far explain, and twice that for which another may be stopped; `EQR_WATCHDOG_SECONDS` sets
/// another, for tests.
const PATIENCE: Duration = Duration::from_secs(40);

/// Times that patience where a wait may be long: for the first step, which builds kernels and warms caches, and for a checkpoint.
const SLACK: u32 = 10;

/// Longest steps that are waited for beside: ranks need not be equally fast.
const STEPS: u32 = 3;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Looks between two searches for the next rank's process.
const SEARCH: u32 = 40;

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

/// Starts the thread. `end` gets what was seen, and must end the job.
pub fn start(end: impl Fn(&str) + Send + 'static) {
    std::thread::spawn(move || {
        let (mut waits, mut next) = (Waits::default(), NextRank::default());
        loop {
            std::thread::sleep(LOOK);
            if let Some(seen) = next.look().or_else(|| waits.look()) {
                return end(&seen);
            }
        }
    });
}

/// What has been seen of this rank's waiting.
#[derive(Default)]
struct Waits {
    call: u64,
    waited: u64,
}

impl Waits {
    fn look(&mut self) -> Option<String> {
        let (now, limit) = (CALLS.load(Ordering::Acquire), LIMIT.load(Ordering::Acquire));
        let still = now == self.call && now % 2 == 1 && limit > 0;
        self.waited = if still { self.waited + milliseconds(LOOK) } else { 0 };
        self.call = now;
        let too_long = still && self.waited > limit;
        too_long.then(|| format!("another rank has not answered for {} s", self.waited / 1000))
    }
}

/// What has been seen of the next rank of this node.
#[derive(Default)]
struct NextRank {
    looks: u32,
    process: Option<RankProcess>,
    stopped: Duration,
}

impl NextRank {
    fn look(&mut self) -> Option<String> {
        if self.looks.is_multiple_of(SEARCH) {
            self.process = next_rank();
        }
        self.looks = self.looks.wrapping_add(1);
        let process = self.process?;
        self.stopped = if process.is_stopped() { self.stopped + LOOK } else { Duration::ZERO };
        let RankProcess { rank, pid } = process;
        let too_long = self.stopped > patience() / 2;
        too_long.then(|| format!("rank {rank} (process {pid}) has been stopped for {} s", self.stopped.as_secs()))
    }
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
