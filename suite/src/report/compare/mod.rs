//! Compares a run with a recorded one: which methods became worse, and which trainings slower.
//!
//! Quality and speed are judged separately. Quality is the headline metric of every task and method, with one
//! value per pretraining seed. It is tested one-sided for a drop and for a gain, each Holm-corrected within
//! its table (a data set with one kind of measurement). Speed is the number of steps per second of every
//! training that was not interrupted, and energy what it took for a million views. Both are compared only on
//! the same hardware, by the same rules.
//!
//! A baseline is one run, or a folder of recorded runs (a series). In a series, the newest run gives the
//! quality to compare with. Every run gives one value of speed and energy, because the trainings of one run
//! share the state of the machine on that day. A decline that is too slow for that is seen as `drift` over
//! the series, and against an `anchor` that does not move.

mod anchor;
mod drift;
mod headlines;
mod junit;
mod rates;
mod record;

use std::collections::BTreeMap;

pub use anchor::{Anchor, against_anchor};
use anyhow::Result;
pub use drift::{alarm_limit, drifts};
use eqr_probes::stats::{Summary, holm, paired, prediction_test, student};
use headlines::Headline;
pub use headlines::Headlines;
pub use junit::JUNIT;
pub use rates::Rate;
pub use record::{Baseline, Record};
use serde::Serialize;
use serde_json::{Value, json};

/// Number of headlines that only one side has and that are named; the others are counted.
const NAMED: usize = 20;

/// Number of values that a baseline needs for a verdict.
const HISTORY: usize = 5;

/// When a difference counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Probability of at least one false alarm per table, in (0, 1).
    pub alpha: f64,
    /// Smallest drop of a metric that counts, in its own unit, at least 0.
    pub tolerance: f64,
    /// Smallest slow-down, or growth of the energy, that counts, as a fraction of the baseline's, at least 0.
    pub slower: f64,
}

/// The verdict on a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Neither worse nor better, as far as the values show.
    Ok,
    /// Worse.
    Regression,
    /// Better.
    Improvement,
    /// Too few values for a verdict.
    InsufficientHistory,
}

impl Verdict {
    /// The verdict as it is printed.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Regression => "regression",
            Verdict::Improvement => "improvement",
            Verdict::InsufficientHistory => "insufficient history",
        }
    }
}

/// A metric of a method compared with its baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedMetric {
    /// `quality`, `speed`, `energy`, `drift` or `anchor`.
    pub series: &'static str,
    /// Data set, task and method; for speed and energy, the method.
    pub name: String,
    /// Its values in the baseline.
    pub baseline: Summary,
    /// Its values in the candidate.
    pub candidate: Summary,
    /// Candidate minus baseline, with the sign chosen so that positive is better; for speed and
    /// energy, as a fraction of the baseline.
    pub gain: f64,
    /// For quality: p value of a drop, corrected within its table.
    pub p_drop: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
}

/// Everything that was compared with the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Quality by table, then speed and energy.
    pub metrics: Vec<ComparedMetric>,
    /// What could not be compared and why: another definition, other hardware, values on one side only.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether anything became worse.
    pub fn regressed(&self) -> bool {
        self.metrics.iter().any(|metric| metric.verdict == Verdict::Regression)
    }
}

