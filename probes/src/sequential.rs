//! Sequential tests of paired differences. After each further seed, claims are tested until all of them are
//! decided. The probability of any false decision, over all claims and all looks, is at most 5%.
//!
//! A look after n pairs spends the share w(n) of the error, proportional to its n - 1 degrees of freedom; the
//! shares of all looks add up to 1. With the p value p(n) of Student's paired t test, the claim's p value
//! after n pairs is the smallest p(m) / w(m) over the looks m <= n. It is valid at any stopping time: the
//! probability that it ever falls below a is at most the sum of a w(m), which is a. Holm's correction decides
//! no more claims with these p values than with their minima over all looks, so that it is valid at any
//! stopping time too. This is alpha spending (Lan and DeMets, 1983) with Bonferroni's bound over the looks,
//! so that it is exact for few pairs and unknown variance.
//!
//! The differences are assumed to be normal and independent between seeds. Nothing is assumed about
//! dependence between claims.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::stats::{Difference, paired, quantile};

/// Bound on the probability of any false decision.
pub const ERROR: f64 = 0.05;

/// The looks at the data: after `first`, `first` + 1, ..., `last` pairs. They must be fixed before the first
/// look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    first: usize,
    last: usize,
}

impl Looks {
    /// Looks after `first` to `last` pairs.
    ///
    /// # Errors
    /// Fails if `first` is below 2, or `last` is below `first`.
    pub fn new(first: usize, last: usize) -> Result<Looks> {
        let refused = |key, found: usize, expected| Error::Looks { key, found, expected };
        if first < 2 {
            return Err(refused("first", first, "at least 2".to_owned()));
        }
        if last < first {
            return Err(refused("last", last, format!("at least the first, {first}")));
        }
        Ok(Looks { first, last })
    }

    /// Number of pairs at the first look, at least 2.
    pub fn first(self) -> usize {
        self.first
    }

    /// Number of pairs at the last look.
    pub fn last(self) -> usize {
        self.last
    }

    /// The share of the error that the look after `pairs` pairs spends, in [0, 1]. It is 0 if there is no
    /// such look.
    pub fn share(self, pairs: usize) -> f64 {
        if !(self.first..=self.last).contains(&pairs) {
            return 0.0;
        }
        let degrees: usize = (self.first..=self.last).map(|n| n - 1).sum();
        (pairs - 1) as f64 / degrees as f64
    }

    /// Mean of `first - second` over all pairs so far, in the order in which they came, with a p value and a
    /// 95% interval that are valid after any look. Pairs beyond the last look are ignored.
    ///
    /// The p value is 1 before the first look, if the differences did not vary at any look, and if the mean
    /// has changed its sign since the look with the smallest p value. A claim of a family is decided once its
    /// p value, corrected by Holm's method, is at most [`ERROR`]; the sign of the mean says how. All
    /// intervals of a claim contain the true difference together with 95% probability. There is no interval
    /// before the first look.
    ///
    /// # Errors
    /// Fails if the lengths differ, there is no pair, or a value is not finite.
    pub fn paired(self, first: &[f64], second: &[f64]) -> Result<Difference> {
        if first.len() != second.len() {
            return Err(Error::Unpaired { left: first.len(), right: second.len() });
        }
        let pairs = first.len().min(self.last);
        let after = |n: usize| paired(&first[..n], &second[..n]);
        let now = after(pairs)?;
        let (mut smallest, mut mean) = (1.0, 0.0);
        for n in self.first..=pairs {
            let look = after(n)?;
            let p = look.p.map_or(1.0, |p| p / self.share(n));
            if p < smallest {
                (smallest, mean) = (p, look.mean);
            }
        }
        let same_sign = mean * now.mean > 0.0;
        let p = Some(if same_sign { smallest } else { 1.0 });
        Ok(Difference { p, ci95: self.interval(&now, pairs), ..now })
    }

