//! Ends a job in which a rank no longer answers.
//!
//! When a rank dies, the launcher ends the job. When a rank hangs or is stopped, it does not, and the other
//! ranks would wait in their next collective call forever. So each rank has a thread that checks these
//! things several times a second:
//! - whether the process of the next rank on this node is stopped by a signal, at any time;
//! - whether a call that a device makes to other ranks has failed, at any time;
//! - during trainings, and while the ranks are set up: how long this rank, or its device, has been waiting
//!   for the others. This finds ranks on other nodes, and ranks that are swapped out or hang in a driver. At
//!   other times a long wait is normal, because ranks do different work;
//! - during measurements: whether this rank itself goes on. It does while it waits for the others, reports
//!   progress or computes on the CPU; so a device that hangs while the host polls it is not found.
//!
//! Times are counted in checks, not by the clock, because a job that was suspended as a whole and then
//! continued has not waited. `patience` sets how long each may last.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::cluster::device_calls::{self, Progress};
use crate::cluster::next_rank::{RankProcess, next_rank};
use crate::cluster::patience::patience;
use crate::console::progress_reports;

/// Number of checks within the patience: one every 250 ms.
const LOOKS: u32 = 160;

/// Number of checks between two searches for the next rank's process.
const LOOKS_BETWEEN_SEARCHES: u32 = 40;

/// Multiple of the patience for waits that may be long: while libraries are loaded and devices start, in the
/// first step, which builds kernels and warms caches, for a checkpoint, and for a file that is measured.
const LONG_WAIT: u32 = 10;

/// Multiple of the longest step so far that is added to the patience, because ranks may differ in speed.
const LONGEST_STEPS: u32 = 3;

/// A process that computes for less than one part in this many of the time stands still.
const IDLE_SHARE: u32 = 20;

/// Counts the starts and ends of calls that wait for other ranks, so it is odd during such a call.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Milliseconds that one call may wait; 0: without limit.
static LIMIT: AtomicU64 = AtomicU64::new(0);

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Runs a call that returns only when other ranks answer.
pub fn waiting<T>(call: impl FnOnce() -> T) -> T {
    CALLS.fetch_add(1, Ordering::AcqRel);
    let out = call();
    CALLS.fetch_add(1, Ordering::AcqRel);
    out
}