/// Compares `candidate` with `baseline`.
///
/// # Errors
/// Values that are not finite.
pub fn compare(baseline: &Baseline, candidate: &Record, thresholds: &Thresholds) -> Result<Comparison> {
    let mut notes = Vec::new();
    let all: Vec<&Record> = match baseline {
        Baseline::Run(run) => vec![&**run],
        Baseline::Series(runs) => runs.iter().collect(),
    };
    let defined: Vec<&Record> = defined_alike(all.iter().copied(), candidate).collect();
    let Some(newest) = defined.last() else {
        notes.push(
            "the definition differs from the baseline's: a new series begins, nothing is compared".into(),
        );
        return Ok(Comparison { metrics: Vec::new(), notes });
    };
    if defined.len() < all.len() {
        notes.push(format!(
            "{} of {} recorded runs have another definition",
            all.len() - defined.len(),
            all.len()
        ));
    }
    let mut metrics = quality(&newest.headlines, &candidate.headlines, thresholds, &mut notes)?;
    let alike: Vec<&Record> =
        defined.iter().copied().filter(|run| same_hardware(run, candidate, &mut notes)).collect();
    if alike.is_empty() {
        return Ok(Comparison { metrics, notes });
    }
    notes.extend(no_energy(candidate, "candidate"));
    if !candidate.energies.is_empty() {
        notes.extend(alike.last().and_then(|newest| no_energy(newest, "baseline")));
    }
    for rate in Rate::ALL {
        metrics.extend(match baseline {
            Baseline::Run(run) => rate.compared(run, candidate, thresholds)?,
            Baseline::Series(_) => rate.compared_with_runs(&alike, candidate, thresholds)?,
        });
    }
    Ok(Comparison { metrics, notes })
}

/// The runs that measure what the candidate measures.
fn defined_alike<'a>(
    runs: impl IntoIterator<Item = &'a Record>,
    candidate: &Record,
) -> impl Iterator<Item = &'a Record> {
    let differs = |a: &Option<Value>, b: &Option<Value>| matches!((a, b), (Some(a), Some(b)) if a != b);
    runs.into_iter().filter(move |run| !differs(&run.definition, &candidate.definition))
}

/// A note that a run, which is called `side`, has no energies, and why; `None` if nothing was to be counted.
fn no_energy(run: &Record, side: &str) -> Option<String> {
    let cause = run.no_energy.as_ref().filter(|_| run.energies.is_empty())?;
    Some(format!("energy of the {side} not available: {cause}"))
}

/// Whether the speeds of two runs can be compared. If they cannot, a note says why, once.
fn same_hardware(run: &Record, candidate: &Record, notes: &mut Vec<String>) -> bool {
    let mixed = |record: &Record| record.hardware.as_ref().is_some_and(Value::is_null);
    let why = match (&run.hardware, &candidate.hardware) {
        _ if mixed(candidate) => {
            "the candidate was continued on other hardware than it started on: no speeds are compared"
        }
        _ if mixed(run) => {
            "a recorded run was continued on other hardware than it started on: its speeds do not count"
        }
        (Some(a), Some(b)) if a != b => {
            "the hardware differs from the baseline's: a new series of speeds begins"
        }
        _ => return true,
    };
    if notes.iter().all(|note| note != why) {
        notes.push(why.to_owned());
    }
    false
}

/// A metric before its verdict, with the p values of a drop and of a gain.
type Tested = (ComparedMetric, Option<(f64, f64)>);

fn quality(
    baseline: &Headlines,
    candidate: &Headlines,
    thresholds: &Thresholds,
    notes: &mut Vec<String>,
) -> Result<Vec<ComparedMetric>> {
    notes.extend(only_in(baseline, candidate, "candidate"));
    notes.extend(only_in(candidate, baseline, "baseline"));
    let mut tables: BTreeMap<_, Vec<Tested>> = BTreeMap::new();
    for (headline, before) in baseline.iter() {
        let Some(after) = candidate.find(headline) else { continue };
        let (seeds_before, a): (Vec<u64>, Vec<f64>) = before.iter().copied().unzip();
        let (seeds_after, b): (Vec<u64>, Vec<f64>) = after.iter().copied().unzip();
        let (summary, found) = (Summary::from_values(&a)?, Summary::from_values(&b)?);
        let enough = a.len() >= HISTORY;
        let p = if enough { one_sided(&a, &b, seeds_before == seeds_after)? } else { None };
        let verdict = if enough { Verdict::Ok } else { Verdict::InsufficientHistory };
        let gain = found.mean - summary.mean;
        let name = headline.name();
        let (series, baseline, candidate) = ("quality", summary, found);
        let metric = ComparedMetric { series, name, baseline, candidate, gain, p_drop: None, verdict };
        tables.entry(headline.table()).or_default().push((metric, p));
    }
    Ok(tables.into_values().flat_map(|table| judged(table, thresholds)).collect())
}

