//! Analysis of variance of a metric by method and seed: a two-way layout with one value for each method and
//! seed, and the seeds as blocks.
//!
//! The model is y(i, j) = method i + seed j + noise, with equal normal noise for all methods. The noise is
//! then estimated from all methods together, on (methods - 1)(seeds - 1) degrees of freedom, where the paired
//! t test of two methods has seeds - 1. Methods whose noise differs violate the model.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, FisherSnedecor};

use crate::error::{Error, Result};
use crate::stats::{Difference, ROUNDING, largest, tested};

/// A source of variation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// Sum of squares.
    pub squares: f64,
    /// Degrees of freedom, at least 1.
    pub df: f64,
}

impl Variation {
    /// Mean square.
    pub fn mean_square(self) -> f64 {
        self.squares / self.df
    }
}

/// Analysis of variance of a table of methods and seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockAnalysis {
    /// Mean of each method.
    pub means: Vec<f64>,
    /// Between the methods.
    pub methods: Variation,
    /// Between the seeds.
    pub seeds: Variation,
    /// What neither explains; its mean square estimates the variance of the noise. It is 0 if it is only
    /// rounding error.
    pub residual: Variation,
    /// F statistic of the hypothesis that all methods are equal, on the degrees of freedom of `methods` and
    /// `residual`. `None` if there is no noise.
    pub f: Option<f64>,
    /// Its p value, in [0, 1].
    pub p: Option<f64>,
    /// Number of seeds.
    blocks: usize,
    /// Largest absolute value of the table.
    scale: f64,
}

impl BlockAnalysis {
    /// Analysis of `values[method][seed]`, at least two methods with the same seeds, at least two.
    ///
    /// # Errors
    /// Fails if there are fewer than two methods or seeds, methods have different numbers of seeds, or a
    /// value is not finite.
    pub fn from_values(values: &[Vec<f64>]) -> Result<BlockAnalysis> {
        let (rows, blocks) = (values.len(), values.first().map_or(0, Vec::len));
        if rows < 2 {
            return Err(Error::Empty { what: "second method" });
        }
        if blocks < 2 {
            return Err(Error::Empty { what: "second seed" });
        }
        if let Some(other) = values.iter().find(|row| row.len() != blocks) {
            return Err(Error::Unpaired { left: blocks, right: other.len() });
        }
        let mut scale: f64 = 0.0;
        for row in values {
            scale = scale.max(largest(row)?);
        }
        let (m, n) = (rows as f64, blocks as f64);
        let means: Vec<f64> = values.iter().map(|row| row.iter().sum::<f64>() / n).collect();
        let seed_means: Vec<f64> =
            (0..blocks).map(|seed| values.iter().map(|row| row[seed]).sum::<f64>() / m).collect();
        let grand = means.iter().sum::<f64>() / m;
        let around = |means: &[f64]| means.iter().map(|mean| (mean - grand).powi(2)).sum::<f64>();
        let noise = |(row, mean): (&Vec<f64>, &f64)| {
            let of_seed = |(value, seed): (&f64, &f64)| (value - mean - seed + grand).powi(2);
            row.iter().zip(&seed_means).map(of_seed).sum::<f64>()
        };
        let methods = Variation { squares: n * around(&means), df: m - 1.0 };
        let seeds = Variation { squares: m * around(&seed_means), df: n - 1.0 };
        let df = (m - 1.0) * (n - 1.0);
        let residual = Variation { squares: values.iter().zip(&means).map(noise).sum(), df };
        let rounding = residual.mean_square().sqrt() <= ROUNDING * scale;
        let residual = Variation { squares: if rounding { 0.0 } else { residual.squares }, df };
        let f = (!rounding).then(|| methods.mean_square() / residual.mean_square());
        let distribution =
            FisherSnedecor::new(methods.df, df).expect("two methods and two seeds have degrees of freedom");
        let p = f.map(|f| distribution.sf(f).clamp(0.0, 1.0));
        Ok(BlockAnalysis { means, methods, seeds, residual, f, p, blocks, scale })
    }

