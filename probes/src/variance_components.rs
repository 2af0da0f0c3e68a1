//! Variance components of a metric: between pretraining seeds and between probe seeds (protocol section 8).

use crate::error::{Error, Result};
use crate::stats::check_sample;
use serde::{Deserialize, Serialize};

/// Variance of a metric between and within pretraining seeds, each of which was probed with several probe
/// seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VarianceComponents {
    /// Variance between encoders of different pretraining seeds, at least 0. `None` if there is one
    /// pretraining seed, or if no seed was probed twice, because the two variances cannot be separated then.
    pub pretraining: Option<f64>,
    /// Variance between probes of one encoder. `None` if no encoder was probed twice.
    pub probe: Option<f64>,
}

impl VarianceComponents {
    /// Estimates the components from `values[pretraining seed][probe seed]` with the moment estimator of
    /// one-way random-effects analysis of variance. The numbers of probe seeds may differ. Negative estimates
    /// are set to 0.
    ///
    /// # Errors
    /// Fails if there is no pretraining seed, a seed has no value, or a value is not finite.
    pub fn from_values(values: &[Vec<f64>]) -> Result<VarianceComponents> {
        if values.is_empty() {
            return Err(Error::Empty { what: "pretraining seed" });
        }
        values.iter().try_for_each(|group| check_sample(group))?;
        let (groups, total) = (values.len() as f64, values.iter().map(Vec::len).sum::<usize>() as f64);
        let mean = |group: &[f64]| group.iter().sum::<f64>() / group.len() as f64;
        let within: f64 =
            values.iter().map(|group| group.iter().map(|v| (v - mean(group)).powi(2)).sum::<f64>()).sum();
        if total == groups {
            return Ok(VarianceComponents { pretraining: None, probe: None });
        }
        let probe = within / (total - groups);
        let grand = values.iter().flatten().sum::<f64>() / total;
        let between: f64 =
            values.iter().map(|group| group.len() as f64 * (mean(group) - grand).powi(2)).sum();
        let squares: f64 = values.iter().map(|group| (group.len() as f64).powi(2)).sum();
        let effective = (total - squares / total) / (groups - 1.0);
        let pretraining = (groups > 1.0).then(|| ((between / (groups - 1.0) - probe) / effective).max(0.0));
        Ok(VarianceComponents { pretraining, probe: Some(probe) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    /// Computed with numpy from the estimator's formulas, for groups of 3, 3 and 2 values.
    #[test]
    fn components_by_hand() {
        let values = [vec![0.60, 0.62, 0.61], vec![0.70, 0.69, 0.74], vec![0.55, 0.59]];
        let found = VarianceComponents::from_values(&values).unwrap();
        assert_relative_eq!(found.probe.unwrap(), 0.00047999999999999996, max_relative = 1e-9);
        assert_relative_eq!(found.pretraining.unwrap(), 0.004988571428571423, max_relative = 1e-9);
        let alone = VarianceComponents::from_values(&[vec![0.5, 0.7]]).unwrap();
        assert_eq!(alone.pretraining, None);
        assert_relative_eq!(alone.probe.unwrap(), 0.02, max_relative = 1e-9);
        assert_eq!(
            VarianceComponents::from_values(&[vec![0.5], vec![0.7]]).unwrap(),
            VarianceComponents { pretraining: None, probe: None }
        );
        assert!(
            VarianceComponents::from_values(&[vec![0.5], vec![]]).is_err()
                && VarianceComponents::from_values(&[]).is_err()
        );
    }

    /// The estimates are unbiased: their means over 2,000 tables of 4 x 3 values with variances 4 and 1 are
    /// correct.
    #[test]
    fn components_are_right_in_the_mean() {
        use rand::SeedableRng;
        use rand::distributions::{Distribution, Uniform};
        let mut rng = rand_pcg::Pcg64::seed_from_u64(1);
        let side = 3f64.sqrt();
        let unit = Uniform::new(-side, side);
        let mut table = || -> Vec<Vec<f64>> {
            let mut row = |centre: f64| (0..3).map(|_| centre + unit.sample(&mut rng)).collect::<Vec<f64>>();
            let centres: Vec<f64> = (0..4).map(|_| 2.0 * row(0.0)[0]).collect();
            centres.into_iter().map(row).collect()
        };
        let found: Vec<VarianceComponents> =
            (0..2000).map(|_| VarianceComponents::from_values(&table()).unwrap()).collect();
        let mean =
            |part: fn(&VarianceComponents) -> f64| found.iter().map(part).sum::<f64>() / found.len() as f64;
        let (pretraining, probe) = (mean(|c| c.pretraining.unwrap()), mean(|c| c.probe.unwrap()));
        assert!((pretraining - 4.0).abs() < 0.2 && (probe - 1.0).abs() < 0.05, "{pretraining} {probe}");
    }
}
