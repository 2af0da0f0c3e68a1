//! The values that a metric may have. A value outside was not measured: a file was changed, or percents stand
//! where fractions belong.

use std::fmt;

use anyhow::{Result, ensure};

use crate::registry::{INVARIANCE, R2, find};
use crate::run_folder::metric::Metric;

/// What sums of rounded numbers may exceed a limit by.
const ROUNDING: f64 = 1e-6;

/// The finite numbers from `low` to `high`; an infinite end is no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ValueRange {
    low: f64,
    high: f64,
}

impl ValueRange {
    const ANY: ValueRange = ValueRange { low: f64::NEG_INFINITY, high: f64::INFINITY };
    const FRACTION: ValueRange = ValueRange { low: 0.0, high: 1.0 };
    const COSINE: ValueRange = ValueRange { low: -1.0, high: 1.0 };
    const UP_TO_ONE: ValueRange = ValueRange { high: 1.0, ..ValueRange::ANY };
    const FROM_ZERO: ValueRange = ValueRange { low: 0.0, ..ValueRange::ANY };

    /// The range of a task's metric. Metrics that are not in the registry are known by how their names begin.
    fn of(task: &str, metric: &str) -> ValueRange {
        match find(task, metric) {
            // the similarity of the views over that of different images, which may be larger
            Some(measure) if measure.metric == INVARIANCE.metric => ValueRange::UP_TO_ONE,
            Some(measure) => ValueRange::of_unit(measure.unit),
            None if metric.starts_with("r2") => ValueRange::UP_TO_ONE,
            None if metric.starts_with("mse") => ValueRange::FROM_ZERO,
            None => ValueRange::ANY,
        }
    }

    fn of_unit(unit: &str) -> ValueRange {
        match unit {
            "fraction" => ValueRange::FRACTION,
            "cosine" => ValueRange::COSINE,
            "MSE" | "dimensions" | "strength" => ValueRange::FROM_ZERO,
            unit if unit == R2.unit => ValueRange::UP_TO_ONE,
            _ => ValueRange::ANY,
        }
    }

    fn contains(self, value: f64) -> bool {
        value.is_finite() && value >= self.low - ROUNDING && value <= self.high + ROUNDING
    }
}

impl fmt::Display for ValueRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) => write!(f, "a number from {} to {}", self.low, self.high),
            (true, false) => write!(f, "a number of at least {}", self.low),
            (false, true) => write!(f, "a number of at most {}", self.high),
            (false, false) => f.write_str("a finite number"),
        }
    }
}

/// Checks that `value` is one that the metric of the task may have.
///
/// # Errors
/// A value out of range, with the range.
pub fn check(task: &str, metric: &str, value: f64) -> Result<()> {
    let range = ValueRange::of(task, metric);
    let hint = match range == ValueRange::FRACTION && value > 1.0 && value <= 100.0 {
        true => format!("\nhint: write percents as fractions: {} for {value}%", value / 100.0),
        false => String::new(),
    };
    ensure!(range.contains(value), "{task} {metric} is {value}: must be {range}{hint}");
    Ok(())
}

/// Checks every value of a cell.
///
/// # Errors
/// The first value out of range.
pub fn check_all(metrics: &[Metric]) -> Result<()> {
    metrics.iter().try_for_each(|metric| check(&metric.task, &metric.metric, metric.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::MEASURES;

    #[test]
    fn values_are_of_their_metrics_range() {
        for (task, metric, good, bad) in [
            ("classification", "top1", [0.0, 1.0], [-0.01, 7.4]),
            ("segmentation", "mIoU", [0.0, 1.0], [-0.5, 1.1]),
            ("segmentation", "iou/wall", [0.5, 1.0], [-0.5, f64::NAN]),
            ("rotation", "r2_per_output", [-1e300, 1.0], [5.0, f64::NEG_INFINITY]),
            ("color", "r2_pooled_linear_combined_grid", [-3.0, 0.9], [1.01, f64::NAN]),
            ("color", "r2", [-3.0, 0.9], [1.01, f64::INFINITY]),
            ("reconstruction", "mse_own", [0.0, 1e9], [-0.001, f64::NAN]),
            ("reconstruction", "mse_median", [0.0, 1e9], [-0.001, f64::INFINITY]),
            ("representation", "similarity_own", [-1.0, 1.0], [-1.01, 1.01]),
            ("representation", "invariance", [-3.0, 1.0], [1.01, f64::NAN]),
            ("representation", "effective_rank", [0.0, 512.0], [-1.0, f64::INFINITY]),
            ("rotation", "undefined_outputs", [0.0, 9.0], [f64::NAN, f64::INFINITY]),
            ("anything", "own", [-1e9, 1e9], [f64::NAN, f64::INFINITY]),
        ] {
            good.iter().for_each(|value| check(task, metric, *value).unwrap());
            for value in bad {
                let message = check(task, metric, value).unwrap_err().to_string();
                assert!(message.contains(&format!("{task} {metric} is {value}: must be a ")), "{message}");
            }
        }
        check("classification", "top1", 1.0 + 1e-9).unwrap();
        let percent = check("linear transfer", "top1", 81.5).unwrap_err().to_string();
        assert!(
            percent.contains("from 0 to 1\nhint: write percents as fractions: 0.815 for 81.5%"),
            "{percent}"
        );
    }

    #[test]
    fn every_unit_of_the_registry_has_a_range() {
        for measure in MEASURES {
            assert_ne!(ValueRange::of_unit(measure.unit), ValueRange::ANY, "{measure:?}");
        }
    }
}
