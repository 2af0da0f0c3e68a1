//! Means over seeds with confidence intervals, tests between methods, effect sizes, and correction for
//! multiple tests (protocol section 8).
//!
//! Statistics that a sample does not determine are `None`, never NaN. A single value has no standard
//! deviation and no interval, and there is no test for a difference that involves a single value.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::gamma::ln_gamma;

/// A spread below this multiple of the largest absolute value of a sample is rounding error and counts as
/// zero.
pub(crate) const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// Mean, standard deviation and confidence interval of a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of values, at least 1.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n - 1), or `None` for one value.
    pub std: Option<f64>,
    /// 95% Student-t interval of the mean, (low, high), or `None` for one value.
    pub ci95: Option<(f64, f64)>,
}

impl Summary {
    /// Summary of `values`, for example of one metric over pretraining seeds. If all values are equal, `std`
    /// is 0 and the interval has width 0.
    ///
    /// # Errors
    /// Fails if there is no value or a value is not finite.
    pub fn from_values(values: &[f64]) -> Result<Summary> {
        let moments = Moments::new(values, largest(values)?);
        let ci95 = moments.variance.map(|variance| {
            let degrees = moments.n - 1.0;
            interval(moments.mean, (variance / moments.n).sqrt(), degrees)
        });
        Ok(Summary { n: values.len(), mean: moments.mean, std: moments.variance.map(f64::sqrt), ci95 })
    }
}

/// Difference of two means, and the two-sided t test of the hypothesis that it is zero.
///
/// If neither sample varies, there is no noise to compare the difference with. The interval then has width 0,
/// `t`, `df` and `cohen_d` are `None`, and `p` is 1 for equal means and `None` otherwise. Runs that repeat
/// each other exactly are therefore never reported as significant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean of the first sample minus mean of the second.
    pub mean: f64,
    /// 95% Student-t interval of the difference, (low, high).
    pub ci95: Option<(f64, f64)>,
    /// Two-sided p value, in [0, 1].
    pub p: Option<f64>,
    /// Test statistic.
    pub t: Option<f64>,
    /// Degrees of freedom (Welch-Satterthwaite, in general not an integer).
    pub df: Option<f64>,
    /// Effect size. For Welch's test it is the difference divided by the pooled standard deviation (Cohen's
    /// d). For the paired test it is the mean difference divided by the standard deviation of the differences
    /// (d_z).
    pub cohen_d: Option<f64>,
}

/// Welch's test of two independent samples: `mean(a) - mean(b)`. If either sample is a single value, only the
/// mean is set.
///
/// # Errors
/// Fails if a sample is empty or a value is not finite.
pub fn welch(a: &[f64], b: &[f64]) -> Result<Difference> {
    let scale = largest(a)?.max(largest(b)?);
    let (a, b) = (Moments::new(a, scale), Moments::new(b, scale));
    let mean = a.mean - b.mean;
    let (Some(variance_a), Some(variance_b)) = (a.variance, b.variance) else { return Ok(untested(mean)) };
    let (share_a, share_b) = (variance_a / a.n, variance_b / b.n);
    let error = share_a + share_b;
    let df = error * error / (share_a * share_a / (a.n - 1.0) + share_b * share_b / (b.n - 1.0));
    let pooled = ((a.n - 1.0) * variance_a + (b.n - 1.0) * variance_b) / (a.n + b.n - 2.0);
    Ok(tested(mean, error.sqrt(), df, pooled.sqrt(), scale))
}

/// Student's test of two independent samples with equal variance: `mean(a) - mean(b)`. It suits the question
/// whether both samples come from the same distribution, and has more power than Welch's test on small
/// samples.
///
/// # Errors
/// Fails if a sample is empty or a value is not finite.
pub fn student(a: &[f64], b: &[f64]) -> Result<Difference> {
    let scale = largest(a)?.max(largest(b)?);
    let (a, b) = (Moments::new(a, scale), Moments::new(b, scale));
    let mean = a.mean - b.mean;
    let (Some(variance_a), Some(variance_b)) = (a.variance, b.variance) else { return Ok(untested(mean)) };
    let df = a.n + b.n - 2.0;
    let pooled = ((a.n - 1.0) * variance_a + (b.n - 1.0) * variance_b) / df;
    Ok(tested(mean, (pooled * (1.0 / a.n + 1.0 / b.n)).sqrt(), df, pooled.sqrt(), scale))
}

/// Paired test of two samples whose values are paired by position (for example, by seed): `mean(a - b)`.
///
/// # Errors
/// Fails if the lengths differ, there is no pair, or a value is not finite.
pub fn paired(a: &[f64], b: &[f64]) -> Result<Difference> {
    if a.len() != b.len() {
        return Err(Error::Unpaired { left: a.len(), right: b.len() });
    }
    let scale = largest(a)?.max(largest(b)?);
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let Moments { n, mean, variance } = Moments::new(&differences, scale);
    let Some(variance) = variance else { return Ok(untested(mean)) };
    Ok(tested(mean, (variance / n).sqrt(), n - 1.0, variance.sqrt(), scale))
}

