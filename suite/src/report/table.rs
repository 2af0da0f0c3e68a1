//! A table, independent of its format: title, rows, typed entries and notes. Formats know nothing of cells,
//! and the sections that build tables know nothing of Markdown.

use eqr_models::MethodKind;
use eqr_models::methods::TransformName;
use eqr_probes::stats::{Difference, Summary};

use super::numbers::{Numbers, Unit, probability};
use crate::suite_file::external_rows::is_floor_name;
use crate::suite_file::plan::method_name;

/// Orientation of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One row per method, or per anything else that has columns of numbers.
    MethodsInRows,
    /// One column per method.
    MethodsInColumns,
    /// Rows of one sentence each.
    Sentences,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name of its section in the CSV.
    pub section: &'static str,
    /// Its orientation.
    pub layout: Layout,
    /// Heading.
    pub title: String,
    /// Heading of the row labels.
    pub stub: &'static str,
    /// Headings of the entries.
    pub columns: Vec<String>,
    /// Rows, each with one entry per column.
    pub rows: Vec<Row>,
    /// Lines below the table.
    pub notes: Vec<Note>,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// First column.
    pub label: String,
    /// What the row is for.
    pub role: Role,
    /// One entry per column.
    pub entries: Vec<TableEntry>,
}

/// What a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Competes for the best value of a column.
    Contestant,
    /// The untrained encoder.
    Floor,
    /// Trained on what is measured.
    Ceiling,
    /// Any other row that the contestants are compared with.
    Reference,
}

impl Role {
    /// The role of the row of this name.
    pub fn from_row(row: &str) -> Role {
        match method_name(row).parse() {
            Ok(MethodKind::RandomInit) => Role::Floor,
            Ok(MethodKind::Direct(_)) => Role::Ceiling,
            Ok(MethodKind::PixelPca { .. }) => Role::Reference,
            _ if is_floor_name(row) => Role::Reference,
            _ => Role::Contestant,
        }
    }

    /// The only task that the ceiling of this name was trained for; `None` for other rows, and for a ceiling
    /// of all tasks.
    pub fn own_task(row: &str) -> Option<&'static str> {
        match method_name(row).parse() {
            Ok(MethodKind::Direct(transform)) => transform.map(TransformName::task),
            _ => None,
        }
    }

    /// The text after the label that tells readers the role.
    pub fn suffix(self) -> &'static str {
        match self {
            Role::Floor => " (floor)",
            Role::Ceiling => " (ceiling)",
            Role::Contestant | Role::Reference => "",
        }
    }
}

/// An entry of a table.
#[derive(Clone, Debug)]
pub enum TableEntry {
    /// Not measured, or not yet.
    Missing,
    /// A mean over pretraining seeds.
    Estimate {
        /// Summary over the seeds.
        summary: Summary,
        /// One value per seed.
        values: Vec<f64>,
        /// Its mark among the methods.
        mark: Mark,
        /// Whether the number of seeds is printed, because it differs from the table's usual number.
        show_n: bool,
        /// What the values count.
        unit: Unit,
    },
    /// A value reported elsewhere.
    Reported {
        /// The value.
        value: f64,
        /// Its standard deviation, if given.
        std: Option<f64>,
    },
    /// A plain value.
    Number(f64),
    /// A share of 1.
    Share(f64),
    /// The difference between two methods.
    Difference(Difference),
    /// A p value.
    Probability(f64),
    /// Words.
    Text(String),
}

/// Rank of an estimate among those of the other methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Neither the best nor the runner-up.
    None,
    /// The runner-up, if there is only one.
    Second,
    /// The best.
    Best,
    /// The best, and significantly better than the runner-up.
    Significant,
}

/// A line below a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// How to read the table.
    Plain(String),
    /// Why the table is not to be trusted.
    Warning(String),
}

impl TableEntry {
    /// The estimate from one value per seed; missing if there are no values.
    pub fn estimate(values: Vec<f64>, mark: Mark, show_n: bool, unit: Unit) -> TableEntry {
        match Summary::from_values(&values) {
            Ok(summary) => TableEntry::Estimate { summary, values, mark, show_n, unit },
            Err(_) => TableEntry::Missing,
        }
    }

    /// The mark, if the entry can have one.
    pub fn mark(&self) -> Mark {
        match self {
            TableEntry::Estimate { mark, .. } => *mark,
            _ => Mark::None,
        }
    }

    /// The entry in words: the value, followed by its details.
    pub fn words(&self, numbers: Numbers) -> Vec<String> {
        match self {
            TableEntry::Missing => vec!["-".to_owned()],
            TableEntry::Estimate { summary, show_n, unit, .. } => numbers.estimate(summary, *show_n, *unit),
            TableEntry::Reported { value, std } => vec![numbers.with_std(*value, *std, Unit::Share)],
            TableEntry::Number(value) => vec![numbers.value(*value, Unit::Other)],
            TableEntry::Share(value) => vec![numbers.value(*value, Unit::Share)],
            TableEntry::Difference(Difference { mean, ci95, .. }) => {
                let difference = Some(numbers.signed(*mean, Unit::Share));
                [difference, numbers.interval(*ci95, Unit::Share)].into_iter().flatten().collect()
            }
            TableEntry::Probability(p) => vec![probability(*p)],
            TableEntry::Text(text) => vec![text.clone()],
        }
    }
}

impl Table {
    /// Whether any entry holds something.
    pub fn has_values(&self) -> bool {
        self.entries().any(|entry| !matches!(entry, TableEntry::Missing))
    }

    /// Whether any entry is a mean over pretraining seeds of this run.
    pub fn has_estimates(&self) -> bool {
        self.entries().any(|entry| matches!(entry, TableEntry::Estimate { .. }))
    }

    /// Adds a note that shares stand in percent, if there are any.
    pub fn say_percent(&mut self) {
        let is_share = |entry: &TableEntry| match entry {
            TableEntry::Estimate { unit, .. } => *unit == Unit::Share,
            TableEntry::Reported { .. } | TableEntry::Share(_) | TableEntry::Difference(_) => true,
            _ => false,
        };
        if self.entries().any(is_share) {
            self.notes.push(Note::Plain("R2 and accuracies, and their differences, in percent.".to_owned()));
        }
    }

    /// Whether the methods that compete for a mark share a `column` or a `row`.
    pub fn contest(&self) -> &'static str {
        if self.layout == Layout::MethodsInColumns { "row" } else { "column" }
    }

    /// Whether any entry is marked as the best.
    pub fn has_marks(&self) -> bool {
        self.entries().any(|entry| entry.mark() != Mark::None)
    }

    fn entries(&self) -> impl Iterator<Item = &TableEntry> {
        self.rows.iter().flat_map(|row| &row.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_has_neither_std_nor_interval() {
        let entry = TableEntry::estimate(vec![0.5], Mark::None, true, Unit::Share);
        assert_eq!(entry.words(Numbers::default()), ["0.500", "(n = 1)"]);
    }
}
