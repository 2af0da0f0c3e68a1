//! A table before it has a look: titles, rows, typed entries and notes. The renderers know nothing of cells, and the sections
//! that build tables know nothing of Markdown.

use eqr_probes::stats::{Difference, Summary};

use crate::suite_file::plan::method_name;

/// What a table shows. One document holds at most one of each, save [`Section::Differences`] (one a family of tests), [`Section::Classes`]
/// (one a data set), [`Section::Retrieval`] (one a split) and [`Section::Paper`] (one a table of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Headline metrics of the representation y.
    Main,
    /// The same with the quadrant means beside y.
    Grid,
    /// Linear probes of y in closed form.
    Linear,
    /// Probes of the invariant half of y.
    Inv,
    /// Probes of the equivariant half of y.
    Equi,
    /// Rotations as quaternions with w >= 0.
    Canonical,
    /// Measures of y that need no probe.
    Geometry,
    /// Probes on pairs that differ by all transforms at once.
    Combined,
    /// Pooled R2 beside the constant predictor's.
    Pooled,
    /// Probes trained on permuted targets.
    Shuffled,
    /// Pairs of methods.
    Differences,
    /// Spread between pretraining seeds and between probe seeds.
    Variance,
    /// Views of an object found by a predictor.
    Retrieval,
    /// Errors of the reconstruction with exchanged inputs.
    Reconstruction,
    /// Linear classification of other data sets.
    Transfer,
    /// Nearest neighbours on other data sets.
    Neighbours,
    /// Segmentation of other data sets.
    Segmentation,
    /// Segmentation class by class.
    Classes,
    /// The paper's values beside this run's.
    Paper,
    /// Every choice behind the numbers.
    Protocol,
}

impl Section {
    /// Name in the CSV of a table.
    pub fn name(self) -> &'static str {
        match self {
            Section::Main => "main",
            Section::Grid => "grid",
            Section::Linear => "linear",
            Section::Inv => "inv",
            Section::Equi => "equi",
            Section::Canonical => "canonical",
            Section::Geometry => "geometry",
            Section::Combined => "combined",
            Section::Pooled => "pooled",
            Section::Shuffled => "shuffled",
            Section::Differences => "differences",
            Section::Variance => "variance",
            Section::Retrieval => "retrieval",
            Section::Reconstruction => "reconstruction",
            Section::Transfer => "transfer",
            Section::Neighbours => "neighbours",
            Section::Segmentation => "segmentation",
            Section::Classes => "classes",
            Section::Paper => "paper",
            Section::Protocol => "protocol",
        }
    }

    /// Where the methods stand beside each other.
    pub fn methods_in(self) -> &'static str {
        if self == Section::Classes { "row" } else { "column" }
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it shows.
    pub section: Section,
    /// Heading.
    pub title: String,
    /// Heading of the row labels.
    pub stub: &'static str,
    /// Headings of the entries.
    pub columns: Vec<String>,
    /// Rows, each with one entry a column.
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
    /// One a column.
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
    /// Anything else that the others are held against.
    Reference,
}

impl Role {
    /// The role of a method by its name.
    pub fn of(method: &str) -> Role {
        match method_name(method) {
            "Random init" => Role::Floor,
            "Direct regression" => Role::Ceiling,
            _ => Role::Contestant,
        }
    }

    /// What a reader sees of it behind the label.
    pub fn suffix(self) -> &'static str {
        match self {
            Role::Floor => " (floor)",
            Role::Ceiling => " (ceiling)",
            Role::Contestant | Role::Reference => "",
        }
    }
}

/// One place of a table.
#[derive(Clone, Debug)]
pub enum TableEntry {
    /// Not measured, or not yet.
    Missing,
    /// A mean over pretraining seeds.
    Estimate {
        /// Over the seeds.
        summary: Summary,
        /// One a seed.
        values: Vec<f64>,
        /// Whether it is the best of the methods.
        mark: Mark,
        /// Whether the number of seeds is printed, because it is not the table's usual one.
        show_n: bool,
    },
    /// A value as somebody else reports it.
    Reported {
        /// The value.
        value: f64,
        /// Its standard deviation, where given.
        std: Option<f64>,
    },
    /// A plain value.
    Number(f64),
    /// The difference of two methods.
    Difference(Difference),
    /// A p value.
    Probability(f64),
    /// Words.
    Text(String),
}

/// Standing of an estimate among those of the other methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Neither the best nor the runner-up.
    None,
    /// The runner-up, where it is alone.
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
    /// Why not to trust it.
    Warning(String),
}

impl TableEntry {
    /// The estimate of one value a seed; missing where there is none.
    pub fn estimate(values: Vec<f64>, mark: Mark, show_n: bool) -> TableEntry {
        match Summary::from_values(&values) {
            Ok(summary) => TableEntry::Estimate { summary, values, mark, show_n },
            Err(_) => TableEntry::Missing,
        }
    }

    /// The mark, where the entry can have one.
    pub fn mark(&self) -> Mark {
        match self {
            TableEntry::Estimate { mark, .. } => *mark,
            _ => Mark::None,
        }
    }

    /// The entry in words: the value, then what belongs under it or behind it.
    pub fn parts(&self) -> Vec<String> {
        match self {
            TableEntry::Missing => vec!["-".to_owned()],
            TableEntry::Estimate { summary, show_n, .. } => estimate_parts(summary, *show_n),
            TableEntry::Reported { value, std } => vec![with_std(*value, *std)],
            TableEntry::Number(value) => vec![number(*value)],
            TableEntry::Difference(difference) => {
                [Some(signed(difference.mean)), difference.ci95.map(interval)].into_iter().flatten().collect()
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

    /// Whether any entry is marked as the best.
    pub fn has_marks(&self) -> bool {
        self.entries().any(|entry| entry.mark() != Mark::None)
    }

    fn entries(&self) -> impl Iterator<Item = &TableEntry> {
        self.rows.iter().flat_map(|row| &row.entries)
    }
}

fn estimate_parts(summary: &Summary, show_n: bool) -> Vec<String> {
    let n = show_n.then(|| format!("(n = {})", summary.n));
    [Some(with_std(summary.mean, summary.std)), summary.ci95.map(interval), n].into_iter().flatten().collect()
}

/// Three decimals, and no minus sign before a zero.
pub fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    if text == "-0.000" { "0.000".to_owned() } else { text }
}

fn signed(value: f64) -> String {
    let text = number(value);
    if text.starts_with('-') || text == "0.000" { text } else { format!("+{text}") }
}

fn with_std(value: f64, std: Option<f64>) -> String {
    match std {
        Some(std) => format!("{} ± {}", number(value), number(std)),
        None => number(value),
    }
}

fn interval((low, high): (f64, f64)) -> String {
    format!("[{}, {}]", number(low), number(high))
}

fn probability(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_read() {
        assert_eq!(number(-0.0004), "0.000");
        assert_eq!(number(-0.0006), "-0.001");
        assert_eq!(signed(0.25), "+0.250");
        assert_eq!(signed(-0.25), "-0.250");
        assert_eq!(signed(0.0), "0.000");
        assert_eq!(probability(0.00001), "<0.0001");
        assert_eq!(probability(0.0456), "0.0456");
    }

    #[test]
    fn one_seed_has_neither_std_nor_interval() {
        let entry = TableEntry::estimate(vec![0.5], Mark::None, true);
        assert_eq!(entry.parts(), ["0.500", "(n = 1)"]);
    }
}
