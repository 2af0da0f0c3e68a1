//! Drift of a series of values, such as one a week: the self-starting CUSUM (Hawkins, "Self-starting CUSUM
//! charts for location and scale", The Statistician 36, 1987).
//!
//! Each value is compared with the mean and the spread of those before it. Without drift, the scores are
//! independent and standard normal from the third value on, whatever the mean and the spread are. A one-sided
//! CUSUM sums up what the scores are below -1/2, so that a slow drift adds up. Scores beyond three count as
//! three: one outlier alone is no drift.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::stats::ROUNDING;

/// How far below the mean a score must be to add to the sum: half of the shift that is found soonest.
const ALLOWANCE: f64 = 0.5;

/// The largest score.
const LARGEST: f64 = 3.0;

/// Number of values before the first score.
pub const HISTORY: usize = 2;

/// The CUSUM of drops after each value; 0 as long as there are too few values.
///
/// # Panics
/// Panics if a value is not finite.
pub fn cusum_of_drops(values: &[f64]) -> Vec<f64> {
    let mut sum = 0.0f64;
    let add = |place: usize| {
        sum = (sum - score(&values[..place], values[place]) - ALLOWANCE).max(0.0);
        sum
    };
    (0..values.len()).map(add).collect()
}

/// The limit of the CUSUM that is passed, without drift, after `values` values on average. By Siegmund's
/// approximation of a one-sided CUSUM's run length, (exp(2 k b) - 2 k b - 1) / (2 k^2) with b = limit +
/// 1.166.
pub fn limit(values: f64) -> f64 {
    let run_length = |limit: f64| {
        let exponent = 2.0 * ALLOWANCE * (limit + 1.166);
        (exponent.exp() - exponent - 1.0) / (2.0 * ALLOWANCE * ALLOWANCE)
    };
    let (mut low, mut high) = (0.0, 100.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if run_length(middle) < values { low = middle } else { high = middle }
    }
    high
}

/// How far `value` is above the mean of the values before it, as a standard normal number.
fn score(before: &[f64], value: f64) -> f64 {
    assert!(value.is_finite(), "a value of a series is {value}");
    if before.len() < HISTORY {
        return 0.0;
    }
    let n = before.len() as f64;
    let mean = before.iter().sum::<f64>() / n;
    let variance = before.iter().map(|other| (other - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let largest = before.iter().fold(value.abs(), |largest, other| largest.max(other.abs()));
    let difference = value - mean;
    if variance.sqrt() <= ROUNDING * largest {
        // equal values so far, as those of equal software: any other is a change
        return if difference.abs() <= ROUNDING * largest { 0.0 } else { LARGEST.copysign(difference) };
    }
    let t = difference / (variance * (1.0 + 1.0 / n)).sqrt();
    let p = StudentsT::new(0.0, 1.0, n - 1.0).expect("at least one degree of freedom").cdf(t);
    Normal::standard().inverse_cdf(p).clamp(-LARGEST, LARGEST)
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use rand::SeedableRng;
    use rand_distr::StandardNormal;
    use rand_pcg::Pcg64;

    use super::*;

    /// Place of the week of the alarm in series whose value of week w is normal with mean `mean(w)`; `None`
    /// if there is none in `weeks`.
    fn alarms(series: usize, weeks: usize, limit: f64, mean: impl Fn(usize) -> f64) -> Vec<Option<usize>> {
        let mut random = Pcg64::seed_from_u64(11);
        (0..series)
            .map(|_| {
                let values: Vec<f64> =
                    (0..weeks).map(|week| random.sample::<f64, _>(StandardNormal) + mean(week)).collect();
                cusum_of_drops(&values).iter().position(|&sum| sum > limit)
            })
            .collect()
    }

    fn median(mut weeks: Vec<Option<usize>>) -> usize {
        weeks.sort_unstable_by_key(|week| week.unwrap_or(usize::MAX));
        weeks[weeks.len() / 2].expect("most series have an alarm")
    }

    /// The limit of one false alarm in 20 years of weeks. The winsorised scores make alarms rarer than the
    /// approximation says.
    #[test]
    fn false_alarms_are_as_rare_as_promised_and_drifts_are_found() {
        let limit = limit(20.0 * 52.0);
        let in_a_year = |mean: fn(usize) -> f64| {
            let found = alarms(4000, 52, limit, mean);
            found.iter().flatten().count() as f64 / 4000.0
        };
        let none = in_a_year(|_| 0.0);
        assert!((0.005..=0.05).contains(&none), "false alarms of a year without drift: {none}");
        // after ten weeks one value eight deviations too low
        let outlier = in_a_year(|week| if week == 10 { -8.0 } else { 0.0 });
        assert!(outlier <= 0.08, "alarms of a year with one outlier: {outlier}");
        // from the eleventh week on two deviations lower
        let step = median(alarms(1000, 52, limit, |week| if week >= 10 { -2.0 } else { 0.0 })) + 1;
        assert!(step <= 10 + 8, "{step}");
        // half a deviation and a deviation a month
        let slow = median(alarms(1000, 104, limit, |week| -0.5 * week as f64 * 12.0 / 52.0)) + 1;
        let fast = median(alarms(1000, 104, limit, |week| -(week as f64) * 12.0 / 52.0)) + 1;
        println!("alarms of a year: {none} without drift, {outlier} with an outlier");
        println!("weeks until a step of two deviations is seen: {}", step - 10);
        println!("weeks until a drift of 0.5 and 1 deviation a month is seen: {slow}, {fast}");
        assert!(slow <= 24 && fast <= 16, "{slow} {fast}");
    }

    /// The average run length of a one-sided chart with k = 1/2 and h = 4 is 336 (Montgomery, table 9.3: 168
    /// for two sides).
    #[test]
    fn the_limit_inverts_the_run_length() {
        assert!((limit(336.0) - 4.0).abs() < 0.05, "{}", limit(336.0));
    }

    /// Three equal values, and then one that is lower: 3 - 1/2.
    #[test]
    fn a_change_of_equal_values_counts_as_the_largest_score() {
        assert_eq!(cusum_of_drops(&[0.3, 0.3, 0.3, 0.2]), [0.0, 0.0, 0.0, 2.5]);
        assert_eq!(cusum_of_drops(&[0.3, 0.3, 0.3, 0.4]), [0.0; 4]);
    }
}
