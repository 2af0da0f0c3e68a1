//! Columns of tables: one quantity for every method, its best entry, and the rows and notes of several
//! columns.

use std::collections::BTreeMap;

use eqr_probes::stats::{Summary, holm};

use super::legend::{LEVEL, SEEDS};
use super::numbers::Unit;
use super::table::{Mark, Note, Role, Row, TableEntry};
use super::values::Sample;
use crate::registry::Better;

/// A ceiling this close to the floor leaves no room for differences between methods.
pub const ROOM: f64 = 0.1;

/// What is said of a column whose ceiling leaves no room.
pub const NO_CEILING: &str = "no ceiling at this budget";

/// One quantity for every method.
pub struct Column {
    /// A task or a data set.
    pub subject: String,
    /// Name of its measure: `R2`, `top-1`; may be empty.
    pub measure: String,
    /// One sample per method, in the order of the rows.
    pub samples: Vec<MethodSample>,
    /// Which way it improves.
    pub better: Better,
}

/// A method's place in a column.
pub struct MethodSample {
    /// The method.
    pub method: String,
    /// What its row is for.
    pub role: Role,
    /// Its values, if it has any.
    pub sample: Option<Sample>,
}

/// The best contestant of a column.
struct Best {
    /// Its index among the methods.
    place: usize,
    /// The index of the runner-up, if there is only one.
    runner_up: Option<usize>,
    /// p value of their difference.
    p: Option<f64>,
}

impl Column {
    /// A column of these samples, one per method; larger is better.
    pub fn new(
        subject: &str,
        measure: &str,
        methods: &[String],
        sample: impl Fn(&str) -> Option<Sample>,
    ) -> Self {
        let of_method = |method: &String| MethodSample {
            method: method.clone(),
            role: Role::from_row(method),
            sample: sample(method),
        };
        Column {
            subject: subject.to_owned(),
            measure: measure.to_owned(),
            samples: methods.iter().map(of_method).collect(),
            better: Better::Higher,
        }
    }

    /// The same column without a ceiling: a method trained to read transformations is not a ceiling for
    /// reading classes.
    pub fn without_ceiling(mut self) -> Self {
        for method in self.samples.iter_mut().filter(|method| method.role == Role::Ceiling) {
            method.role = Role::Reference;
        }
        self
    }

    /// Subject and measure.
    pub fn heading(&self) -> String {
        format!("{} {}", self.subject, self.measure).trim().to_owned()
    }

    /// Whether any method has a value.
    pub fn has_values(&self) -> bool {
        self.samples.iter().any(|method| method.sample.is_some())
    }

    /// The values of a method, if it has any.
    pub fn sample(&self, method: &str) -> Option<&Sample> {
        self.samples.iter().find(|found| found.method == method)?.sample.as_ref()
    }

    /// Summaries of the methods that have values.
    pub fn summaries(&self) -> impl Iterator<Item = Summary> {
        self.samples.iter().filter_map(|method| method.sample.as_ref()?.summary())
    }

    /// Summaries of the methods that have values of several trainings, or could have them.
    pub fn repeatable(&self) -> impl Iterator<Item = Summary> {
        let samples = self.samples.iter().filter_map(|method| method.sample.as_ref());
        samples.filter(|sample| !sample.is_fixed()).filter_map(Sample::summary)
    }

    /// The largest mean among the rows of this role. Several ceilings may have been trained with different
    /// budgets. Those that were trained for another task alone do not count.
    pub fn level(&self, role: Role) -> Option<f64> {
        let counts = |method: &&MethodSample| {
            let own_task = Role::own_task(&method.method);
            method.role == role && own_task.is_none_or(|task| task == self.subject)
        };
        let means = self.samples.iter().filter(counts);
        means.filter_map(|method| Some(method.sample.as_ref()?.summary()?.mean)).max_by(f64::total_cmp)
    }

    /// The floor and the ceiling, if both are measured.
    pub fn floor_and_ceiling(&self) -> Option<(f64, f64)> {
        self.level(Role::Floor).zip(self.level(Role::Ceiling))
    }

    /// Whether the ceiling is measured and is not [`ROOM`] above the floor.
    pub fn lacks_ceiling(&self) -> bool {
        self.floor_and_ceiling().is_some_and(|(floor, ceiling)| ceiling - floor < ROOM)
    }

    /// The method's mean, with the floor as 0 and the ceiling as 1; `None` if the column lacks either.
    pub fn normalised(&self, method: &str) -> Option<f64> {
        let (floor, ceiling) = self.floor_and_ceiling().filter(|_| !self.lacks_ceiling())?;
        Some((self.sample(method)?.summary()?.mean - floor) / (ceiling - floor))
    }

    /// The best contestant, if there are at least two and no tie, if it is better than the floor, and if it
    /// has at least [`SEEDS`] seeds.
    fn best(&self) -> Option<Best> {
        let sign = if self.better == Better::Lower { -1.0 } else { 1.0 };
        let methods = self.samples.iter().enumerate().filter(|(_, method)| method.role == Role::Contestant);
        let samples = methods.filter_map(|(place, method)| Some((place, method.sample.as_ref()?)));
        let ranked =
            samples.filter_map(|(place, sample)| Some((place, sample, sign * sample.summary()?.mean)));
        let mut ranking: Vec<(usize, &Sample, f64)> = ranked.collect();
        ranking.sort_by(|(.., a), (.., b)| b.total_cmp(a));
        let floor = self.level(Role::Floor).map(|floor| sign * floor);
        match ranking[..] {
            [(place, first, a), (second, runner_up, b), ref others @ ..]
                if a > b && first.summary()?.n >= SEEDS && floor.is_none_or(|floor| a > floor) =>
            {
                let alone = others.first().is_none_or(|(.., c)| b > *c);
                let p = first.minus(runner_up).and_then(|contrast| contrast.difference.p);
                Some(Best { place, runner_up: alone.then_some(second), p })
            }
            _ => None,
        }
    }
}

