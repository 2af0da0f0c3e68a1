//! Means over seeds with their intervals, tests between methods, correction for many tests (protocol section 8).
//!
//! What a sample cannot tell is `None`, never NaN: a single value has no standard deviation and no interval, a difference
//! that involves a single value has no test.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Spread below this multiple of a sample's largest absolute value is rounding, and counts as none.
const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// A sample in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of values, at least 1.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n - 1); `None` for one value.
    pub std: Option<f64>,
    /// 95% Student-t interval of the mean, (low, high); `None` for one value.
    pub ci95: Option<(f64, f64)>,
}

impl Summary {
    /// Summary of `values`, for example of one metric over pretraining seeds. Equal values give `std` 0 and an interval
    /// without width.
    ///
    /// # Errors
    /// Where there is no value or one is not finite.
    pub fn of(values: &[f64]) -> Result<Summary> {
        let moments = Moments::of(values, largest(values)?);
        let ci95 = moments.variance.map(|variance| {
            let degrees = moments.n - 1.0;
            interval(moments.mean, (variance / moments.n).sqrt(), degrees)
        });
        Ok(Summary { n: values.len(), mean: moments.mean, std: moments.variance.map(f64::sqrt), ci95 })
    }
}

/// Difference of two means and the two-sided t test of its being zero.
///
/// Where neither sample varies at all (each its own value again and again) there is no noise to hold the difference
/// against: the interval has no width, `t`, `df` and `cohen_d` are `None`, and `p` is 1 for equal means and `None`
/// otherwise, so that runs that repeat each other exactly are never called significant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean of the first sample less mean of the second.
    pub mean: f64,
    /// 95% Student-t interval of the difference, (low, high).
    pub ci95: Option<(f64, f64)>,
    /// Two-sided p value, in [0, 1].
    pub p: Option<f64>,
    /// Test statistic.
    pub t: Option<f64>,
    /// Degrees of freedom (Welch-Satterthwaite: no whole number).
    pub df: Option<f64>,
    /// Effect size. Welch: the difference over the pooled standard deviation (Cohen's d); paired: the mean difference over
    /// the standard deviation of the differences (d_z).
    pub cohen_d: Option<f64>,
}

/// Welch's test of two independent samples: `mean(a) - mean(b)`. With a single value on either side only the mean is given.
///
/// # Errors
/// Where a sample is empty or a value is not finite.
pub fn welch(a: &[f64], b: &[f64]) -> Result<Difference> {
    let scale = largest(a)?.max(largest(b)?);
    let (a, b) = (Moments::of(a, scale), Moments::of(b, scale));
    let mean = a.mean - b.mean;
    let (Some(variance_a), Some(variance_b)) = (a.variance, b.variance) else { return Ok(untested(mean)) };
    let (share_a, share_b) = (variance_a / a.n, variance_b / b.n);
    let error = share_a + share_b;
    let df = error * error / (share_a * share_a / (a.n - 1.0) + share_b * share_b / (b.n - 1.0));
    let pooled = ((a.n - 1.0) * variance_a + (b.n - 1.0) * variance_b) / (a.n + b.n - 2.0);
    Ok(tested(mean, error.sqrt(), df, pooled.sqrt(), scale))
}

/// Paired test of two samples whose values belong together by position (the same seeds, say): `mean(a - b)`.
///
/// # Errors
/// Where the lengths differ, there is no pair, or a value is not finite.
pub fn paired(a: &[f64], b: &[f64]) -> Result<Difference> {
    if a.len() != b.len() {
        return Err(Error::Unpaired { left: a.len(), right: b.len() });
    }
    let scale = largest(a)?.max(largest(b)?);
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let Moments { n, mean, variance } = Moments::of(&differences, scale);
    let Some(variance) = variance else { return Ok(untested(mean)) };
    Ok(tested(mean, (variance / n).sqrt(), n - 1.0, variance.sqrt(), scale))
}

/// Holm's step-down correction: adjusted p values in the order given, to be held against the level as they are. They control
/// the chance of one or more false claims among all of them. A value that is no probability (NaN included) counts as 1.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let probability = |i: usize| if (0.0..=1.0).contains(&p[i]) { p[i] } else { 1.0 };
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&i, &j| probability(i).total_cmp(&probability(j)));
    let mut adjusted = vec![1.0; p.len()];
    let mut highest: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        highest = highest.max(((p.len() - rank) as f64 * probability(i)).min(1.0));
        adjusted[i] = highest;
    }
    adjusted
}