/// Notes on the headlines that `other`, which is called `side`, does not have.
fn only_in(one: &Headlines, other: &Headlines, side: &str) -> Vec<String> {
    let is_missing = |headline: &&Headline| other.find(headline).is_none();
    let mut missing = one.iter().map(|(headline, _)| headline).filter(is_missing);
    let named =
        missing.by_ref().take(NAMED).map(|headline| format!("{}: not in the {side}", headline.name()));
    let mut notes: Vec<String> = named.collect();
    match missing.count() {
        0 => {}
        more => notes.push(format!("and {more} more that are not in the {side}")),
    }
    notes
}

/// p values of a drop and of a gain from `before` to `after`. The test is paired if both have the same seeds,
/// else Student's (its hypothesis is that nothing changed, which includes the variance). A single value is
/// tested as one more draw from the baseline's distribution. `None` if there is no spread.
fn one_sided(before: &[f64], after: &[f64], same_seeds: bool) -> Result<Option<(f64, f64)>> {
    let difference = match after {
        [value] => prediction_test(before, *value)?,
        _ if same_seeds => paired(after, before)?,
        _ => student(after, before)?,
    };
    let Some(p) = difference.p else { return Ok(None) };
    let (towards, away) = (p / 2.0, 1.0 - p / 2.0);
    Ok(Some(match difference.t {
        Some(t) if t < 0.0 => (towards, away),
        Some(_) => (away, towards),
        // equal, and without any spread
        None => (p, p),
    }))
}

/// The metrics of a table with their verdicts. Drops and gains are corrected for all tested metrics.
fn judged(table: Vec<Tested>, thresholds: &Thresholds) -> Vec<ComparedMetric> {
    let tested: Vec<(f64, f64)> = table.iter().filter_map(|(_, p)| *p).collect();
    let corrected =
        |side: fn(&(f64, f64)) -> f64| holm(&tested.iter().map(side).collect::<Vec<_>>()).into_iter();
    let (mut drops, mut gains) = (corrected(|p| p.0), corrected(|p| p.1));
    let judged = |(metric, p): Tested| {
        if p.is_none() {
            return metric;
        }
        let (drop, gain) = (drops.next().unwrap_or(1.0), gains.next().unwrap_or(1.0));
        let verdict = match () {
            () if drop < thresholds.alpha && -metric.gain > thresholds.tolerance => Verdict::Regression,
            () if gain < thresholds.alpha && metric.gain > thresholds.tolerance => Verdict::Improvement,
            () => Verdict::Ok,
        };
        ComparedMetric { p_drop: Some(drop), verdict, ..metric }
    };
    table.into_iter().map(judged).collect()
}