    /// Mean of the method at position `first` minus that of the one at `second`, with the t test and the 95%
    /// interval from the noise of all methods. `cohen_d` is relative to the standard deviation of a seed's
    /// difference, sqrt(2) times that of the noise.
    ///
    /// # Panics
    /// Panics if there is no such method.
    pub fn difference(&self, first: usize, second: usize) -> Difference {
        let spread = (2.0 * self.residual.mean_square()).sqrt();
        let error = spread / (self.blocks as f64).sqrt();
        tested(self.means[first] - self.means[second], error, self.residual.df, spread, self.scale)
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::stats::paired;

    /// Rows (1, 2, 6), (2, 5, 8), (3, 8, 4): means 3, 5, 5 and 2, 5, 6 around 13/3. Sums of squares: methods
    /// 3 (16/9 + 4/9 + 4/9) = 8, seeds 3 (49/9 + 4/9 + 25/9) = 26, all 223 - 169 = 54, so that 20 are left on
    /// 4 degrees of freedom. F = 4 / 5; its tail on (2, 4) degrees is (1 + F / 2)^-2.
    #[test]
    fn a_table_by_hand() {
        let table = [vec![1.0, 2.0, 6.0], vec![2.0, 5.0, 8.0], vec![3.0, 8.0, 4.0]];
        let found = BlockAnalysis::from_values(&table).unwrap();
        let squares = [found.methods, found.seeds, found.residual].map(|variation| variation.squares);
        for (found, expected) in squares.into_iter().zip([8.0, 26.0, 20.0]) {
            assert_relative_eq!(found, expected, max_relative = 1e-12);
        }
        assert_eq!([found.methods.df, found.seeds.df, found.residual.df], [2.0, 2.0, 4.0]);
        assert_relative_eq!(found.f.unwrap(), 0.8, max_relative = 1e-12);
        assert_relative_eq!(found.p.unwrap(), 1.4f64.powi(-2), max_relative = 1e-9);
        // 2 on a standard error of sqrt(2 x 5 / 3), and the quantile 2.776445 on 4 degrees of freedom
        let difference = found.difference(1, 0);
        let error = (10f64 / 3.0).sqrt();
        assert_relative_eq!(difference.mean, 2.0, max_relative = 1e-12);
        assert_relative_eq!(difference.t.unwrap(), 2.0 / error, max_relative = 1e-12);
        assert_relative_eq!(difference.ci95.unwrap().0, 2.0 - 2.776_445_105_2 * error, max_relative = 1e-9);
        assert_eq!(difference.df, Some(4.0));
    }

    /// With two methods the analysis is the paired t test: F = t^2, the same p value and interval.
    #[test]
    fn two_methods_are_the_paired_test() {
        let (a, b) = (vec![0.61, 0.64, 0.59, 0.66], vec![0.58, 0.57, 0.55, 0.62]);
        let test = paired(&a, &b).unwrap();
        let blocks = BlockAnalysis::from_values(&[a, b]).unwrap();
        let difference = blocks.difference(0, 1);
        assert_relative_eq!(blocks.f.unwrap(), test.t.unwrap().powi(2), max_relative = 1e-9);
        assert_relative_eq!(blocks.p.unwrap(), test.p.unwrap(), max_relative = 1e-9);
        assert_relative_eq!(difference.p.unwrap(), test.p.unwrap(), max_relative = 1e-9);
        assert_relative_eq!(difference.cohen_d.unwrap(), test.cohen_d.unwrap(), max_relative = 1e-9);
        assert_relative_eq!(difference.ci95.unwrap().0, test.ci95.unwrap().0, max_relative = 1e-9);
    }

    /// A constant added to all methods of a seed changes only the variation between the seeds; a constant
    /// added to a method changes only its mean.
    #[test]
    fn constants_of_a_seed_or_a_method_leave_the_noise_alone() {
        let table = [vec![0.3, 0.5, 0.2, 0.4], vec![0.6, 0.4, 0.5, 0.9], vec![0.1, 0.2, 0.2, 0.3]];
        let before = BlockAnalysis::from_values(&table).unwrap();
        let (by_seed, by_method) = ([5.0, -1.0, 0.25, 2.0], [0.0, 3.0, -1.0]);
        let shifted: Vec<Vec<f64>> = table
            .iter()
            .zip(by_method)
            .map(|(row, own)| row.iter().zip(by_seed).map(|(value, seed)| value + seed + own).collect())
            .collect();
        let after = BlockAnalysis::from_values(&shifted).unwrap();
        assert_relative_eq!(after.residual.squares, before.residual.squares, max_relative = 1e-9);
        assert!((after.seeds.squares - before.seeds.squares).abs() > 1.0);
        let (now, then) = (after.difference(1, 0), before.difference(1, 0));
        assert_relative_eq!(now.mean, then.mean + 3.0, max_relative = 1e-9);
        assert_relative_eq!(
            now.ci95.unwrap().1 - now.mean,
            then.ci95.unwrap().1 - then.mean,
            max_relative = 1e-9
        );
    }

    #[test]
    fn tables_without_noise_have_no_test() {
        let additive = [vec![0.1, 0.3], vec![0.3, 0.5]];
        let found = BlockAnalysis::from_values(&additive).unwrap();
        assert_eq!((found.residual.squares, found.f, found.p), (0.0, None, None));
        assert_eq!(found.difference(0, 1).p, None);
    }

    #[test]
    fn incomplete_tables_are_refused() {
        let analysis = BlockAnalysis::from_values;
        assert!(matches!(analysis(&[vec![1.0, 2.0]]), Err(Error::Empty { what: "second method" })));
        assert!(matches!(analysis(&[vec![1.0], vec![2.0]]), Err(Error::Empty { what: "second seed" })));
        let uneven = analysis(&[vec![1.0, 2.0], vec![1.0, 2.0, 3.0]]);
        assert!(matches!(uneven, Err(Error::Unpaired { left: 2, right: 3 })));
        let broken = analysis(&[vec![1.0, 2.0], vec![1.0, f64::INFINITY]]);
        assert!(matches!(broken, Err(Error::BadValue { index: 1, .. })));
    }
}