/// Mean and variance of a sample.
struct Moments {
    n: f64,
    mean: f64,
    /// Sample variance; `None` for one value, 0 where the values differ by rounding only.
    variance: Option<f64>,
}

impl Moments {
    /// Moments of values that came from numbers as large as `scale`.
    fn of(values: &[f64], scale: f64) -> Moments {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = (values.len() > 1).then(|| {
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
            if variance.sqrt() > ROUNDING * scale { variance } else { 0.0 }
        });
        Moments { n, mean, variance }
    }
}

/// Largest absolute value of a sample, which is checked on the way.
fn largest(values: &[f64]) -> Result<f64> {
    if values.is_empty() {
        return Err(Error::Empty { what: "value" });
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(Error::BadValue { index, value: values[index] }),
        None => Ok(values.iter().fold(0.0, |largest, v| v.abs().max(largest))),
    }
}

fn untested(mean: f64) -> Difference {
    Difference { mean, ci95: None, p: None, t: None, df: None, cohen_d: None }
}

/// The test of a difference with this standard error, degrees of freedom and standardiser of the effect size.
fn tested(mean: f64, error: f64, df: f64, spread: f64, scale: f64) -> Difference {
    if error == 0.0 {
        let equal = mean.abs() <= ROUNDING * scale;
        return Difference { ci95: Some((mean, mean)), p: equal.then_some(1.0), ..untested(mean) };
    }
    let t = mean / error;
    let p = (2.0 * student(df).sf(t.abs())).clamp(0.0, 1.0);
    let ci95 = Some(interval(mean, error, df));
    Difference { mean, ci95, p: Some(p), t: Some(t), df: Some(df), cohen_d: Some(mean / spread) }
}

/// 95% interval of an estimate with this standard error.
fn interval(mean: f64, error: f64, df: f64) -> (f64, f64) {
    let half = if error > 0.0 { student(df).inverse_cdf(0.975) * error } else { 0.0 };
    (mean - half, mean + half)
}