/// Tests whether `value` may come from the distribution of `history`. The difference is `value` minus the
/// mean of the history, with the interval and test of a prediction (Student's t with n - 1 degrees of
/// freedom, standard error s sqrt(1 + 1/n)). For a history with a single value or without spread, see
/// [`Difference`].
///
/// # Errors
/// Fails if the history is empty or a value is not finite.
pub fn prediction_test(history: &[f64], value: f64) -> Result<Difference> {
    let scale = largest(history)?.max(largest(&[value])?);
    let Moments { n, mean, variance } = Moments::new(history, scale);
    let Some(variance) = variance else { return Ok(untested(value - mean)) };
    Ok(tested(value - mean, (variance * (1.0 + 1.0 / n)).sqrt(), n - 1.0, variance.sqrt(), scale))
}

/// Holm's step-down correction. Returns adjusted p values in the given order, which can be compared directly
/// with the significance level. They control the family-wise error rate. A value outside [0, 1] (including
/// NaN) counts as 1.
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

/// Hedges' g for Cohen's d (or d_z), whose standard deviation has `degrees` degrees of freedom, at least 2.
/// Cohen's d is biased upwards for small samples, by a factor of 1.25 for two samples of three values and of
/// 1.77 for three pairs.
pub fn hedges_g(d: f64, degrees: f64) -> f64 {
    let half = degrees / 2.0;
    d * (ln_gamma(half) - ln_gamma(half - 0.5)).exp() / half.sqrt()
}

/// Warning that samples of these sizes have little power: a sample has a single value, or 80% power is
/// reached only for differences above [`COARSE`] standard deviations (two-sided test at 5%). With `paired`,
/// the standard deviation is that of the differences. `None` if the samples are large enough.
pub fn small_sample_warning(a: usize, b: usize, paired: bool) -> Option<String> {
    if a.min(b) < 2 {
        return Some("one seed: no standard deviation, no interval and no test".to_owned());
    }
    let (df, error) = match paired {
        true => (a as f64 - 1.0, (1.0 / a as f64).sqrt()),
        false => ((a + b) as f64 - 2.0, (1.0 / a as f64 + 1.0 / b as f64).sqrt()),
    };
    let found = (student_t(df).inverse_cdf(0.975) + student_t(df).inverse_cdf(0.8)) * error;
    let seeds = if a == b { format!("{a} seeds") } else { format!("{a} and {b} seeds") };
    (found > COARSE).then(|| {
        format!(
            "{seeds}: only differences above {found:.1} standard deviations are found in four of five cases"
        )
    })
}

/// Difference, in standard deviations, that sufficiently large samples detect with 80% power.
pub const COARSE: f64 = 2.0;

/// Mean and variance of a sample.
struct Moments {
    n: f64,
    mean: f64,
    /// Sample variance. `None` for one value, and 0 if the values differ only by rounding.
    variance: Option<f64>,
}

impl Moments {
    /// Moments of values that were computed from numbers of magnitude up to `scale`.
    fn new(values: &[f64], scale: f64) -> Moments {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = (values.len() > 1).then(|| {
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
            if variance.sqrt() > ROUNDING * scale { variance } else { 0.0 }
        });
        Moments { n, mean, variance }
    }
}

/// Largest absolute value of a sample. Fails if the sample fails [`check_sample`].
pub(crate) fn largest(values: &[f64]) -> Result<f64> {
    check_sample(values)?;
    Ok(values.iter().fold(0.0, |largest, v| v.abs().max(largest)))
}

/// Fails if there are no values or a value is not finite.
pub(crate) fn check_sample(values: &[f64]) -> Result<()> {
    if values.is_empty() {
        return Err(Error::Empty { what: "value" });
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(Error::BadValue { index, value: values[index] }),
        None => Ok(()),
    }
}

fn untested(mean: f64) -> Difference {
    Difference { mean, ci95: None, p: None, t: None, df: None, cohen_d: None }
}

/// The t test of a difference `mean` with standard error `error` and `df` degrees of freedom. The effect size
/// is relative to `spread`.
pub(crate) fn tested(mean: f64, error: f64, df: f64, spread: f64, scale: f64) -> Difference {
    if error == 0.0 {
        let equal = mean.abs() <= ROUNDING * scale;
        return Difference { ci95: Some((mean, mean)), p: equal.then_some(1.0), ..untested(mean) };
    }
    let t = mean / error;
    let p = (2.0 * student_t(df).sf(t.abs())).clamp(0.0, 1.0);
    let ci95 = Some(interval(mean, error, df));
    Difference { mean, ci95, p: Some(p), t: Some(t), df: Some(df), cohen_d: Some(mean / spread) }
}