/// The marked methods of every column, by index. The tests are corrected together.
fn marks(columns: &[Column]) -> Vec<Vec<(usize, Mark)>> {
    let best: Vec<Option<Best>> = columns.iter().map(Column::best).collect();
    let p: Vec<f64> = best.iter().filter_map(|best| best.as_ref()?.p).collect();
    let mut corrected = holm(&p).into_iter();
    let mut mark = |best: Best| {
        let significant = best.p.and_then(|_| corrected.next()).is_some_and(|p| p < LEVEL);
        let first = (best.place, if significant { Mark::Significant } else { Mark::Best });
        std::iter::once(first).chain(best.runner_up.map(|place| (place, Mark::Second))).collect()
    };
    best.into_iter().map(|best| best.map_or_else(Vec::new, &mut mark)).collect()
}

/// The rows of a table of these columns, which have the same methods.
pub fn rows(columns: &[Column]) -> Vec<Row> {
    let entries: Vec<Vec<TableEntry>> = entries(columns);
    let methods = columns.first().map_or(&[][..], |column| &column.samples);
    let row = |(place, method): (usize, &MethodSample)| Row {
        label: method.method.clone(),
        role: method.role,
        entries: entries.iter().map(|column| column[place].clone()).collect(),
    };
    methods.iter().enumerate().map(row).collect()
}

/// The rows of a table whose columns are the methods: one row per column of `columns`.
pub fn transposed_rows(columns: &[Column]) -> Vec<Row> {
    let row = |(column, entries): (&Column, Vec<TableEntry>)| Row {
        label: column.subject.clone(),
        role: Role::Contestant,
        entries,
    };
    columns.iter().zip(entries(columns)).map(row).collect()
}

/// The entries of every column, one per method.
fn entries(columns: &[Column]) -> Vec<Vec<TableEntry>> {
    let usual_n = usual_n(columns);
    let of_column = |(column, marked): (&Column, Vec<(usize, Mark)>)| {
        let entry = |(place, method): (usize, &MethodSample)| {
            let mark =
                marked.iter().find(|(marked, _)| *marked == place).map_or(Mark::None, |(_, mark)| *mark);
            let Some(sample) = &method.sample else { return TableEntry::Missing };
            let Some(summary) = sample.summary() else { return TableEntry::Missing };
            let show_n = summary.n != usual_n && !sample.is_fixed();
            TableEntry::Estimate { summary, values: sample.values(), mark, show_n, unit: Unit::Share }
        };
        column.samples.iter().enumerate().map(entry).collect()
    };
    columns.iter().zip(marks(columns)).map(of_column).collect()
}

/// The largest number of seeds of any value in these columns.
fn usual_n(columns: &[Column]) -> usize {
    columns.iter().flat_map(Column::summaries).map(|summary| summary.n).max().unwrap_or(0)
}

/// A note on how to read the entries of these columns. `draws` names the draws that a seed's value is
/// averaged over, if it has several.
pub fn reading_note(columns: &[Column], draws: Option<&str>) -> Note {
    let usual_n = usual_n(columns);
    if usual_n == 0 {
        return Note::Plain("No value of this table is measured yet.".to_owned());
    }
    let varies = columns.iter().flat_map(Column::repeatable).any(|summary| summary.n != usual_n);
    let unless = if varies { " unless another n is given" } else { "" };
    let seeds = if usual_n == 1 { "seed" } else { "seeds" };
    let draws =
        draws.map(|draws| format!("; a seed's value is the mean over its {draws}")).unwrap_or_default();
    Note::Plain(format!(
        "Mean ± sample standard deviation [95% Student interval] over {usual_n} pretraining {seeds}{unless}{draws}."
    ))
}

/// A note that a single seed has no spread.
pub fn single_note(columns: &[Column]) -> Option<Note> {
    let single = columns.iter().flat_map(Column::repeatable).any(|summary| summary.n == 1);
    single.then(|| {
        Note::Plain("n = 1: one pretraining seed has no standard deviation and no interval.".to_owned())
    })
}

/// A note on the rows of a single encoder that was trained elsewhere.
pub fn fixed_note(columns: &[Column]) -> Option<Note> {
    let samples = columns.iter().flat_map(|column| &column.samples);
    let fixed = samples.filter_map(|method| {
        let sample = method.sample.as_ref().filter(|sample| sample.is_fixed())?;
        Some((method.method.as_str(), sample.draws_of_one().is_some()))
    });
    let fixed: BTreeMap<&str, bool> = fixed.collect();
    let names = |resampled: bool| {
        let names = fixed.iter().filter(|(_, has_draws)| **has_draws == resampled).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join("; ")
    };
    let sentences = [
        (names(true), "its interval is a bootstrap over test objects, and holds no spread over seeds"),
        (names(false), "without a spread over seeds"),
    ];
    let said = sentences.into_iter().filter(|(names, _)| !names.is_empty());
    let said: Vec<String> =
        said.map(|(names, what)| format!("{names}: one training, made elsewhere; {what}.")).collect();
    (!said.is_empty()).then(|| Note::Plain(said.join(" ")))
}

/// A note on how many entries are still missing.
pub fn missing_note(columns: &[Column]) -> Option<Note> {
    let all: usize = columns.iter().map(|column| column.samples.len()).sum();
    let missing = all - columns.iter().flat_map(Column::summaries).count();
    (missing > 0).then(|| Note::Plain(format!("{missing} of {all} entries are not measured (`-`).")))
}