/// Student's t distribution; `df` comes from two samples of two values or more and is at least 1.
fn student(df: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, df).expect("degrees of freedom are at least 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    const A: [f64; 5] = [0.61, 0.64, 0.59, 0.66, 0.62];
    const B: [f64; 4] = [0.55, 0.60, 0.57, 0.52];
    const C: [f64; 5] = [0.58, 0.57, 0.55, 0.62, 0.61];

    fn assert_close(found: (f64, f64), expected: (f64, f64)) {
        assert_relative_eq!(found.0, expected.0, max_relative = 1e-9);
        assert_relative_eq!(found.1, expected.1, max_relative = 1e-9);
    }

    /// Against scipy 1.17: `stats.t.interval(.95, 4, loc=mean, scale=stats.sem(a))`, `numpy.std(a, ddof=1)`.
    #[test]
    fn summary_agrees_with_scipy() {
        let summary = Summary::of(&A).unwrap();
        assert_eq!(summary.n, 5);
        assert_relative_eq!(summary.mean, 0.624, max_relative = 1e-12);
        assert_relative_eq!(summary.std.unwrap(), 0.027018512172212617, max_relative = 1e-12);
        assert_close(summary.ci95.unwrap(), (0.5904520861507334, 0.6575479138492666));
    }

    /// Against `scipy.stats.ttest_ind(a, b, equal_var=False)`; d by its formula with numpy.
    #[test]
    fn welch_agrees_with_scipy() {
        let d = welch(&A, &B).unwrap();
        assert_relative_eq!(d.mean, 0.064, max_relative = 1e-12);
        assert_relative_eq!(d.t.unwrap(), 3.08874937002138, max_relative = 1e-12);
        assert_relative_eq!(d.df.unwrap(), 5.744378640855148, max_relative = 1e-12);
        assert_relative_eq!(d.p.unwrap(), 0.022666991553861728, max_relative = 1e-9);
        assert_relative_eq!(d.cohen_d.unwrap(), 2.1299551311611005, max_relative = 1e-12);
        assert_close(d.ci95.unwrap(), (0.012747150974774704, 0.11525284902522541));
    }

    /// Against `scipy.stats.ttest_rel(a, c)`; d_z by its formula with numpy.
    #[test]
    fn paired_agrees_with_scipy() {
        let d = paired(&A, &C).unwrap();
        assert_relative_eq!(d.t.unwrap(), 3.9194007357834133, max_relative = 1e-9);
        assert_eq!(d.df, Some(4.0));
        assert_relative_eq!(d.p.unwrap(), 0.01725640248541336, max_relative = 1e-9);
        assert_relative_eq!(d.cohen_d.unwrap(), 1.7528092952548808, max_relative = 1e-9);
        assert_close(d.ci95.unwrap(), (0.011081365976620985, 0.06491863402337904));
    }

    /// Against `scipy.stats.t.ppf(.975, df)` and `2 * scipy.stats.t.sf(t, df)`, from one degree of freedom to 999.
    #[test]
    fn quantiles_and_tails_agree_with_scipy() {
        let quantiles = [
            (1.0, 12.706204736174694),
            (2.0, 4.302652729749462),
            (3.0, 3.1824463052837078),
            (4.0, 2.7764451051977934),
            (7.3, 2.345066736547703),
            (29.0, 2.045229642132703),
            (999.0, 1.9623414611334493),
        ];
        for (df, expected) in quantiles {
            assert_relative_eq!(student(df).inverse_cdf(0.975), expected, max_relative = 1e-8);
        }
        let tails = [
            (2.5, 3.7, 0.07182202291182678),
            (12.0, 2.0, 0.00687293367715846),
            (40.0, 8.0, 1.6785718879145792e-10),
            (0.01, 5.0, 0.9924080180425819),
            (1e9, 4.0, 6.000000000000002e-36),
        ];
        for (t, df, expected) in tails {
            assert_relative_eq!(2.0 * student(df).sf(t), expected, max_relative = 1e-8);
        }
    }

    /// By hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, made monotone (`statsmodels` `multipletests(method="holm")`
    /// gives the same).
    #[test]
    fn holm_by_hand() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert_relative_eq!(*found, expected, max_relative = 1e-12);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[f64::NAN, 0.01]), [1.0, 0.02]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn one_value_has_a_mean_and_no_more() {
        assert_eq!(Summary::of(&[0.5]).unwrap(), Summary { n: 1, mean: 0.5, std: None, ci95: None });
        assert_eq!(welch(&[0.5], &B).unwrap().p, None);
        assert_eq!(paired(&[0.5], &[0.25]).unwrap(), untested(0.25));
    }

    #[test]
    fn samples_without_variance() {
        let constant = [0.1, 0.1, 0.1];
        let summary = Summary::of(&constant).unwrap();
        assert_eq!(summary.std, Some(0.0));
        assert_eq!(welch(&constant, &constant).unwrap().p, Some(1.0));
        let apart = welch(&constant, &[0.3, 0.3]).unwrap();
        assert_eq!((apart.p, apart.t, apart.cohen_d), (None, None, None));
        assert_eq!(apart.ci95, Some((apart.mean, apart.mean)));
        // 0.3 - 0.1 and 0.5 - 0.3 differ by rounding, which is no variance.
        assert_eq!(paired(&[0.3, 0.5], &[0.1, 0.3]).unwrap().p, None);
        // One side without variance is an ordinary test: scipy's ttest_ind([1, 2, 3], [5, 5, 5], equal_var=False).
        let d = welch(&[1.0, 2.0, 3.0], &[5.0, 5.0, 5.0]).unwrap();
        assert_relative_eq!(d.p.unwrap(), 0.03509871864598465, max_relative = 1e-9);
        assert_close(d.ci95.unwrap(), (-5.48413771175033, -0.5158622882496702));
    }

    /// The interval of the mean of 4 normal values covers the truth in 95% of 4,000 samples, to three standard errors.
    #[test]
    fn intervals_cover_what_they_say() {
        use statrs::distribution::Normal;
        let normal = Normal::new(3.0, 2.0).unwrap();
        // A low-discrepancy sequence is not random enough for samples of four; a small congruential generator is.
        let mut state: u64 = 1;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            normal.inverse_cdf(((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64)
        };
        let covered = (0..4000)
            .filter(|_| {
                let (low, high) = Summary::of(&[draw(), draw(), draw(), draw()]).unwrap().ci95.unwrap();
                low < 3.0 && 3.0 < high
            })
            .count();
        assert!((3760..=3840).contains(&covered), "{covered} of 4000");
    }

    #[test]
    fn bad_samples_are_refused() {
        assert!(matches!(Summary::of(&[]), Err(Error::Empty { .. })));
        assert!(matches!(welch(&A, &[1.0, f64::NAN]), Err(Error::BadValue { index: 1, .. })));
        assert!(matches!(paired(&A, &B), Err(Error::Unpaired { left: 5, right: 4 })));
    }
}