/// 95% confidence interval of an estimate with standard error `error`.
fn interval(mean: f64, error: f64, df: f64) -> (f64, f64) {
    let half = if error > 0.0 { quantile(df, 0.975) * error } else { 0.0 };
    (mean - half, mean + half)
}

/// Quantile of Student's t distribution. `df` is at least 1, and `probability` lies in (0, 1).
pub(crate) fn quantile(df: f64, probability: f64) -> f64 {
    student_t(df).inverse_cdf(probability)
}

/// Student's t distribution. `df` is at least 1, because it comes from samples with at least two values.
fn student_t(df: f64) -> StudentsT {
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

    /// Expected values from scipy 1.17: `stats.t.interval(.95, 4, loc=mean, scale=stats.sem(a))`,
    /// `numpy.std(a, ddof=1)`.
    #[test]
    fn summary_agrees_with_scipy() {
        let summary = Summary::from_values(&A).unwrap();
        assert_eq!(summary.n, 5);
        assert_relative_eq!(summary.mean, 0.624, max_relative = 1e-12);
        assert_relative_eq!(summary.std.unwrap(), 0.027018512172212617, max_relative = 1e-12);
        assert_close(summary.ci95.unwrap(), (0.5904520861507334, 0.6575479138492666));
    }

    /// Expected values from `scipy.stats.ttest_ind(a, b, equal_var=False)`. d is computed from its formula
    /// with numpy.
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

    /// Expected values from `scipy.stats.ttest_rel(a, c)`. d_z is computed from its formula with numpy.
    #[test]
    fn paired_agrees_with_scipy() {
        let d = paired(&A, &C).unwrap();
        assert_relative_eq!(d.t.unwrap(), 3.9194007357834133, max_relative = 1e-9);
        assert_eq!(d.df, Some(4.0));
        assert_relative_eq!(d.p.unwrap(), 0.01725640248541336, max_relative = 1e-9);
        assert_relative_eq!(d.cohen_d.unwrap(), 1.7528092952548808, max_relative = 1e-9);
        assert_close(d.ci95.unwrap(), (0.011081365976620985, 0.06491863402337904));
    }

    /// Expected values from `scipy.stats.t.ppf(.975, df)` and `2 * scipy.stats.t.sf(t, df)`.
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
            assert_relative_eq!(student_t(df).inverse_cdf(0.975), expected, max_relative = 1e-8);
        }
        let tails = [
            (2.5, 3.7, 0.07182202291182678),
            (12.0, 2.0, 0.00687293367715846),
            (40.0, 8.0, 1.6785718879145792e-10),
            (0.01, 5.0, 0.9924080180425819),
            (1e9, 4.0, 6.000000000000002e-36),
        ];
        for (t, df, expected) in tails {
            assert_relative_eq!(2.0 * student_t(df).sf(t), expected, max_relative = 1e-8);
        }
    }

    /// Five values with mean 0.5 and standard deviation 0.0158. For 0.48, t = -0.02 / (0.0158 sqrt(1.2)) =
    /// -1.1547 with 4 degrees of freedom, and p = 0.3125 (SciPy: 2 t.cdf(-1.1547005, 4)).
    #[test]
    fn one_more_value_by_hand() {
        let history = [0.48, 0.49, 0.50, 0.51, 0.52];
        let found = prediction_test(&history, 0.48).unwrap();
        assert!(
            (found.t.unwrap() + 1.154_700_5).abs() < 1e-6 && (found.p.unwrap() - 0.312_5).abs() < 1e-4,
            "{found:?}"
        );
        assert_eq!(
            (prediction_test(&[0.5], 0.4).unwrap().p, prediction_test(&[0.5, 0.5], 0.5).unwrap().p),
            (None, Some(1.0))
        );
    }

    /// The sorted values 0.005, 0.01, 0.03, 0.04 are multiplied by 4, 3, 2, 1 and made monotone. statsmodels'
    /// `multipletests(method="holm")` gives the same.
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
        assert_eq!(Summary::from_values(&[0.5]).unwrap(), Summary { n: 1, mean: 0.5, std: None, ci95: None });
        assert_eq!(welch(&[0.5], &B).unwrap().p, None);
        assert_eq!(paired(&[0.5], &[0.25]).unwrap(), untested(0.25));
    }

    #[test]
    fn samples_without_variance() {
        let constant = [0.1, 0.1, 0.1];
        let summary = Summary::from_values(&constant).unwrap();
        assert_eq!(summary.std, Some(0.0));
        assert_eq!(welch(&constant, &constant).unwrap().p, Some(1.0));
        let apart = welch(&constant, &[0.3, 0.3]).unwrap();
        assert_eq!((apart.p, apart.t, apart.cohen_d), (None, None, None));
        assert_eq!(apart.ci95, Some((apart.mean, apart.mean)));
        // 0.3 - 0.1 and 0.5 - 0.3 differ only by rounding, which does not count as variance.
        assert_eq!(paired(&[0.3, 0.5], &[0.1, 0.3]).unwrap().p, None);
        // If only one sample has no variance, the test is an ordinary one: scipy's ttest_ind([1, 2, 3], [5,
        // 5, 5], equal_var=False).
        let d = welch(&[1.0, 2.0, 3.0], &[5.0, 5.0, 5.0]).unwrap();
        assert_relative_eq!(d.p.unwrap(), 0.03509871864598465, max_relative = 1e-9);
        assert_close(d.ci95.unwrap(), (-5.48413771175033, -0.5158622882496702));
    }

    /// Normal values with mean 0 and variance 1 from a small congruential generator. A low-discrepancy
    /// sequence is not random enough for samples of four values.
    fn normal_draws() -> impl FnMut() -> f64 {
        let normal = statrs::distribution::Normal::new(0.0, 1.0).unwrap();
        let mut state: u64 = 1;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            normal.inverse_cdf(((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64)
        }
    }

    /// Three intervals are tested on 4,000 samples: the mean of 4 normal values, Welch's difference of 4 and
    /// 6 values with unequal variances, and the paired difference of 5 pairs with a common component. They
    /// must cover the true value in 95% of the samples, within three standard errors for the exact intervals,
    /// and in 93 to 97% for Welch's approximation.
    #[test]
    fn intervals_cover_what_they_say() {
        let mut draw = normal_draws();
        let mut sample =
            |n: usize, mean: f64, std: f64| (0..n).map(|_| mean + std * draw()).collect::<Vec<f64>>();
        let covers = |interval: Option<(f64, f64)>, truth: f64| {
            interval.is_some_and(|(low, high)| low < truth && truth < high)
        };
        let mut covered = [0; 3];
        for _ in 0..4000 {
            let (a, b, common) = (sample(4, 3.0, 2.0), sample(6, 1.0, 0.5), sample(5, 0.0, 4.0));
            let shifted = |own: Vec<f64>| {
                own.iter().zip(&common).map(|(own, common)| own + common).collect::<Vec<f64>>()
            };
            let (first, second) = (shifted(sample(5, 0.5, 1.0)), shifted(sample(5, 0.0, 1.0)));
            covered[0] += usize::from(covers(Summary::from_values(&a).unwrap().ci95, 3.0));
            covered[1] += usize::from(covers(welch(&a, &b).unwrap().ci95, 2.0));
            covered[2] += usize::from(covers(paired(&first, &second).unwrap().ci95, 0.5));
        }
        let exact = 3760..=3840;
        assert!(exact.contains(&covered[0]) && exact.contains(&covered[2]), "{covered:?} of 4000");
        assert!((3720..=3880).contains(&covered[1]), "{covered:?} of 4000");
    }

    /// Expected values from scipy: `exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / sqrt(df / 2)`; 1 - 3 / (4
    /// df - 1) is a good approximation.
    #[test]
    fn hedges_corrects_small_samples() {
        assert_relative_eq!(hedges_g(1.0, 2.0), 0.5641895835477563, max_relative = 1e-9);
        assert_relative_eq!(hedges_g(2.0, 8.0), 2.0 * 0.9027033336764101, max_relative = 1e-9);
        assert!((hedges_g(1.0, 40.0) - (1.0 - 3.0 / 159.0)).abs() < 1e-4);
    }

    #[test]
    fn small_samples_are_warned_of() {
        assert!(small_sample_warning(1, 5, false).unwrap().contains("no interval"));
        // t(0.975, 4) + t(0.8, 4) = 2.776 + 0.941, times the square root of 2/3
        let three = small_sample_warning(3, 3, false).unwrap();
        assert!(three.starts_with("3 seeds") && three.contains("3.0 standard"), "{three}");
        assert_eq!(small_sample_warning(6, 6, false), None);
        assert!(small_sample_warning(3, 3, true).is_some() && small_sample_warning(5, 5, true).is_none());
    }

    #[test]
    fn bad_samples_are_refused() {
        assert!(matches!(Summary::from_values(&[]), Err(Error::Empty { .. })));
        assert!(matches!(welch(&A, &[1.0, f64::NAN]), Err(Error::BadValue { index: 1, .. })));
        assert!(matches!(paired(&A, &B), Err(Error::Unpaired { left: 5, right: 4 })));
    }
}