    /// The 95% interval of `now`, widened to the level that the look after `pairs` pairs may spend.
    fn interval(self, now: &Difference, pairs: usize) -> Option<(f64, f64)> {
        let share = self.share(pairs);
        let (low, high) = now.ci95.filter(|_| share > 0.0)?;
        let Some(df) = now.df else { return now.ci95 };
        let wider = quantile(df, 1.0 - ERROR * share / 2.0) / quantile(df, 1.0 - ERROR / 2.0);
        let half = (high - low) / 2.0 * wider;
        Some((now.mean - half, now.mean + half))
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use rand::{Rng, SeedableRng};
    use rand_distr::StandardNormal;
    use rand_pcg::Pcg64;

    use super::*;
    use crate::stats::holm;

    const RUNS: u32 = 1000;

    #[test]
    fn the_shares_of_all_looks_add_up_to_one() {
        for (first, last) in [(2, 2), (2, 4), (3, 10), (2, 30)] {
            let looks = Looks::new(first, last).unwrap();
            let shares: f64 = (0..40).map(|pairs| looks.share(pairs)).sum();
            assert_relative_eq!(shares, 1.0, max_relative = 1e-12);
            assert_eq!((looks.share(first - 1), looks.share(last + 1)), (0.0, 0.0));
        }
        assert_eq!([2, 3, 4].map(|n| Looks::new(2, 4).unwrap().share(n)), [1.0 / 6.0, 2.0 / 6.0, 0.5]);
    }

    /// Differences 1, 2, 3: t = 3 on one degree of freedom after two pairs, 2 sqrt(3) on two after three.
    /// With looks after two and three pairs the shares are 1/3 and 2/3. The p values are 1 - (2 / pi) atan(3)
    /// and 1 - t / sqrt(2 + t^2). The quantile on two degrees of freedom for the level 5% x 2/3, a = 1/30, is
    /// sqrt(2 (1 - a)^2 / (1 - (1 - a)^2)).
    #[test]
    fn three_pairs_by_hand() {
        let looks = Looks::new(2, 3).unwrap();
        let (first, second) = ([1.5, 2.5, 3.5], [0.5; 3]);
        let two = looks.paired(&first[..2], &second[..2]).unwrap();
        let three = looks.paired(&first, &second).unwrap();
        let after_two = (1.0 - 2.0 / std::f64::consts::PI * 3f64.atan()) * 3.0;
        let after_three = (1.0 - (12f64 / 14.0).sqrt()) * 1.5;
        assert_relative_eq!(two.p.unwrap(), after_two, max_relative = 1e-9);
        assert_relative_eq!(three.p.unwrap(), after_three, max_relative = 1e-9);
        let inner: f64 = (29f64 / 30.0).powi(2);
        let half = (2.0 * inner / (1.0 - inner)).sqrt() / 3f64.sqrt();
        let (low, high) = three.ci95.unwrap();
        assert_relative_eq!(low, 2.0 - half, max_relative = 1e-9);
        assert_relative_eq!(high, 2.0 + half, max_relative = 1e-9);
        assert_eq!((three.mean, three.df), (2.0, Some(2.0)));
        // a fourth pair comes after the last look
        assert_eq!(looks.paired(&[1.5, 2.5, 3.5, -90.0], &[0.5; 4]).unwrap(), three);
    }

    #[test]
    fn a_single_look_is_the_paired_t_test() {
        let (a, b) = ([0.61, 0.64, 0.59, 0.66], [0.58, 0.57, 0.55, 0.62]);
        let sequential = Looks::new(4, 4).unwrap().paired(&a, &b).unwrap();
        let once = paired(&a, &b).unwrap();
        assert_relative_eq!(sequential.ci95.unwrap().0, once.ci95.unwrap().0, max_relative = 1e-9);
        assert_eq!(Difference { ci95: None, ..sequential }, Difference { ci95: None, ..once });
    }

    /// Three clear pairs, then noise: the p value stays that of the third look. It is 1 once the mean has
    /// changed its sign.
    #[test]
    fn a_decision_stays_until_the_sign_changes() {
        let looks = Looks::new(2, 6).unwrap();
        let differences = [1.0, 1.001, 1.0, -2.0, 4.0, -9.0];
        let after = |n: usize| looks.paired(&differences[..n], &[0.0; 6][..n]).unwrap();
        assert!(after(3).p.unwrap() < 1e-4);
        assert_eq!([after(4).p, after(5).p], [after(3).p; 2]);
        assert!(after(5).ci95.unwrap().0 < 0.0, "the interval is of all pairs");
        assert_eq!((after(6).mean < 0.0, after(6).p), (true, Some(1.0)));
    }

    #[test]
    fn what_does_not_vary_stays_open() {
        let looks = Looks::new(2, 4).unwrap();
        let of = |first: &[f64], second: &[f64]| {
            let found = looks.paired(first, second).unwrap();
            (found.p, found.ci95)
        };
        let mean = paired(&[0.3, 0.5, 0.7], &[0.1, 0.3, 0.5]).unwrap().mean;
        assert_eq!(of(&[0.3, 0.5, 0.7], &[0.1, 0.3, 0.5]), (Some(1.0), Some((mean, mean))));
        assert_eq!(of(&[0.3, 0.3], &[0.3, 0.3]), (Some(1.0), Some((0.0, 0.0))));
        assert_eq!(of(&[0.3], &[0.1]), (Some(1.0), None));
    }

    #[test]
    fn bad_looks_and_samples_are_refused() {
        assert!(Looks::new(1, 5).unwrap_err().to_string().contains("first = 1, expected at least 2"));
        assert!(Looks::new(4, 3).unwrap_err().to_string().contains("last = 3"));
        let looks = Looks::new(2, 3).unwrap();
        assert!(matches!(looks.paired(&[1.0], &[1.0, 2.0]), Err(Error::Unpaired { left: 1, right: 2 })));
        assert!(matches!(looks.paired(&[1.0, f64::NAN], &[1.0, 2.0]), Err(Error::BadValue { index: 1, .. })));
    }

    /// What many simulated runs came to.
    #[derive(Debug)]
    struct Outcome {
        /// Mean number of seeds.
        seeds: f64,
        /// Share of the claims that were decided.
        decided: f64,
        /// Number of runs with a decision that is false: of the wrong sign, or about an effect of zero.
        false_runs: u32,
    }

    /// Runs that go on until all claims are decided or `max` seeds are reached. `effects` holds the effect of
    /// each claim in standard deviations of its paired difference. All claims have their first method in
    /// common, so that the differences of two claims correlate by 1/2.
    fn simulate(seed: u64, max: usize, effects: &[f64]) -> Outcome {
        let mut rng = Pcg64::seed_from_u64(seed);
        let looks = Looks::new(2, max).unwrap();
        let mut draw = |centre: f64| -> Vec<f64> {
            (0..max).map(|_| centre + rng.sample::<f64, _>(StandardNormal) / 2f64.sqrt()).collect()
        };
        let (mut seeds, mut decided, mut false_runs) = (0, 0, 0);
        for _ in 0..RUNS {
            let common = draw(0.0);
            let others: Vec<Vec<f64>> = effects.iter().map(|effect| draw(-effect)).collect();
            // the sign of every decided claim
            let after = |n: usize| -> Vec<Option<f64>> {
                let test = |other: &Vec<f64>| looks.paired(&common[..n], &other[..n]).unwrap();
                let family: Vec<Difference> = others.iter().map(test).collect();
                let p = holm(&family.iter().filter_map(|claim| claim.p).collect::<Vec<f64>>());
                let sign = |(claim, p): (&Difference, f64)| (p <= ERROR).then(|| claim.mean.signum());
                family.iter().zip(p).map(sign).collect()
            };
            let stop = (2..max).find(|&n| after(n).iter().all(Option::is_some)).unwrap_or(max);
            let signs = after(stop);
            let is_false =
                |(sign, effect): (&Option<f64>, &f64)| sign.is_some_and(|sign| sign * effect <= 0.0);
            seeds += stop;
            decided += signs.iter().flatten().count();
            false_runs += u32::from(signs.iter().zip(effects).any(is_false));
        }
        let runs = f64::from(RUNS);
        Outcome {
            seeds: seeds as f64 / runs,
            decided: decided as f64 / runs / effects.len() as f64,
            false_runs,
        }
    }

    /// At most 5% of 1,000 runs make any false decision, whatever the size of the family, and whether some or
    /// all effects are zero. For at most 4 seeds the rate lies close to the bound, so that the count may
    /// exceed 50 by two standard errors.
    #[test]
    fn few_runs_decide_falsely() {
        let half = [0.0, 3.0, 0.0, -3.0, 0.0, 5.0, 0.0, 1.0, 0.0, -1.0, 0.0, 2.0];
        for (max, allowed) in [(4, 64), (6, 50), (10, 50)] {
            for effects in [&[0.0][..], &[0.0; 3], &[0.0; 12], &half] {
                let found = simulate(1, max, effects);
                assert!(found.false_runs <= allowed, "max {max}, {effects:?}: {found:?}");
            }
        }
    }

    /// Expected seeds and share of decided claims from `scripts/reference/sequential.py`, an independent
    /// simulation with NumPy and SciPy.
    #[test]
    fn larger_effects_need_fewer_seeds() {
        let expected =
            [(0.0, 10.0, 0.01), (1.0, 9.7, 0.43), (2.0, 7.2, 0.99), (3.0, 5.7, 1.0), (5.0, 4.6, 1.0)];
        for (effect, seeds, decided) in expected {
            let found = simulate(2, 10, &[effect; 3]);
            let close = (found.seeds - seeds).abs() < 0.2 && (found.decided - decided).abs() < 0.04;
            assert!(close, "effect {effect}: {found:?}, expected {seeds} seeds, {decided} decided");
        }
    }
}
