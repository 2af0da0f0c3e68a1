//! The progress of a task that is counted in bytes.

use std::cell::Cell;
use std::time::Instant;

use eqr_datasets::bytes::Bytes;

use super::bars::{Bar, Numbers};
use super::{INTERVAL, one_line, say};

/// The progress of one task: a bar on a terminal, plain lines with rate and ETA elsewhere.
pub struct ByteProgress {
    label: String,
    bar: Option<Bar>,
    start: Instant,
    /// What was there at the start. It has no part in the rate.
    there: Cell<Option<u64>>,
    printed: Cell<Instant>,
}

impl ByteProgress {
    /// Starts showing the progress of the task called `label`.
    pub fn new(label: &str) -> Self {
        let label = one_line(label).into_owned();
        let bar = Bar::show(&label, Numbers::Bytes);
        let now = Instant::now();
        ByteProgress { label, bar, start: now, there: Cell::new(None), printed: Cell::new(now) }
    }

    /// Reports that `done` bytes are done, of `all` if their number is known.
    pub fn at(&self, done: u64, all: Option<u64>) {
        let there = self.there.get().unwrap_or(done);
        if let Some(bar) = &self.bar {
            bar.at(done, all);
            if self.there.get().is_none() {
                bar.reset_rate();
            }
        } else if self.printed.get().elapsed() >= INTERVAL {
            self.printed.set(Instant::now());
            say(&line(&self.label, self.start.elapsed().as_secs_f64(), [there, done], all));
        }
        self.there.set(Some(there));
    }

    /// Ends the progress display, as dropping it does.
    pub fn finish(self) {}
}

/// A plain line, `seconds` after the start with `there` bytes.
fn line(label: &str, seconds: f64, [there, done]: [u64; 2], all: Option<u64>) -> String {
    let rate = done.saturating_sub(there) as f64 / seconds.max(1e-3);
    let of = all.map(|all| format!(" of {}", Bytes(all))).unwrap_or_default();
    let left = all.map(|all| all.saturating_sub(done) as f64 / rate).filter(|left| left.is_finite());
    let eta = left.map(|left| format!(", eta {left:.0} s")).unwrap_or_default();
    format!("{label}: {}{of}, {}/s{eta}", Bytes(done), Bytes(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_has_no_part_in_the_rate() {
        let said = line("x.tar", 10.0, [60_000_000, 80_000_000], Some(100_000_000));
        assert_eq!(said, "x.tar: 80.0 MB of 100 MB, 2.00 MB/s, eta 10 s");
        assert_eq!(line("x.tar", 10.0, [0, 0], Some(5)), "x.tar: 0 bytes of 5 bytes, 0 bytes/s");
        assert_eq!(line("x.tar", 10.0, [0, 5_000], None), "x.tar: 5.00 kB, 500 bytes/s");
    }
}
