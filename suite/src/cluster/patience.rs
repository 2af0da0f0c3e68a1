//! How long this program waits for a process that does not answer.

use std::sync::LazyLock;
use std::time::Duration;

/// Default wait. Tests replace it through `EQR_WATCHDOG_SECONDS`.
const DEFAULT: Duration = Duration::from_secs(40);

/// Multiple of the patience for waits that may be long: while libraries are loaded and devices start, in the
/// first step, which builds kernels and warms caches, for a checkpoint, and for a file that is measured.
pub(super) const LONG_WAIT: u32 = 10;

/// How long a rank waits for another rank that does not answer: 40 s, or the number of seconds in
/// `EQR_WATCHDOG_SECONDS` (fractions are allowed). All other waits are multiples or fractions of it.
pub fn patience() -> Duration {
    static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
        let text = std::env::var("EQR_WATCHDOG_SECONDS").unwrap_or_default();
        parse(&text).unwrap_or(DEFAULT)
    });
    *PATIENCE
}

fn parse(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok().filter(|seconds| !seconds.is_zero())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn seconds_may_have_fractions_and_anything_else_is_ignored() {
        assert_eq!(parse("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(parse("3"), Some(Duration::from_secs(3)));
        for text in ["", "0", "-1", "inf", "a while"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
