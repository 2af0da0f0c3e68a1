//! Columns of tables: one quantity of every method, which of them is best, and the rows and notes that columns make together.

use eqr_probes::stats::{Summary, holm};

use super::table::{Mark, Note, Role, Row, TableEntry};
use super::values::Sample;

/// Level of the tests.
const LEVEL: f64 = 0.05;

/// A quantity of every method.
pub struct Column {
    /// What it is of: a task, a data set.
    pub subject: String,
    /// What it is measured in: `R2`, `top-1`; may be empty.
    pub measure: String,
    /// Every method, in the order of the rows.
    pub lines: Vec<MethodSample>,
    /// Whether a smaller value is better.
    pub lower_is_better: bool,
}

/// A method's place in a column.
pub struct MethodSample {
    /// The method.
    pub method: String,
    /// What it stands there for.
    pub role: Role,
    /// Its values, where it has some.
    pub sample: Option<Sample>,
}

/// The best contestant of a column.
struct Best {
    /// Its line.
    line: usize,
    /// The line of the runner-up, where it is alone.
    second: Option<usize>,
    /// p value of their difference.
    p: Option<f64>,
}

impl Column {
    /// A column of these samples, one a method; larger is better.
    pub fn new(
        subject: &str,
        measure: &str,
        methods: &[String],
        sample: impl Fn(&str) -> Option<Sample>,
    ) -> Self {
        let line = |method: &String| MethodSample {
            method: method.clone(),
            role: Role::of(method),
            sample: sample(method),
        };
        Column {
            subject: subject.to_owned(),
            measure: measure.to_owned(),
            lines: methods.iter().map(line).collect(),
            lower_is_better: false,
        }
    }

    /// Subject and measure.
    pub fn heading(&self) -> String {
        format!("{} {}", self.subject, self.measure).trim().to_owned()
    }

    /// Whether any method has a value.
    pub fn has_values(&self) -> bool {
        self.lines.iter().any(|line| line.sample.is_some())
    }

    /// The values of a method, where it has some.
    pub fn sample(&self, method: &str) -> Option<&Sample> {
        self.lines.iter().find(|line| line.method == method)?.sample.as_ref()
    }

    /// Summaries of the methods that have values.
    pub fn summaries(&self) -> impl Iterator<Item = Summary> {
        self.lines.iter().filter_map(|line| line.sample.as_ref()?.summary())
    }

    /// The largest mean of the rows of this role: a ceiling may have been trained by several budgets.
    pub fn mean_of(&self, role: Role) -> Option<f64> {
        let of_role = self.lines.iter().filter(|line| line.role == role);
        of_role.filter_map(|line| Some(line.sample.as_ref()?.summary()?.mean)).max_by(f64::total_cmp)
    }

    /// The best contestant, where there are two or more and it is no tie.
    fn best(&self) -> Option<Best> {
        let sign = if self.lower_is_better { -1.0 } else { 1.0 };
        let contestants = self.lines.iter().enumerate().filter(|(_, line)| line.role == Role::Contestant);
        let mut ranking: Vec<(usize, &Sample, f64)> = contestants
            .filter_map(|(i, line)| {
                line.sample.as_ref().and_then(|sample| Some((i, sample, sign * sample.summary()?.mean)))
            })
            .collect();
        ranking.sort_by(|(.., a), (.., b)| b.total_cmp(a));
        match ranking[..] {
            [(line, first, a), (second, runner_up, b), ref others @ ..] if a > b => {
                let alone = others.first().is_none_or(|(.., c)| b > *c);
                let p = first.minus(runner_up).and_then(|contrast| contrast.difference.p);
                Some(Best { line, second: alone.then_some(second), p })
            }
            _ => None,
        }
    }
}

