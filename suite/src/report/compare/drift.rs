//! Drift over a series: a decline that is too slow for a comparison with the newest run.

use std::collections::BTreeMap;

use anyhow::Result;
use eqr_probes::drift::{cusum_of_drops, limit};
use eqr_probes::stats::Summary;

use super::headlines::Headline;
use super::rates::Rate;
use super::record::{Baseline, Record};
use super::{ComparedMetric, HISTORY, Verdict, defined_alike, same_hardware};
use crate::report::mean::mean;

/// Runs of a year, one a week.
const YEAR: f64 = 52.0;

/// Judges the drift of every metric over the runs of a series and the candidate after them. `false_alarms` is
/// the probability that a series without drift raises an alarm within a year of weeks, over all lines of a
/// table.
///
/// # Errors
/// Values that are not finite.
pub fn drifts(baseline: &Baseline, candidate: &Record, false_alarms: f64) -> Result<Vec<ComparedMetric>> {
    let Baseline::Series(runs) = baseline else { return Ok(Vec::new()) };
    let alike: Vec<&Record> = defined_alike(runs, candidate).collect();
    let mut tables: BTreeMap<_, Vec<(String, Vec<f64>)>> = BTreeMap::new();
    for (headline, now) in candidate.headlines.iter() {
        let values =
            alike.iter().filter_map(|run| run.headlines.find(headline)).chain([now]).map(mean_of_seeds);
        let line = (headline.name(), values.collect());
        tables.entry(Headline::table(headline)).or_default().push(line);
    }
    let (mut notes, mut all) = (Vec::new(), Vec::new());
    for table in tables.into_values() {
        all.extend(judged(&table, false_alarms)?);
    }
    let on_this_hardware: Vec<&Record> =
        alike.into_iter().filter(|run| same_hardware(run, candidate, &mut notes)).collect();
    for rate in Rate::ALL {
        let lines = rate.of(candidate).iter().map(|(name, now)| {
            let before = on_this_hardware.iter().filter_map(|run| rate.of(run).get(name));
            let values = before.chain([now]).map(|values| rate.sign() * mean(values));
            (rate.line_of_runs(name), values.collect())
        });
        all.extend(judged(&lines.collect::<Vec<_>>(), false_alarms)?);
    }
    Ok(all)
}

/// The sum of drops that is an alarm, if a table has `lines` lines.
pub fn alarm_limit(lines: usize, false_alarms: f64) -> f64 {
    limit(YEAR * lines.max(1) as f64 / false_alarms)
}

/// The verdicts on the lines of a table: values of the runs, the candidate's last.
fn judged(table: &[(String, Vec<f64>)], false_alarms: f64) -> Result<Vec<ComparedMetric>> {
    let limit = alarm_limit(table.len(), false_alarms);
    let judge = |(name, values): &(String, Vec<f64>)| -> Result<Option<ComparedMetric>> {
        if values.len() <= HISTORY {
            return Ok(None);
        }
        let sums = cusum_of_drops(values);
        // the drift began after the last run at which nothing had added up
        let start = sums.iter().rposition(|&sum| sum == 0.0).map_or(0, |last| last + 1);
        let start = start.clamp(1, values.len() - 1);
        let (before, since) =
            (Summary::from_values(&values[..start])?, Summary::from_values(&values[start..])?);
        let is_alarm = sums.last().is_some_and(|&sum| sum > limit);
        Ok(Some(ComparedMetric {
            series: "drift",
            name: format!("{name}, over {} runs", values.len()),
            gain: since.mean - before.mean,
            baseline: before,
            candidate: since,
            p_drop: None,
            verdict: if is_alarm { Verdict::Regression } else { Verdict::Ok },
        }))
    };
    table.iter().filter_map(|line| judge(line).transpose()).collect()
}

fn mean_of_seeds(values: &[(u64, f64)]) -> f64 {
    mean(values.iter().map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A week whose trainings run at this speed, and take as much more energy as they are slower.
    fn week(speed: f64) -> Record {
        Record {
            speeds: BTreeMap::from([("Ours".to_owned(), vec![speed])]),
            energies: BTreeMap::from([("Ours (nodes)".to_owned(), vec![1e4 / speed])]),
            definition: Some("a".into()),
            hardware: Some("x".into()),
            ..Record::default()
        }
    }

    /// Speeds with a spread of half a percent, alternating.
    fn weeks(number: usize, loss_a_week: f64) -> Vec<Record> {
        let speed = |week: usize| 100.0 + [0.5, -0.5, 0.2, -0.2][week % 4] - loss_a_week * week as f64;
        (0..number).map(|number| week(speed(number))).collect()
    }

    /// One percent a week is below what a comparison with the newest run counts.
    #[test]
    fn a_percent_a_week_is_a_drift_and_none_is_none() {
        let verdict = |loss: f64| {
            let mut runs = weeks(16, loss);
            let candidate = runs.pop().unwrap();
            let found = drifts(&Baseline::Series(runs), &candidate, 0.05).unwrap();
            assert_eq!((found.len(), found[0].series), (2, "drift"));
            assert_eq!(found[1].name, "Ours (nodes), Wh per million views of a run, over 16 runs");
            assert_eq!(found[1].verdict, found[0].verdict);
            (found[0].verdict, found[0].gain)
        };
        assert_eq!(verdict(0.0).0, Verdict::Ok);
        let (drift, gain) = verdict(1.0);
        assert_eq!(drift, Verdict::Regression);
        assert!(gain < -3.0, "{gain}");
    }

    #[test]
    fn little_history_and_single_runs_have_no_drift() {
        let found = drifts(&Baseline::Series(weeks(4, 9.0)), &week(1.0), 0.05).unwrap();
        assert!(found.is_empty());
        assert!(drifts(&Baseline::from(week(100.0)), &week(1.0), 0.05).unwrap().is_empty());
    }
}