impl Comparison {
    /// The comparison as JSON.
    pub fn as_json(&self) -> String {
        format!("{:#}\n", json!({"regressed": self.regressed(), "lines": self.metrics, "notes": self.notes}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Better;
    use crate::run_folder::metric::Metric;

    const THRESHOLDS: Thresholds = Thresholds { alpha: 0.05, tolerance: 0.0, slower: 0.03 };

    /// Normal values from a small congruential generator.
    fn normal(state: &mut u64) -> f64 {
        let mut uniform = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((*state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        // Box and Muller
        (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
    }

    fn metric(task: &str, method: &str, pretrain_seed: u64, value: f64) -> Metric {
        Metric {
            suite: "s".into(),
            table: "4".into(),
            dataset: "photos".into(),
            task: task.to_owned(),
            method: method.to_owned(),
            metric: "r2_per_output".into(),
            pretrain_seed,
            eval_seed: Some(0),
            value,
            unit: "R2".into(),
            better: Better::Higher,
            cell: String::new(),
        }
    }

    /// A table of two tasks and three methods with these seeds. The first quantity is shifted by `shift`
    /// standard deviations.
    fn record(seeds: std::ops::Range<u64>, shift: f64, state: &mut u64) -> Record {
        let mut metrics = Vec::new();
        for (i, (task, method)) in ["rotation", "color"]
            .iter()
            .flat_map(|task| ["A", "B", "C"].map(|method| (task, method)))
            .enumerate()
        {
            for seed in seeds.clone() {
                let (mean, std) = (0.1 * i as f64, 0.01 + 0.01 * i as f64);
                let moved = if i == 0 { shift } else { 0.0 };
                metrics.push(metric(task, method, seed, mean + std * (normal(state) + moved)));
            }
        }
        let headlines = Headlines::of(&metrics);
        Record { headlines, ..Record::default() }
    }

    /// At most 64 of 1,000 tables without any change raise an alarm: 5% plus two standard errors. A drop of
    /// three standard deviations with five seeds is found in 90% of the tables.
    #[test]
    fn alarms_are_as_rare_as_promised_and_drops_are_found() {
        let mut state = 7;
        let mut regressed = |shift| {
            (0..1000)
                .filter(|_| {
                    let (before, after) = (record(0..5, 0.0, &mut state), record(5..10, shift, &mut state));
                    compare(&Baseline::from(before), &after, &THRESHOLDS).unwrap().regressed()
                })
                .count()
        };
        let (alarms, found) = (regressed(0.0), regressed(-3.0));
        assert!(alarms <= 64, "{alarms} false alarms in 1,000");
        assert!(found >= 900, "{found} drops found in 1,000");
    }

    /// Five trainings per side with 1% noise: a slow-down of 5%, or as much more energy, is found, and
    /// nothing is found without one.
    #[test]
    fn slow_downs_and_more_energy_are_found() {
        let mut state = 3;
        let mut trainings = |rate: f64| {
            let values = (0..5).map(|_| rate * (1.0 + 0.01 * normal(&mut state))).collect();
            BTreeMap::from([("Ours".to_owned(), values)])
        };
        for (rate, worse) in [(Rate::Speed, 95.0), (Rate::Energy, 105.0)] {
            let mut run = |value: f64| {
                let record = Record::default();
                match rate {
                    Rate::Speed => Record { speeds: trainings(value), ..record },
                    Rate::Energy => Record { energies: trainings(value), ..record },
                }
            };
            let mut verdicts = |value: f64| {
                let found = (0..1000).filter(|_| {
                    let found = rate.compared(&run(100.0), &run(value), &THRESHOLDS).unwrap();
                    found[0].series == rate.series() && found[0].verdict == Verdict::Regression
                });
                found.count()
            };
            let (found, same) = (verdicts(worse), verdicts(100.0));
            assert!(found >= 900 && same <= 10, "{rate:?}: {found} {same}");
        }
    }

    /// A run of the series, with 1% noise between runs.
    fn week(rate: f64, hardware: &str, state: &mut u64) -> Record {
        let rate = rate * (1.0 + 0.01 * normal(state));
        let speeds = BTreeMap::from([("Ours".to_owned(), vec![rate, rate * 1.001])]);
        let (definition, hardware) = (Some("a".into()), Some(hardware.into()));
        Record { speeds, definition, hardware, ..Record::default() }
    }

    #[test]
    fn of_a_series_every_run_is_one_value() {
        let mut state = 5;
        let mut verdicts = |runs: usize, rate: f64, wanted: Verdict| {
            let found = (0..1000).filter(|_| {
                let series = Baseline::Series((0..runs).map(|_| week(100.0, "x", &mut state)).collect());
                compare(&series, &week(rate, "x", &mut state), &THRESHOLDS).unwrap().metrics[0].verdict
                    == wanted
            });
            found.count()
        };
        let (slower, same) =
            (verdicts(5, 95.0, Verdict::Regression), verdicts(5, 100.0, Verdict::Regression));
        assert!(slower >= 900 && same <= 10, "{slower} {same}");
        assert_eq!(verdicts(4, 50.0, Verdict::InsufficientHistory), 1000);
    }

    #[test]
    fn of_a_series_runs_of_other_hardware_and_definition_do_not_count() {
        let mut state = 5;
        let mut runs: Vec<Record> = (0..5).map(|_| week(100.0, "x", &mut state)).collect();
        runs.push(week(1.0, "y", &mut state));
        runs.push(Record { definition: Some("b".into()), ..week(1.0, "x", &mut state) });
        let found = compare(&Baseline::Series(runs), &week(100.0, "x", &mut state), &THRESHOLDS).unwrap();
        assert_eq!((found.metrics[0].baseline.n, found.metrics[0].verdict), (5, Verdict::Ok));
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        let continued = Record { hardware: Some(Value::Null), ..week(100.0, "x", &mut state) };
        let found = compare(&Baseline::from(week(100.0, "x", &mut state)), &continued, &THRESHOLDS).unwrap();
        assert!(
            found.metrics.is_empty() && found.notes[0].contains("continued on other hardware"),
            "{found:?}"
        );
    }

    #[test]
    fn why_there_is_no_energy_is_said_of_one_side() {
        let energies = || BTreeMap::from([("Ours (nodes)".to_owned(), vec![5.0])]);
        let with = || Record { energies: energies(), no_energy: Some("a pause".into()), ..Record::default() };
        let without = || Record { no_energy: Some("no counters".into()), ..Record::default() };
        let notes = |before: Record, after: Record| {
            compare(&Baseline::from(before), &after, &THRESHOLDS).unwrap().notes
        };
        assert_eq!(notes(with(), without()), ["energy of the candidate not available: no counters"]);
        assert_eq!(notes(without(), without()), ["energy of the candidate not available: no counters"]);
        assert_eq!(notes(without(), with()), ["energy of the baseline not available: no counters"]);
        assert!(notes(with(), with()).is_empty() && notes(Record::default(), Record::default()).is_empty());
    }

    #[test]
    fn what_only_one_side_has_is_named_as_long_as_it_is_little() {
        let others = (0..NAMED + 7).map(|number| metric("rotation", &format!("other {number:02}"), 0, 0.5));
        let headlines = Headlines::of(&others.collect::<Vec<_>>());
        let baseline = record(0..5, 0.0, &mut 3);
        let candidate = Record { headlines, ..record(0..5, 0.0, &mut 3) };
        let found = compare(&Baseline::from(baseline), &candidate, &THRESHOLDS).unwrap();
        assert_eq!(found.notes.len(), 6 + NAMED + 1, "{:?}", found.notes);
        assert_eq!(found.notes[6], "photos: rotation r2_per_output, other 00: not in the baseline");
        assert_eq!(found.notes[6 + NAMED], "and 7 more that are not in the baseline");
    }

    #[test]
    fn little_history_says_nothing_and_a_new_definition_begins_a_series() {
        let mut state = 1;
        let (before, after) = (record(0..4, 0.0, &mut state), record(4..9, -50.0, &mut state));
        let found = compare(&Baseline::from(before), &after, &THRESHOLDS).unwrap();
        assert!(
            found.metrics.iter().all(|metric| metric.verdict == Verdict::InsufficientHistory)
                && !found.regressed()
        );
        let of =
            |definition: &str| Record { definition: Some(definition.into()), ..record(0..5, 0.0, &mut 2) };
        let found = compare(&Baseline::from(of("a")), &of("b"), &THRESHOLDS).unwrap();
        assert!(found.metrics.is_empty() && found.notes[0].contains("a new series begins"));
        // the same seeds again, bit for bit
        let found = compare(&Baseline::from(of("a")), &of("a"), &THRESHOLDS).unwrap();
        assert!(found.metrics.iter().all(|metric| metric.verdict == Verdict::Ok), "{found:?}");
    }

    /// One new value 0.02 below the mean of five values of standard deviation 0.0158: t = -0.02 / (0.0158
    /// sqrt(1.2)) = -1.155 on 4 degrees of freedom, p = 0.156.
    #[test]
    fn a_single_value_is_held_against_the_spread_of_the_baseline() {
        let before = [0.48, 0.49, 0.50, 0.51, 0.52];
        let (drop, gain) = one_sided(&before, &[0.48], false).unwrap().unwrap();
        assert!((drop - 0.156).abs() < 1e-3 && (drop + gain - 1.0).abs() < 1e-12, "{drop}");
    }
}
