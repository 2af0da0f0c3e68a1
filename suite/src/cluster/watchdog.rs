//! Ends a job in which a rank no longer answers.
//!
//! When a rank dies, the launcher ends the job. When a rank hangs or is stopped, it does not, and the other
//! ranks would wait in their next collective call forever. So each rank has two threads that check several
//! times a second. One looks at this rank, and takes no lock and allocates nothing until it has found
//! something, because a thread that hangs may hold any lock:
//! - during trainings, and while the ranks are set up: how long this rank has been waiting for the others.
//!   This finds ranks on other nodes, and ranks that are swapped out or hang in a driver. At other times a
//!   long wait is normal, because ranks do different work;
//! - during measurements: whether this rank goes on ([`standstill`](crate::cluster::standstill)).
//!
//! The other one looks at what is around it:
//! - whether the process of the next rank on this node is stopped by a signal;
//! - whether a call that a device makes to other ranks has failed, or waits as above.
//!
//! Times are counted in checks, not by the clock, because a job that was suspended as a whole and then
//! continued has not waited. `patience` sets how long each may last.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::cluster::device_calls::{self, Progress};
use crate::cluster::next_rank::{RankProcess, next_rank};
use crate::cluster::patience::{LONG_WAIT, patience};
use crate::cluster::standstill::{Signs, Standstill, cpu_time};
use crate::cluster::urgent::{Sentence, sentence};

/// Number of checks within the patience: one every 250 ms.
const LOOKS: u32 = 160;

/// Number of checks between two searches for the next rank's process.
const LOOKS_BETWEEN_SEARCHES: u32 = 40;

/// Multiple of the longest step so far that is added to the patience, because ranks may differ in speed.
const LONGEST_STEPS: u32 = 3;

/// Time that the job may take to end; then this process ends by itself.
const ENDING_SECONDS: u32 = 20;

/// Counts the starts and ends of calls that wait for other ranks, so it is odd during such a call.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Milliseconds that one call may wait; 0: without limit.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds that the threads of this file have computed.
static WATCHING: AtomicU64 = AtomicU64::new(0);

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs a call that returns only when other ranks answer.
pub fn waiting<T>(call: impl FnOnce() -> T) -> T {
    CALLS.fetch_add(1, Ordering::AcqRel);
    let out = call();
    CALLS.fetch_add(1, Ordering::AcqRel);
    out
}

/// Starts the threads. `end_job` receives a sentence that says what was found, and must end the job. If it is
/// kept from that, by a lock that a hanging thread holds, SIGALRM ends this process, and the launcher the
/// others.
///
/// # Errors
/// A thread that the operating system refuses.
pub fn start(end_job: impl Fn(&str) + Send + Sync + 'static) -> io::Result<()> {
    let look = patience() / LOOKS;
    let end_job = Arc::new(end_job);
    let (mut host, mut own) = (Wait::default(), Standstill::default());
    let signs = || {
        let watching = Duration::from_nanos(WATCHING.load(Ordering::Relaxed));
        Signs::of_this_rank(!host_calls().done, watching)
    };
    let this_rank = move || host.check(look, host_calls()).or_else(|| own.check(look, signs()));
    watch(look, this_rank, Arc::clone(&end_job))?;
    let (mut next, mut device) = (NextRank::default(), Wait::default());
    let others = move || next.check(look).or_else(|| check_device(&mut device, look));
    watch(look, others, end_job)
}

/// Starts a thread that checks in the interval `look`, until it has found something.
fn watch(
    look: Duration,
    mut check: impl FnMut() -> Option<Sentence> + Send + 'static,
    end_job: Arc<impl Fn(&str) + Send + Sync + 'static>,
) -> io::Result<()> {
    static ENDS: AtomicBool = AtomicBool::new(false);
    let watch = move || {
        let mut computed = Duration::ZERO;
        loop {
            std::thread::sleep(look);
            let found = check();
            let now = cpu_time(libc::CLOCK_THREAD_CPUTIME_ID);
            WATCHING.fetch_add(nanoseconds(now.saturating_sub(computed)), Ordering::Relaxed);
            computed = now;
            if let Some(found) = found {
                if !ENDS.swap(true, Ordering::AcqRel) {
                    // SAFETY: sets a timer of this process, and reads no memory.
                    unsafe { libc::alarm(ENDING_SECONDS) };
                    end_job(found.as_str());
                }
                return;
            }
        }
    };
    Builder::new().spawn(watch).map(drop)
}

