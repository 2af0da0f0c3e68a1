//! Numbers of bytes for people.

use std::fmt;

/// A number of bytes. It is shown with three digits and a decimal prefix: `170 MB`, `2.75 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["kB", "MB", "GB", "TB"];
        let mut value = self.0 as f64 / 1e3;
        if self.0 < 1000 {
            return write!(f, "{} bytes", self.0);
        }
        let mut unit = 0;
        // 999.5 would be shown as 1000
        while value >= 999.5 && unit + 1 < units.len() {
            value /= 1e3;
            unit += 1;
        }
        let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
        write!(f, "{value:.decimals$} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits() {
        let shown = [999, 1_000, 170_052_171, 999_600_000, 2_753_340_328, 39_095_590_629, 99_960_000];
        let shown = shown.map(|bytes| Bytes(bytes).to_string());
        let expected = ["999 bytes", "1.00 kB", "170 MB", "1.00 GB", "2.75 GB", "39.1 GB", "100 MB"];
        assert_eq!(shown, expected);
    }
}
