//! Console output: text on stdout; messages and the progress of long tasks on stderr. Only the leading rank
//! prints. Control characters are printed as numbers, whatever file or name they come from.

mod bars;
mod byte_progress;
mod counted;
mod look;
mod screen;
mod visible;

use std::io::{BufWriter, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bars::{Bar, Numbers, between_bars};
pub use byte_progress::ByteProgress;
pub use counted::counted;
pub use look::Look;
pub use screen::Screen;
pub use visible::{is_control, one_line, visible};

/// Prints to stdout. A reader that closes the pipe early (`| head`) is not an error.
///
/// # Errors
/// Any other error when writing to stdout.
pub fn print_text(text: &str) -> Result<()> {
    print_lines(std::iter::once(text))
}

/// Prints lines, each with its line feed, as [`print_text`].
///
/// # Errors
/// As [`print_text`].
pub fn print_lines<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Result<()> {
    write_to_stdout(|stdout| {
        lines.into_iter().try_for_each(|line| stdout.write_all(visible(line.as_ref()).as_bytes()))
    })?;
    Ok(())
}

/// Prints a text with colours, as [`print_text`]. Its names must have been made [`visible`] before they were
/// coloured.
///
/// # Errors
/// As [`print_text`].
pub fn print_coloured(text: &str) -> Result<()> {
    write_to_stdout(|stdout| stdout.write_all(text.as_bytes()))?;
    Ok(())
}

/// Writes to stdout, and returns whether anybody still reads.
fn write_to_stdout(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<bool> {
    let mut stdout = BufWriter::new(std::io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to stdout"),
    }
}

/// Time between two plain progress lines.
const INTERVAL: Duration = Duration::from_secs(15);

/// The progress of one long task: a bar on a terminal, below those of the tasks that it is a part of; plain
/// lines with an ETA elsewhere.
pub struct Progress {
    label: String,
    bar: Option<Bar>,
    start: Instant,
    printed: Mutex<Instant>,
}

/// Counts the reports of all tasks of this process, whether they are shown or not.
static REPORTS: AtomicU64 = AtomicU64::new(0);

/// Number of times that a task of this process has reported progress.
pub fn progress_reports() -> u64 {
    REPORTS.load(Ordering::Relaxed)
}

static QUIET: AtomicBool = AtomicBool::new(false);

/// Silences this process. Called on every rank except the leading one.
pub fn silence() {
    QUIET.store(true, Ordering::Relaxed);
}

fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

impl Progress {
    /// Starts showing the progress of the task called `label`.
    pub fn new(label: &str) -> Self {
        let label = one_line(label).into_owned();
        let bar = Bar::show(&label, Numbers::Steps);
        let now = Instant::now();
        Progress { label, bar, start: now, printed: Mutex::new(now) }
    }

    /// Reports that `done` of `all` steps are done.
    pub fn at(&self, done: u64, all: u64) {
        REPORTS.fetch_add(1, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            return bar.at(done, Some(all));
        }
        let mut printed = self.printed.lock().expect("no thread panics while it prints");
        if quiet() || printed.elapsed() < INTERVAL {
            return;
        }
        *printed = Instant::now();
        let elapsed = self.start.elapsed().as_secs_f64();
        let eta = elapsed * (all.saturating_sub(done)) as f64 / done.max(1) as f64;
        say_aloud(&format!("{}: {done}/{all}, {elapsed:.0} s, eta {eta:.0} s", self.label));
    }

    /// Ends the progress display, as dropping it does.
    pub fn finish(self) {}
}

/// Does `work` while the progress of the task called `label` is shown. The work reports how many of all its
/// steps are done.
pub fn with_progress<T>(label: &str, work: impl FnOnce(&mut dyn FnMut(usize, usize)) -> T) -> T {
    let progress = Progress::new(label);
    work(&mut |done, all| progress.at(done as u64, all as u64))
}

/// Prints a line to stderr, on the leading rank only.
pub fn say(text: &str) {
    if !quiet() {
        say_aloud(text);
    }
}

/// Prints a line to stderr, on every rank.
pub fn say_aloud(text: &str) {
    // a log on a full disk is no reason to end a run, as the panic of `eprintln!` would
    let _ = between_bars(|| writeln!(std::io::stderr(), "{}", visible(text)));
}
