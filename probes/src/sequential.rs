//! Sequential tests of paired differences. After each further seed, claims are tested until all of them are
//! decided. The probability of any false decision, over all claims and all looks, is at most 5%.
//!
//! A look after n pairs spends the share w(n) of the error, proportional to its n - 1 degrees of freedom; the
//! shares of all looks add up to 1. With the p value p(n) of Student's paired t test, the claim's p value
//! after n pairs is the smallest p(m) / w(m) over the looks m <= n. It is valid at any stopping time: the
//! probability that it ever falls below a is at most the sum of a w(m), which is a. As it never increases,
//! Holm's correction over the claims is valid at any stopping time too. This is alpha spending (Lan and
//! DeMets, 1983) with Bonferroni's bound over the looks, so that it is exact for few pairs and unknown
//! variance.
//!
//! The differences are assumed to be normal and independent between seeds. Nothing is assumed about
//! dependence between claims.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::stats::{Difference, holm, paired, quantile};

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

    /// The test of one claim after all its pairs so far, in the order in which they came. Pairs beyond the
    /// last look are ignored.
    ///
    /// # Errors
    /// Fails if the lengths differ, there is no pair, or a value is not finite.
    pub fn test(self, first: &[f64], second: &[f64]) -> Result<SequentialTest> {
        if first.len() != second.len() {
            return Err(Error::Unpaired { left: first.len(), right: second.len() });
        }
        let pairs = first.len().min(self.last);
        let after = |n: usize| paired(&first[..n], &second[..n]);
        let mut strongest: Option<(f64, f64)> = None;
        for n in self.first..=pairs {
            let Difference { mean, p: Some(p), .. } = after(n)? else { continue };
            let p = (p / self.share(n)).min(1.0);
            if strongest.is_none_or(|(smallest, _)| p < smallest) {
                strongest = Some((p, mean));
            }
        }
        let now = after(pairs)?;
        Ok(SequentialTest {
            pairs,
            mean: now.mean,
            ci95: self.interval(&now, pairs),
            p: strongest.map(|(p, _)| p),
            sign: strongest.map_or(0.0, |(_, mean)| mean),
        })
    }

    /// The 95% interval of `now`, widened to the level that the look after `pairs` pairs may spend.
    fn interval(self, now: &Difference, pairs: usize) -> Option<(f64, f64)> {
        let share = self.share(pairs);
        let (df, (low, high)) = (now.df?, now.ci95?);
        let wider = quantile(df, 1.0 - ERROR * share / 2.0) / quantile(df, 1.0 - ERROR / 2.0);
        let half = (high - low) / 2.0 * wider;
        (share > 0.0).then_some((now.mean - half, now.mean + half))
    }
}

/// The test of one claim at a look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequentialTest {
    /// Number of pairs.
    pub pairs: usize,
    /// Mean of the differences.
    pub mean: f64,
    /// 95% confidence interval of the difference, (low, high). All intervals of this claim, at all looks,
    /// contain the true difference together with this probability. `None` before the first look, or if the
    /// differences do not vary.
    pub ci95: Option<(f64, f64)>,
    /// Two-sided p value that is valid after any look, not corrected for other claims. `None` before the
    /// first look, or if the differences did not vary at any look.
    pub p: Option<f64>,
    /// Has the sign of the mean difference at the look with the smallest p value.
    sign: f64,
}

/// What is decided about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The first is larger than the second.
    Positive,
    /// The first is smaller than the second.
    Negative,
    /// Neither is shown.
    Open,
}