/// For every column the marked lines; the tests are corrected together.
fn marks(columns: &[Column]) -> Vec<Vec<(usize, Mark)>> {
    let best: Vec<Option<Best>> = columns.iter().map(Column::best).collect();
    let p: Vec<f64> = best.iter().filter_map(|best| best.as_ref()?.p).collect();
    let mut corrected = holm(&p).into_iter();
    let mut mark = |best: Best| {
        let significant = best.p.and_then(|_| corrected.next()).is_some_and(|p| p < LEVEL);
        let first = (best.line, if significant { Mark::Significant } else { Mark::Best });
        std::iter::once(first).chain(best.second.map(|line| (line, Mark::Second))).collect()
    };
    best.into_iter().map(|best| best.map_or_else(Vec::new, &mut mark)).collect()
}

/// The rows of a table of these columns, which have the same lines.
pub fn rows(columns: &[Column]) -> Vec<Row> {
    let entries: Vec<Vec<TableEntry>> = encoder_runs(columns);
    let lines = columns.first().map_or(&[][..], |column| &column.lines);
    let row = |(i, line): (usize, &MethodSample)| Row {
        label: line.method.clone(),
        role: line.role,
        entries: entries.iter().map(|column| column[i].clone()).collect(),
    };
    lines.iter().enumerate().map(row).collect()
}

/// The rows of a table whose columns are the methods: one a column of `columns`.
pub fn transposed_rows(columns: &[Column]) -> Vec<Row> {
    let row = |(column, entries): (&Column, Vec<TableEntry>)| Row {
        label: column.subject.clone(),
        role: Role::Contestant,
        entries,
    };
    columns.iter().zip(encoder_runs(columns)).map(row).collect()
}

/// The entries of every column, one a line.
fn encoder_runs(columns: &[Column]) -> Vec<Vec<TableEntry>> {
    let usual_n = usual_n(columns);
    let of_column = |(column, marked): (&Column, Vec<(usize, Mark)>)| {
        let entry = |(i, line): (usize, &MethodSample)| {
            let mark = marked.iter().find(|(line, _)| *line == i).map_or(Mark::None, |(_, mark)| *mark);
            let values = line.sample.as_ref().map(Sample::values).unwrap_or_default();
            let show_n = values.len() != usual_n;
            TableEntry::estimate(values, mark, show_n)
        };
        column.lines.iter().enumerate().map(entry).collect()
    };
    columns.iter().zip(marks(columns)).map(of_column).collect()
}

/// The most seeds that a value of these columns has.
fn usual_n(columns: &[Column]) -> usize {
    columns.iter().flat_map(Column::summaries).map(|summary| summary.n).max().unwrap_or(0)
}

/// How to read the entries of these columns, each seed's value being the mean over its `draws`, if it has several.
pub fn reading_note(columns: &[Column], draws: Option<&str>) -> Note {
    let usual_n = usual_n(columns);
    if usual_n == 0 {
        return Note::Plain("No value of this table is measured yet.".to_owned());
    }
    let varies = columns.iter().flat_map(Column::summaries).any(|summary| summary.n != usual_n);
    let unless = if varies { " unless another n is given" } else { "" };
    let seeds = if usual_n == 1 { "seed" } else { "seeds" };
    let draws =
        draws.map(|draws| format!("; a seed's value is the mean over its {draws}")).unwrap_or_default();
    Note::Plain(format!(
        "Mean ± sample standard deviation [95% Student interval] over {usual_n} pretraining {seeds}{unless}{draws}."
    ))
}

/// That a single seed has no spread.
pub fn single_note(columns: &[Column]) -> Option<Note> {
    let single = columns.iter().flat_map(Column::summaries).any(|summary| summary.n == 1);
    single.then(|| {
        Note::Plain("n = 1: one pretraining seed has no standard deviation and no interval.".to_owned())
    })
}

/// How many entries are still missing.
pub fn missing_note(columns: &[Column]) -> Option<Note> {
    let all: usize = columns.iter().map(|column| column.lines.len()).sum();
    let missing = all - columns.iter().flat_map(Column::summaries).count();
    (missing > 0).then(|| Note::Plain(format!("{missing} of {all} entries are not measured (`-`).")))
}
