//! Whether a rank that measures goes on. It does while it waits for the others, reports progress or computes
//! on the CPU; so a device that hangs while the host polls it is not found.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cluster::patience::{LONG_WAIT, patience};
use crate::cluster::urgent::{Sentence, sentence};
use crate::console::progress_reports;

/// A process that computes for less than one part in this many of the time stands still.
const IDLE_SHARE: u32 = 20;

/// Counts the starts and ends of measurements, so it is odd during one.
static MEASUREMENTS: AtomicU64 = AtomicU64::new(0);

/// What is measured, for the message.
static MEASURED: Mutex<String> = Mutex::new(String::new());

/// Ends the job if this rank stands still in a measurement, until it is dropped.
pub struct MeasurementWatch(());

impl MeasurementWatch {
    /// Marks the start of the measurement called `what`.
    pub fn begin(what: &str) -> Self {
        what.clone_into(&mut MEASURED.lock().expect("no thread panics while it writes a name"));
        MEASUREMENTS.fetch_add(1, Ordering::AcqRel);
        MeasurementWatch(())
    }
}

impl Drop for MeasurementWatch {
    fn drop(&mut self) {
        MEASUREMENTS.fetch_add(1, Ordering::AcqRel);
    }
}

/// Says that what is measured stands still. A thread that hangs while it writes the name is not waited for.
fn stands_still(seconds: u64) -> Sentence {
    let written = MEASURED.try_lock();
    let name = written.as_ref().map_or("a measurement", |name| name.as_str());
    sentence(format_args!("{name} has made no progress for {seconds} s"))
}

/// By what a rank shows that it goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    /// Number of starts and ends of measurements.
    measurements: u64,
    /// Number of reports of progress.
    reports: u64,
    /// Time that the threads of this process have computed, but for the watchdog's.
    computed: Duration,
    /// Whether it waits for other ranks.
    waits: bool,
}

impl Signs {
    /// The signs now, of a rank whose watchdog has computed for the time `watching`.
    pub(super) fn of_this_rank(waits: bool, watching: Duration) -> Signs {
        let measurements = MEASUREMENTS.load(Ordering::Acquire);
        let computed = cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(watching);
        Signs { measurements, reports: progress_reports(), computed, waits }
    }

    fn measures(self) -> bool {
        !self.measurements.is_multiple_of(2)
    }
}

/// What a clock of computing time shows; 0 if there is no such clock.
pub(super) fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer outlives the call, which writes through it.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    let nanoseconds = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
    if failed { Duration::ZERO } else { Duration::from_nanos(nanoseconds) }
}

/// How long a rank has stood still in a measurement.
#[derive(Default)]
pub(super) struct Standstill {
    /// The signs when it began to stand still.
    since: Signs,
    stood: Duration,
}

impl Standstill {
    /// Takes note of the signs after a further `look`. Returns a sentence if it has stood still for too long.
    pub(super) fn check(&mut self, look: Duration, signs: Signs) -> Option<Sentence> {
        let stood = self.stood + look;
        // over the whole time, because threads of libraries now and then compute for a moment
        let idle = stood.max(patience()) / IDLE_SHARE;
        let goes_on = !signs.measures()
            || signs.waits
            || signs.measurements != self.since.measurements
            || signs.reports != self.since.reports
            || signs.computed > self.since.computed + idle;
        if goes_on {
            (self.stood, self.since) = (Duration::ZERO, signs);
            return None;
        }
        self.stood = stood;
        let too_long = stood > patience() * LONG_WAIT;
        too_long.then(|| stands_still(stood.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    const STILL: Signs =
        Signs { measurements: 1, reports: 3, computed: Duration::from_secs(1), waits: false };

    /// What is said first, and after how many looks at a rank that gives these signs.
    fn first_said(signs: impl Fn(u32) -> Signs) -> Option<(u32, Sentence)> {
        let mut own = Standstill::default();
        let looks = (patience() * (LONG_WAIT + 1)).as_millis() / LOOK.as_millis();
        (0..looks as u32).find_map(|at| Some((at, own.check(LOOK, signs(at))?)))
    }

    /// Also if the thread that hangs was about to write the name.
    #[test]
    fn a_measurement_that_stands_still_is_named() {
        let watch = MeasurementWatch::begin("probe-ours-seed0");
        assert!(Signs::of_this_rank(false, Duration::ZERO).measures());
        let (at, said) = first_said(|_| STILL).unwrap();
        let limit = patience() * LONG_WAIT;
        assert!((LOOK * (at + 1)).abs_diff(limit) <= 3 * LOOK, "{at}");
        assert_eq!(said.as_str(), format!("probe-ours-seed0 has made no progress for {} s", limit.as_secs()));
        let written = MEASURED.lock().unwrap();
        let (_, said) = first_said(|_| STILL).unwrap();
        assert!(said.as_str().starts_with("a measurement has made no progress for "), "{said:?}");
        drop(written);
        drop(watch);
        assert!(!Signs::of_this_rank(false, Duration::ZERO).measures());
    }

    #[test]
    fn reports_computation_waits_and_the_next_measurement_are_signs_of_progress() {
        assert_eq!(first_said(|at| Signs { reports: u64::from(at / 100), ..STILL }), None);
        assert_eq!(first_said(|at| Signs { computed: LOOK * at / 10, ..STILL }), None);
        assert_eq!(first_said(|at| Signs { measurements: 1 + 2 * u64::from(at / 100), ..STILL }), None);
        assert_eq!(first_said(|_| Signs { waits: true, ..STILL }), None);
        assert_eq!(first_said(|_| Signs { measurements: 2, ..STILL }), None);
        // a thread that only looks whether there is something to do
        assert!(first_said(|at| Signs { computed: LOOK * at / 100, ..STILL }).is_some());
    }

    #[test]
    fn what_this_process_computes_is_seen() {
        let before = Signs::of_this_rank(false, Duration::ZERO).computed;
        let other = std::thread::spawn(|| (0..30_000_000u64).fold(0, |sum, i| std::hint::black_box(sum ^ i)));
        other.join().unwrap();
        assert!(Signs::of_this_rank(false, Duration::ZERO).computed > before);
    }
}