/// The decisions about a family of claims, with p values corrected for the number of claims. Claims without a
/// p value are open and count as tests. Once decided, a claim stays decided at later looks.
pub fn decide(family: &[SequentialTest]) -> Vec<(Decision, f64)> {
    let p: Vec<f64> = family.iter().map(|test| test.p.unwrap_or(1.0)).collect();
    let decision = |test: &SequentialTest, p: f64| match test.sign {
        sign if p <= ERROR && sign > 0.0 => Decision::Positive,
        sign if p <= ERROR && sign < 0.0 => Decision::Negative,
        _ => Decision::Open,
    };
    family.iter().zip(holm(&p)).map(|(test, p)| (decision(test, p), p)).collect()
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use rand::{Rng, SeedableRng};
    use rand_distr::StandardNormal;
    use rand_pcg::Pcg64;

    use super::*;

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

    /// Differences 1, 2, 3: t = 3 on one degree of freedom after two pairs, 2 sqrt(3) on two after three. With
    /// looks after two and three pairs the shares are 1/3 and 2/3. p values: 1 - (2 / pi) atan(3), and
    /// 1 - t / sqrt(2 + t^2). The quantile on two degrees of freedom for the level 5% x 2/3, a = 1/30:
    /// sqrt(2 (1 - a)^2 / (1 - (1 - a)^2)).
    #[test]
    fn three_pairs_by_hand() {
        let looks = Looks::new(2, 3).unwrap();
        let (first, second) = ([1.5, 2.5, 3.5], [0.5; 3]);
        let two = looks.test(&first[..2], &second[..2]).unwrap();
        let three = looks.test(&first, &second).unwrap();
        let after_two = (1.0 - 2.0 / std::f64::consts::PI * 3f64.atan()) * 3.0;
        let after_three = (1.0 - (12f64 / 14.0).sqrt()) * 1.5;
        assert_relative_eq!(two.p.unwrap(), after_two, max_relative = 1e-9);
        assert_relative_eq!(three.p.unwrap(), after_three, max_relative = 1e-9);
        let inner: f64 = (29f64 / 30.0).powi(2);
        let half = (2.0 * inner / (1.0 - inner)).sqrt() / 3f64.sqrt();
        let (low, high) = three.ci95.unwrap();
        assert_relative_eq!(low, 2.0 - half, max_relative = 1e-9);
        assert_relative_eq!(high, 2.0 + half, max_relative = 1e-9);
        assert_eq!((three.pairs, three.mean), (3, 2.0));
        // a fourth pair comes after the last look
        assert_eq!(looks.test(&[1.5, 2.5, 3.5, -90.0], &[0.5; 4]).unwrap(), three);
    }

    #[test]
    fn a_single_look_is_the_paired_t_test() {
        let (a, b) = ([0.61, 0.64, 0.59, 0.66], [0.58, 0.57, 0.55, 0.62]);
        let (sequential, once) = (Looks::new(4, 4).unwrap().test(&a, &b).unwrap(), paired(&a, &b).unwrap());
        assert_eq!((sequential.p, sequential.mean), (once.p, once.mean));
        assert_relative_eq!(sequential.ci95.unwrap().0, once.ci95.unwrap().0, max_relative = 1e-9);
    }

    /// Three clear pairs, then noise: the p value is that of the third look, and the decision keeps its sign.
    #[test]
    fn a_decision_stays() {
        let looks = Looks::new(2, 6).unwrap();
        let differences = [1.0, 1.001, 1.0, -3.0, -9.0, -1.0];
        let test = |n: usize| looks.test(&differences[..n], &[0.0; 6][..n]).unwrap();
        assert_eq!(decide(&[test(3)])[0].0, Decision::Positive);
        assert!(test(6).mean < 0.0 && test(6).p == test(3).p);
        assert_eq!(decide(&[test(6)])[0].0, Decision::Positive);
    }

    #[test]
    fn what_does_not_vary_stays_open() {
        let looks = Looks::new(2, 4).unwrap();
        let equal = looks.test(&[0.3, 0.5, 0.7], &[0.1, 0.3, 0.5]).unwrap();
        assert_eq!((equal.p, equal.ci95), (None, None));
        let early = looks.test(&[0.3], &[0.1]).unwrap();
        assert_eq!((early.pairs, early.p, early.ci95), (1, None, None));
        let zero = looks.test(&[0.3, 0.3], &[0.3, 0.3]).unwrap();
        let all: Vec<Decision> = decide(&[equal, early, zero]).into_iter().map(|(what, _)| what).collect();
        assert_eq!(all, [Decision::Open; 3]);
    }

    #[test]
    fn bad_looks_and_samples_are_refused() {
        assert!(Looks::new(1, 5).unwrap_err().to_string().contains("first = 1, expected at least 2"));
        assert!(Looks::new(4, 3).unwrap_err().to_string().contains("last = 3"));
        let looks = Looks::new(2, 3).unwrap();
        assert!(matches!(looks.test(&[1.0], &[1.0, 2.0]), Err(Error::Unpaired { left: 1, right: 2 })));
        assert!(matches!(looks.test(&[1.0, f64::NAN], &[1.0, 2.0]), Err(Error::BadValue { index: 1, .. })));
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
            let after = |n: usize| -> Vec<Decision> {
                let test = |other: &Vec<f64>| looks.test(&common[..n], &other[..n]).unwrap();
                let family: Vec<SequentialTest> = others.iter().map(test).collect();
                decide(&family).into_iter().map(|(decision, _)| decision).collect()
            };
            let stop = (2..max).find(|&n| !after(n).contains(&Decision::Open)).unwrap_or(max);
            let decisions = after(stop);
            let is_false = |(decision, effect): (&Decision, &f64)| match decision {
                Decision::Positive => *effect <= 0.0,
                Decision::Negative => *effect >= 0.0,
                Decision::Open => false,
            };
            seeds += stop;
            decided += decisions.iter().filter(|decision| **decision != Decision::Open).count();
            false_runs += u32::from(decisions.iter().zip(effects).any(is_false));
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