/// The calls of the host, of which one runs at a time.
fn host_calls() -> Progress {
    let queued = CALLS.load(Ordering::Acquire);
    Progress { queued, done: queued.is_multiple_of(2) }
}

/// The calls of all communicators on the device; the message of one that failed.
fn device_calls() -> Result<Progress, String> {
    let mut all = Progress { queued: 0, done: true };
    for communicator in device_calls::all() {
        let Progress { queued, done } = communicator.progress()?;
        all = Progress { queued: all.queued + queued, done: all.done && done };
    }
    Ok(all)
}

fn check_device(wait: &mut Wait, look: Duration) -> Option<Sentence> {
    match device_calls() {
        Ok(calls) => wait.check(look, calls),
        Err(failure) => Some(sentence(format_args!("{failure}"))),
    }
}

/// How long one call has been waiting for other ranks.
#[derive(Default)]
struct Wait {
    queued: u64,
    waited: Duration,
}

impl Wait {
    fn check(&mut self, look: Duration, calls: Progress) -> Option<Sentence> {
        let limit = LIMIT.load(Ordering::Acquire);
        let same_call = calls.queued == self.queued && !calls.done && limit > 0;
        self.waited = if same_call { self.waited + look } else { Duration::ZERO };
        self.queued = calls.queued;
        let too_long = same_call && milliseconds(self.waited) > limit;
        too_long
            .then(|| sentence(format_args!("another rank has not answered for {} s", self.waited.as_secs())))
    }
}

/// How long the next rank of this node has been stopped.
#[derive(Default)]
struct NextRank {
    looks: u32,
    process: Option<RankProcess>,
    stopped: Duration,
}

impl NextRank {
    fn check(&mut self, look: Duration) -> Option<Sentence> {
        if self.looks.is_multiple_of(LOOKS_BETWEEN_SEARCHES) {
            self.process = next_rank();
        }
        self.looks = self.looks.wrapping_add(1);
        let process = self.process?;
        self.stopped = if process.is_stopped() { self.stopped + look } else { Duration::ZERO };
        let RankProcess { rank, pid } = process;
        let too_long = self.stopped > patience() / 2;
        let seconds = self.stopped.as_secs();
        too_long
            .then(|| sentence(format_args!("rank {rank} (process {pid}) has been stopped for {seconds} s")))
    }
}

/// Limits the waits of the ranks that choose and connect their devices, until it is dropped.
pub struct SetUpWatch {
    /// The limit that holds afterwards.
    before: u64,
}

impl SetUpWatch {
    /// Marks the start of the set-up.
    pub fn begin() -> Self {
        let before = LIMIT.load(Ordering::Acquire);
        set_limit(patience() * LONG_WAIT);
        SetUpWatch { before }
    }
}

impl Drop for SetUpWatch {
    fn drop(&mut self) {
        LIMIT.store(self.before, Ordering::Release);
    }
}

/// Limits the waits of a training until it is dropped.
pub struct TrainingWatch {
    longest_step: Option<Duration>,
    step_began: Instant,
}

impl TrainingWatch {
    /// Marks the start of the training.
    pub fn begin() -> Self {
        let watch = TrainingWatch { longest_step: None, step_began: Instant::now() };
        watch.limit_step();
        watch
    }

    /// Marks the start of an epoch's steps.
    pub fn steps_begin(&mut self) {
        self.step_began = Instant::now();
        self.limit_step();
    }

    /// Marks the end of a step and the start of the next.
    pub fn step_done(&mut self) {
        self.longest_step = Some(self.longest_step.unwrap_or_default().max(self.step_began.elapsed()));
        self.step_began = Instant::now();
        self.limit_step();
    }

    /// Marks the end of an epoch's steps. The ranks now wait for the one that writes the checkpoint.
    pub fn steps_end(&mut self) {
        set_limit(patience() * LONG_WAIT);
    }

    fn limit_step(&self) {
        let limit = |longest| patience() + longest * LONGEST_STEPS;
        set_limit(self.longest_step.map_or(patience() * LONG_WAIT, limit));
    }
}

fn set_limit(limit: Duration) {
    LIMIT.store(milliseconds(limit), Ordering::Release);
}

impl Drop for TrainingWatch {
    fn drop(&mut self) {
        set_limit(Duration::ZERO);
    }
}