/// Starts the thread. `end_job` receives a sentence that says what was found, and must end the job.
///
/// # Errors
/// A thread that the operating system refuses.
pub fn start(end_job: impl Fn(&str) + Send + 'static) -> io::Result<()> {
    let watch = move || {
        let look = patience() / LOOKS;
        let (mut host, mut device, mut next) = (Wait::default(), Wait::default(), NextRank::default());
        let mut own = Standstill::default();
        loop {
            std::thread::sleep(look);
            let seen = next.check(look).or_else(|| host.check(look, host_calls()));
            let seen = seen.or_else(|| own.check(look, measured(), Signs::of_this_rank()));
            if let Some(seen) = seen.or_else(|| check_device(&mut device, look)) {
                return end_job(&seen);
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

fn check_device(wait: &mut Wait, look: Duration) -> Option<String> {
    match device_calls() {
        Ok(calls) => wait.check(look, calls),
        Err(failure) => Some(failure),
    }
}

/// How long one call has been waiting for other ranks.
#[derive(Default)]
struct Wait {
    queued: u64,
    waited: Duration,
}

impl Wait {
    fn check(&mut self, look: Duration, calls: Progress) -> Option<String> {
        let limit = LIMIT.load(Ordering::Acquire);
        let same_call = calls.queued == self.queued && !calls.done && limit > 0;
        self.waited = if same_call { self.waited + look } else { Duration::ZERO };
        self.queued = calls.queued;
        let too_long = same_call && milliseconds(self.waited) > limit;
        too_long.then(|| format!("another rank has not answered for {} s", self.waited.as_secs()))
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
    fn check(&mut self, look: Duration) -> Option<String> {
        if self.looks.is_multiple_of(LOOKS_BETWEEN_SEARCHES) {
            self.process = next_rank();
        }
        self.looks = self.looks.wrapping_add(1);
        let process = self.process?;
        self.stopped = if process.is_stopped() { self.stopped + look } else { Duration::ZERO };
        let RankProcess { rank, pid } = process;
        let too_long = self.stopped > patience() / 2;
        too_long
            .then(|| format!("rank {rank} (process {pid}) has been stopped for {} s", self.stopped.as_secs()))
    }
}

/// What this rank measures.
static MEASURED: Mutex<Option<String>> = Mutex::new(None);

fn measured() -> Option<String> {
    MEASURED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Ends the job if this rank stands still in a measurement, until it is dropped.
pub struct MeasurementWatch(());

impl MeasurementWatch {
    /// Marks the start of the measurement called `what`.
    pub fn begin(what: &str) -> Self {
        *MEASURED.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.to_owned());
        MeasurementWatch(())
    }
}

impl Drop for MeasurementWatch {
    fn drop(&mut self) {
        *MEASURED.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// By what this rank shows that it goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    /// Number of reports of progress.
    reports: u64,
    /// Time that the threads of this process have computed, but for the watchdog's.
    computed: Duration,
    /// Whether it waits for other ranks.
    waits: bool,
}

impl Signs {
    fn of_this_rank() -> Signs {
        let [all, own] = [libc::CLOCK_PROCESS_CPUTIME_ID, libc::CLOCK_THREAD_CPUTIME_ID].map(cpu_time);
        let waits = !host_calls().done;
        Signs { reports: progress_reports(), computed: all.saturating_sub(own), waits }
    }
}

fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer outlives the call, which writes through it.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    let nanoseconds = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
    if failed { Duration::ZERO } else { Duration::from_nanos(nanoseconds) }
}

/// How long this rank has stood still in a measurement.
#[derive(Default)]
struct Standstill {
    measured: Option<String>,
    /// The signs when it began to stand still.
    since: Signs,
    stood: Duration,
}

impl Standstill {
    fn check(&mut self, look: Duration, measured: Option<String>, signs: Signs) -> Option<String> {
        let stood = self.stood + look;
        // over the whole time, because threads of libraries now and then compute for a moment
        let idle = stood.max(patience()) / IDLE_SHARE;
        let goes_on = measured != self.measured
            || signs.waits
            || signs.reports != self.since.reports
            || signs.computed > self.since.computed + idle;
        if goes_on {
            (self.stood, self.since) = (Duration::ZERO, signs);
        } else {
            self.stood = stood;
        }
        self.measured = measured;
        let measured = self.measured.as_ref()?;
        let too_long = self.stood > patience() * LONG_WAIT;
        too_long.then(|| format!("{measured} has made no progress for {} s", self.stood.as_secs()))
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    /// What is said first, and after how many looks at a rank that gives these signs.
    fn first_said(measured: Option<&str>, signs: impl Fn(u32) -> Signs) -> Option<(u32, String)> {
        let mut own = Standstill::default();
        let looks = (patience() * (LONG_WAIT + 1)).as_millis() / LOOK.as_millis();
        (0..looks as u32).find_map(|at| Some((at, own.check(LOOK, measured.map(str::to_owned), signs(at))?)))
    }

    #[test]
    fn a_measurement_that_stands_still_is_named() {
        let still = |_| Signs { reports: 3, computed: Duration::from_secs(1), waits: false };
        let (at, said) = first_said(Some("probe-ours-seed0"), still).unwrap();
        let limit = patience() * LONG_WAIT;
        assert!((LOOK * (at + 1)).abs_diff(limit) <= 3 * LOOK, "{at}");
        assert_eq!(said, format!("probe-ours-seed0 has made no progress for {} s", limit.as_secs()));
        assert_eq!(first_said(None, still), None);
    }

    #[test]
    fn reports_computation_and_waits_are_signs_of_progress() {
        let said = |signs: fn(u32) -> Signs| first_said(Some("probe-ours-seed0"), signs);
        assert_eq!(said(|at| Signs { reports: u64::from(at / 100), ..Signs::default() }), None);
        assert_eq!(said(|at| Signs { computed: LOOK * at / 10, ..Signs::default() }), None);
        assert_eq!(said(|_| Signs { waits: true, ..Signs::default() }), None);
        // a thread that only looks whether there is something to do
        assert!(said(|at| Signs { computed: LOOK * at / 100, ..Signs::default() }).is_some());
    }

    #[test]
    fn what_this_process_computes_is_seen() {
        let before = Signs::of_this_rank().computed;
        let other = std::thread::spawn(|| (0..30_000_000u64).fold(0, |sum, i| std::hint::black_box(sum ^ i)));
        other.join().unwrap();
        assert!(Signs::of_this_rank().computed > before);
    }
}
