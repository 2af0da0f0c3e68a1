//! The weeks of a series: every task and method, speed and energy over its runs, with changes of definition
//! and hardware and the alarms of drift.

mod page;
mod sparkline;
mod terminal;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use eqr_probes::drift::cusum_of_drops;
pub use page::{PAGE, page};
use serde::Serialize;
pub use terminal::text;

use crate::report::compare::{Baseline, Rate, Record, alarm_limit};
use crate::report::mean::mean;

/// The runs of a series and their values.
#[derive(Debug, Serialize)]
pub struct History {
    runs: Vec<Run>,
    /// Qualities by name, then speeds, then energies.
    lines: Vec<Line>,
}

/// A run of a series.
#[derive(Debug, Serialize)]
struct Run {
    name: String,
    /// When it was started, RFC 3339.
    started: String,
    /// Whether it measures something else than the run before: a new series of all values.
    new_definition: bool,
    /// Whether it ran on other hardware than the run before: a new series of speeds and energies.
    new_hardware: bool,
}

/// A value of every run.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    kind: Kind,
    points: Vec<Point>,
}

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Quality,
    Speed,
    Energy,
}

impl Kind {
    /// All, in the order of the lines.
    const ALL: [Kind; 3] = [Kind::Quality, Kind::Speed, Kind::Energy];

    /// Heading of its lines.
    fn heading(self) -> &'static str {
        match self {
            Kind::Quality => "Quality",
            Kind::Speed => "Speed",
            Kind::Energy => "Energy: less is better",
        }
    }

    /// The sign that makes larger values better.
    fn sign(self) -> f64 {
        if self == Kind::Energy { Rate::Energy.sign() } else { 1.0 }
    }
}

impl From<Rate> for Kind {
    fn from(rate: Rate) -> Kind {
        match rate {
            Rate::Speed => Kind::Speed,
            Rate::Energy => Kind::Energy,
        }
    }
}

/// A value of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Point {
    /// Place of the run.
    run: usize,
    /// Mean over the seeds or the trainings of the run.
    value: f64,
    verdict: Verdict,
}

/// What the drift alarm says after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// The values have become worse.
    Drift,
    /// The values have become better than the series before them explains, which is worth a look, too.
    Better,
}

impl History {
    /// Reads a folder of recorded runs. `false_alarms` is as for [`crate::report::compare::drifts`].
    ///
    /// # Errors
    /// A folder without recorded runs; a run that cannot be read.
    pub fn read(folder: &Path, false_alarms: f64) -> Result<History> {
        match Baseline::read(folder)? {
            Baseline::Series(records) => Ok(History::of(&records, false_alarms)),
            Baseline::Run(_) => bail!(
                "{} is a single run\nhint: name a folder that `eqr-bench record` fills",
                folder.display()
            ),
        }
    }

    fn of(records: &[Record], false_alarms: f64) -> History {
        let run = |(place, record): (usize, &Record)| {
            let changed = |of: fn(&Record) -> &Option<serde_json::Value>| {
                place > 0 && of(&records[place - 1]) != of(record)
            };
            Run {
                name: record.name.clone(),
                started: record.started.clone(),
                new_definition: changed(|record| &record.definition),
                new_hardware: changed(|record| &record.hardware),
            }
        };
        let runs: Vec<Run> = records.iter().enumerate().map(run).collect();
        let mut values: BTreeMap<(Kind, String), Vec<(usize, f64)>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            for (headline, of_seeds) in record.headlines.iter() {
                let value = mean(of_seeds.iter().map(|(_, value)| value));
                values.entry((Kind::Quality, headline.name())).or_default().push((place, value));
            }
            for rate in Rate::ALL {
                for (method, of_trainings) in rate.of(record) {
                    let name = format!("{method}, {}", rate.unit());
                    values.entry((rate.into(), name)).or_default().push((place, mean(of_trainings)));
                }
            }
        }
        let limit = alarm_limit(values.len(), false_alarms);
        let line = |((kind, name), values): ((Kind, String), Vec<(usize, f64)>)| {
            let points =
                series(&runs, kind, &values).flat_map(|series| judged(series, kind, limit)).collect();
            Line { name, kind, points }
        };
        History { lines: values.into_iter().map(line).collect(), runs }
    }
}

