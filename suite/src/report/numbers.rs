//! How the numbers of a table's entries are written.

use clap::ValueEnum;
use eqr_probes::stats::Summary;

/// Decimals of a number, unless others are asked for.
const DIGITS: usize = 3;

/// Decimals of a percentage, unless others are asked for.
const DIGITS_OF_PERCENT: usize = 1;

/// How numbers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Number of decimals; the usual one if unset.
    pub digits: Option<usize>,
    /// Whether shares of 1 are written in percent.
    pub percent: bool,
    /// What is written beside a mean; the format's own choice if unset.
    pub spread: Option<Spread>,
}

/// What is written beside a mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Spread {
    /// Nothing.
    None,
    /// The standard deviation.
    Std,
    /// The 95% interval.
    Interval,
    /// Both.
    Both,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Shares of 1: R2 and accuracies, and what they differ by.
    Share,
    /// Anything else.
    Other,
}

impl Spread {
    fn has_std(self) -> bool {
        matches!(self, Spread::Std | Spread::Both)
    }

    fn has_interval(self) -> bool {
        matches!(self, Spread::Interval | Spread::Both)
    }
}

impl Numbers {
    /// These numbers, with this spread unless another one is asked for.
    pub fn spread_or(self, spread: Spread) -> Numbers {
        Numbers { spread: self.spread.or(Some(spread)), ..self }
    }

    fn spread(self) -> Spread {
        self.spread.unwrap_or(Spread::Both)
    }

    /// A number.
    pub fn value(self, value: f64, unit: Unit) -> String {
        match unit {
            Unit::Share if self.percent => decimals(100.0 * value, self.digits.unwrap_or(DIGITS_OF_PERCENT)),
            _ => decimals(value, self.digits.unwrap_or(DIGITS)),
        }
    }

    /// A number with its sign.
    pub fn signed(self, value: f64, unit: Unit) -> String {
        let text = self.value(value, unit);
        let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
        if is_zero || text.starts_with('-') { text } else { format!("+{text}") }
    }

    /// A number and its standard deviation, if that is known and asked for.
    pub fn with_std(self, value: f64, std: Option<f64>, unit: Unit) -> String {
        match std.filter(|_| self.spread().has_std()) {
            Some(std) => format!("{} ± {}", self.value(value, unit), self.value(std, unit)),
            None => self.value(value, unit),
        }
    }

    /// An interval, if it is known and asked for.
    pub fn interval(self, ends: Option<(f64, f64)>, unit: Unit) -> Option<String> {
        let (low, high) = ends.filter(|_| self.spread().has_interval())?;
        Some(format!("[{}, {}]", self.value(low, unit), self.value(high, unit)))
    }

    /// A mean with its spread, and with the number of seeds if `show_n`.
    pub fn estimate(self, summary: &Summary, show_n: bool, unit: Unit) -> Vec<String> {
        let n = show_n.then(|| format!("(n = {})", summary.n));
        let mean = self.with_std(summary.mean, summary.std, unit);
        [Some(mean), self.interval(summary.ci95, unit), n].into_iter().flatten().collect()
    }
}

/// A number in a sentence.
pub fn number(value: f64) -> String {
    decimals(value, DIGITS)
}

/// A p value.
pub fn probability(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}

/// No minus sign stands before a zero.
fn decimals(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.chars().all(|c| matches!(c, '0' | '.')) => zero.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_read() {
        let signed = |value| Numbers::default().signed(value, Unit::Share);
        assert_eq!(number(-0.0004), "0.000");
        assert_eq!(number(-0.0006), "-0.001");
        assert_eq!(signed(0.25), "+0.250");
        assert_eq!(signed(-0.25), "-0.250");
        assert_eq!(signed(0.0), "0.000");
        assert_eq!(probability(0.00001), "<0.0001");
        assert_eq!(probability(0.0456), "0.0456");
    }

    #[test]
    fn percent_is_for_shares_and_digits_are_for_all() {
        let summary = Summary::from_values(&[0.25, 0.5]).unwrap();
        let words = |numbers: Numbers, unit| numbers.spread_or(Spread::Std).estimate(&summary, true, unit);
        let percent = Numbers { percent: true, ..Numbers::default() };
        assert_eq!(words(percent, Unit::Share), ["37.5 ± 17.7", "(n = 2)"]);
        assert_eq!(words(percent, Unit::Other), ["0.375 ± 0.177", "(n = 2)"]);
        let two = Numbers { digits: Some(2), ..percent };
        assert_eq!(words(two, Unit::Share)[0], "37.50 ± 17.68");
        assert_eq!(words(two, Unit::Other)[0], "0.38 ± 0.18");
        let none = Numbers { digits: Some(0), spread: Some(Spread::None), percent: false };
        assert_eq!(
            (words(none, Unit::Share)[0].as_str(), none.value(-0.4, Unit::Other).as_str()),
            ("0", "0")
        );
    }
}
