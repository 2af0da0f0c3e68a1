//! The bars of a terminal. Tasks are nested, and each has its own line; messages appear above all of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Look;

/// Time after which the clock of a bar moves, whether or not its task has gone on.
const TICK: Duration = Duration::from_millis(500);

/// Letters of a label in a wide window.
const LABEL: usize = 40;

/// Letters of a label in any window.
const SHORT_LABEL: usize = 12;

static ALL: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Number of bars that are shown.
static SHOWN: AtomicUsize = AtomicUsize::new(0);

/// What a bar tells beside its label.
#[derive(Clone, Copy, Debug)]
pub(super) enum Numbers {
    /// Steps, time, and time left.
    Steps,
    /// Bytes, rate, and time left.
    Bytes,
}

/// A bar, which ends with its task. Until the number of steps is known, it shows a clock alone.
pub(super) struct Bar {
    bar: ProgressBar,
    /// The style with numbers, until it is used.
    numbered: Mutex<Option<ProgressStyle>>,
}

impl Bar {
    /// Shows a bar; `None` where there is no terminal that can move its cursor.
    pub(super) fn show(label: &str, numbers: Numbers) -> Option<Bar> {
        let look = Look::of_stderr();
        let width = look.width.filter(|_| !::console::is_dumb() && !super::quiet())?;
        let style = |template: String| {
            let style = ProgressStyle::with_template(&template).expect("a fixed template");
            if look.ascii { style.progress_chars("=> ") } else { style }
        };
        let [clock, numbered] = [clock(width), template(width, numbers)].map(style);
        let bar = ALL.add(ProgressBar::no_length().with_style(clock).with_message(label.to_owned()));
        SHOWN.fetch_add(1, Ordering::Relaxed);
        bar.enable_steady_tick(TICK);
        Some(Bar { bar, numbered: Mutex::new(Some(numbered)) })
    }

    /// Moves the bar.
    pub(super) fn at(&self, done: u64, all: Option<u64>) {
        if let Some(style) = self.numbered.lock().expect("no thread panics while it draws").take() {
            self.bar.set_style(style);
        }
        all.iter().for_each(|&all| self.bar.set_length(all));
        self.bar.set_position(done);
    }

    /// Leaves what was there at the start out of the rate.
    pub(super) fn reset_rate(&self) {
        self.bar.reset_eta();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        ALL.remove(&self.bar);
        SHOWN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Does `write` while no bar is drawn.
pub(super) fn between_bars<T>(write: impl FnOnce() -> T) -> T {
    if SHOWN.load(Ordering::Relaxed) == 0 { write() } else { ALL.suspend(write) }
}

/// The line of a bar in a window of this width.
fn template(width: usize, numbers: Numbers) -> String {
    let numbers = match (numbers, width) {
        (Numbers::Steps, 0..60) => "{pos}/{len} eta {eta}",
        (Numbers::Steps, _) => "{pos}/{len} {elapsed} eta {eta}",
        (Numbers::Bytes, 0..60) => "{decimal_bytes} eta {eta}",
        (Numbers::Bytes, _) => "{decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} eta {eta}",
    };
    format!("{{msg:{}!}} {{wide_bar}} {numbers}", label(width))
}

/// The line of a task whose steps are not known.
fn clock(width: usize) -> String {
    format!("{{msg:{}!}} {{elapsed}}", label(width))
}

/// Letters of a label in a window of this width.
fn label(width: usize) -> usize {
    (width / 2).clamp(SHORT_LABEL, LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_leave_room_for_numbers() {
        assert_eq!(template(40, Numbers::Steps), "{msg:20!} {wide_bar} {pos}/{len} eta {eta}");
        assert!(template(200, Numbers::Bytes).starts_with("{msg:40!} {wide_bar} {decimal_bytes}/"));
        for width in [1, 40, 80, 200] {
            for numbers in [Numbers::Steps, Numbers::Bytes] {
                ProgressStyle::with_template(&template(width, numbers)).unwrap();
                ProgressStyle::with_template(&clock(width)).unwrap();
            }
        }
    }
}