/// The values in pieces, within which they can be compared.
fn series<'a>(
    runs: &'a [Run],
    kind: Kind,
    values: &'a [(usize, f64)],
) -> impl Iterator<Item = &'a [(usize, f64)]> {
    let begins = move |run: &Run| run.new_definition || kind != Kind::Quality && run.new_hardware;
    values.chunk_by(move |(before, _), (after, _)| !runs[before + 1..=*after].iter().any(begins))
}

fn judged(series: &[(usize, f64)], kind: Kind, limit: f64) -> Vec<Point> {
    let values: Vec<f64> = series.iter().map(|(_, value)| kind.sign() * value).collect();
    let negative: Vec<f64> = values.iter().map(|value| -value).collect();
    let (drops, gains) = (cusum_of_drops(&values), cusum_of_drops(&negative));
    let verdict = |place: usize| match () {
        () if drops[place] > limit => Verdict::Drift,
        () if gains[place] > limit => Verdict::Better,
        () => Verdict::Ok,
    };
    let point =
        |(place, &(run, value)): (usize, &(usize, f64))| Point { run, value, verdict: verdict(place) };
    series.iter().enumerate().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week(number: usize, speed: f64, definition: &str, hardware: &str) -> Record {
        Record {
            name: format!("week-{number}"),
            speeds: BTreeMap::from([("Ours".to_owned(), vec![speed])]),
            energies: BTreeMap::from([("Ours (nodes)".to_owned(), vec![1e4 / speed])]),
            definition: Some(definition.into()),
            hardware: Some(hardware.into()),
            ..Record::default()
        }
    }

    fn wobble(number: usize) -> f64 {
        [0.5, -0.5, 0.2, -0.2][number % 4]
    }

    /// Ten weeks on one machine, then ten on one that is twice as fast and becomes 2% slower a week, then a
    /// new definition.
    #[test]
    fn changes_begin_new_series_and_a_drift_within_one_is_marked() {
        let mut records: Vec<Record> = (0..10).map(|n| week(n, 100.0 + wobble(n), "a", "x")).collect();
        records.extend((10..20).map(|n| week(n, 200.0 + wobble(n) - 4.0 * (n as f64 - 10.0), "a", "y")));
        records.push(week(20, 50.0, "b", "y"));
        let history = History::of(&records, 0.05);
        let marked = |of: fn(&Run) -> bool| -> Vec<usize> {
            (0..history.runs.len()).filter(|&place| of(&history.runs[place])).collect()
        };
        assert_eq!((marked(|run| run.new_hardware), marked(|run| run.new_definition)), (vec![10], vec![20]));
        let kinds: Vec<Kind> = history.lines.iter().map(|line| line.kind).collect();
        assert_eq!(kinds, [Kind::Speed, Kind::Energy]);
        // what becomes slower takes more
        let verdicts = |line: &Line| line.points.iter().map(|point| point.verdict).collect::<Vec<_>>();
        let [speed, energy] = [0, 1].map(|line| verdicts(&history.lines[line]));
        assert!(energy.contains(&Verdict::Drift) && speed[..10] == energy[..10], "{speed:?} {energy:?}");
        let points = &history.lines[0].points;
        let drifting: Vec<usize> =
            points.iter().filter(|point| point.verdict == Verdict::Drift).map(|point| point.run).collect();
        assert!(points[..10].iter().all(|point| point.verdict == Verdict::Ok));
        assert!(!drifting.is_empty() && drifting.iter().all(|run| (10..20).contains(run)), "{drifting:?}");
        assert_eq!(points[20].verdict, Verdict::Ok);
        let before_the_new_definition = History::of(&records[..20], 0.05);
        let text = text(&before_the_new_definition);
        assert!(text.starts_with("20 runs, from week-0 to week-19\n"), "{text}");
        assert!(
            text.contains(", drift  Ours, steps/s") && text.contains("week-10: other hardware"),
            "{text}"
        );
        let page = page(&before_the_new_definition, "a series");
        // what is drawn is closed, or it would contain what follows
        for shape in ["line", "polyline", "circle"] {
            let [opened, closed] =
                [format!("<{shape} "), format!("</{shape}>")].map(|tag| page.matches(&tag).count());
            assert!(opened > 0 && opened == closed, "{shape}: {opened} {closed}");
        }
        assert!(page.contains("<svg") && page.contains("week-19: 16") && page.contains(", drift"), "{page}");
    }
}
