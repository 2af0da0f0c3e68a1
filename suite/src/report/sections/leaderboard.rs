//! Encoders in order of what they hold of the transformations, each beside its own floor: the same
//! architecture with random weights.

use super::section::Section;
use crate::registry::TaskFamily;
use crate::report::column::Column;
use crate::report::context::ReportContext;
use crate::report::numbers::Unit;
use crate::report::sections::scores::headline_columns;
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};
use crate::report::values::{Sample, Values};
use crate::suite_file::external_rows::floor_name;

/// Fewest encoders with a floor of their own that make a leaderboard.
const FEWEST: usize = 2;

/// The score of a ceiling where none is measured: an R2 of 1.
const PERFECT: f64 = 1.0;

/// An encoder with its floor.
struct Place<'a> {
    method: &'a str,
    /// For each column its values, those of its floor, and the score; `None` if either is not measured.
    scores: Vec<Option<Score<'a>>>,
    /// Mean score of all columns, if it has them all.
    mean: Option<Sample>,
}

struct Score<'a> {
    value: &'a Sample,
    floor: &'a Sample,
    /// (R2 - floor) / (ceiling - floor).
    normalised: Sample,
}

/// One row per encoder that has a floor, the best first.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let is_transformation =
        |column: &Column| TaskFamily::of_task(&column.subject) == TaskFamily::Transformation;
    let mut columns = headline_columns(values, context);
    columns.retain(|column| is_transformation(column) && column.has_values());
    let mut places: Vec<Place> =
        context.methods.iter().filter_map(|method| Place::of(method, &columns)).collect();
    if places.len() < FEWEST {
        return vec![];
    }
    let mean = |place: &Place| place.mean.as_ref().and_then(Sample::summary).map(|summary| summary.mean);
    let key = |place: &Place| mean(place).unwrap_or(f64::NEG_INFINITY);
    places.sort_by(|a, b| key(b).total_cmp(&key(a)));
    let headings = columns.iter().flat_map(|Column { subject, measure, .. }| {
        [format!("{subject} {measure}"), format!("{subject} floor"), format!("{subject} score")]
    });
    let headings = std::iter::once("mean score".to_owned()).chain(headings).collect();
    let rows = places.iter().map(Place::row).collect();
    vec![section.table("encoder", headings, rows, notes(&columns))]
}

fn notes(columns: &[Column]) -> Vec<Note> {
    let (with, without): (Vec<&Column>, Vec<&Column>) =
        columns.iter().partition(|column| measured_ceiling(column).is_some());
    let subjects = |columns: &[&Column]| {
        columns.iter().map(|column| column.subject.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut ceilings = Vec::new();
    if !with.is_empty() {
        ceilings.push(format!("the suite's ceiling row for {}", subjects(&with)));
    }
    if !without.is_empty() {
        ceilings.push(format!("an R2 of 1 for {}, which have no measured ceiling", subjects(&without)));
    }
    vec![Note::Plain(format!(
        "Score: (R2 - floor) / (ceiling - floor). The floor is the same architecture with random weights, the \
         ceiling {}. Intervals are those of the tables above, with the ceiling as a fixed number.",
        ceilings.join(", and ")
    ))]
}

/// The ceiling row's value, if it leaves room above the suite's floor.
fn measured_ceiling(column: &Column) -> Option<f64> {
    column.level(Role::Ceiling).filter(|_| !column.lacks_ceiling())
}

impl<'a> Place<'a> {
    /// The encoder `method`; `None` if no column has its floor.
    fn of(method: &'a str, columns: &'a [Column]) -> Option<Place<'a>> {
        let floor = floor_name(method);
        let score = |column: &'a Column| {
            let (value, floor) = (column.sample(method)?, column.sample(&floor)?);
            let ceiling = measured_ceiling(column).unwrap_or(PERFECT);
            Some(Score { value, floor, normalised: value.normalised(floor, ceiling)? })
        };
        let scores: Vec<Option<Score>> = columns.iter().map(score).collect();
        scores.iter().any(Option::is_some).then(|| {
            let all: Option<Vec<&Sample>> =
                scores.iter().map(|score| score.as_ref().map(|score| &score.normalised)).collect();
            Place { method, mean: all.and_then(|all| Sample::mean(&all)), scores }
        })
    }

    fn row(&self) -> Row {
        let of_score = |score: &Option<Score>| match score {
            Some(Score { value, floor, normalised }) => [*value, *floor, normalised].map(entry),
            None => [TableEntry::Missing, TableEntry::Missing, TableEntry::Missing],
        };
        let mean = self.mean.as_ref().map_or(TableEntry::Missing, entry);
        Row {
            label: self.method.to_owned(),
            role: Role::Contestant,
            entries: std::iter::once(mean).chain(self.scores.iter().flat_map(of_score)).collect(),
        }
    }
}

fn entry(sample: &Sample) -> TableEntry {
    match sample.summary() {
        Some(summary) => TableEntry::Estimate {
            summary,
            values: sample.values(),
            mark: Mark::None,
            show_n: false,
            unit: Unit::Share,
        },
        None => TableEntry::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, rotation_and_color};
    use crate::report::numbers::Numbers;
    use crate::run_folder::cell::Cell;

    fn leaderboard(cells: &[Cell], methods: &[&str]) -> Vec<Table> {
        let section = section("leaderboard", Group::Training);
        (section.tables)(section, &Values::at_end(cells), &context(&["rotation", "color"], methods))
    }

    fn words(table: &Table, row: usize) -> Vec<String> {
        table.rows[row].entries.iter().map(|entry| entry.words(Numbers::default())[0].clone()).collect()
    }

    #[test]
    fn encoders_are_in_order_of_their_mean_score() {
        let cell = |name: &str, rotation, color| Cell {
            external: true,
            ..rotation_and_color(name, 0, rotation, color)
        };
        let cells = [
            cell("Low", 0.2, 0.6),
            cell("Low, random weights", 0.1, 0.5),
            cell("High", 0.55, 0.75),
            cell("High, random weights", 0.1, 0.5),
            cell("Without a floor", 0.9, 0.9),
        ];
        let methods = ["Low", "Low, random weights", "High", "High, random weights", "Without a floor"];
        let tables = leaderboard(&cells, &methods);
        let table = &tables[0];
        let labels: Vec<&str> = table.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["High", "Low"]);
        let headings = [
            "mean score",
            "rotation R2",
            "rotation floor",
            "rotation score",
            "color R2",
            "color floor",
            "color score",
        ];
        assert_eq!(table.columns, headings);
        // (0.55 - 0.1) / (1 - 0.1) and (0.75 - 0.5) / (1 - 0.5)
        assert_eq!(words(table, 0), ["0.500", "0.550", "0.100", "0.500", "0.750", "0.500", "0.500"]);
        assert_eq!(words(table, 1), ["0.156", "0.200", "0.100", "0.111", "0.600", "0.500", "0.200"]);
        assert!(leaderboard(&cells[2..], &methods[2..]).is_empty(), "one encoder is no leaderboard");
    }

    #[test]
    fn a_measured_ceiling_is_a_score_of_one() {
        let cell = |name: &str, rotation, color| rotation_and_color(name, 0, rotation, color);
        let external = |name: &str, rotation, color| Cell { external: true, ..cell(name, rotation, color) };
        let cells = [
            cell("Random init", 0.1, 0.5),
            cell("Direct regression", 0.5, 0.55),
            external("A", 0.5, 0.7),
            external("A, random weights", 0.3, 0.4),
            external("B", 0.3, 0.7),
            external("B, random weights", 0.1, 0.4),
        ];
        let methods =
            ["Random init", "Direct regression", "A", "A, random weights", "B", "B, random weights"];
        let tables = leaderboard(&cells, &methods);
        // rotation: its ceiling is 0.5; color: 0.55 is not 0.1 above the suite's floor, so 1 is the ceiling
        assert_eq!(words(&tables[0], 0)[1..4], ["0.500", "0.300", "1.000"]);
        assert_eq!(words(&tables[0], 0)[4..], ["0.700", "0.400", "0.500"]);
        let Note::Plain(note) = &tables[0].notes[0] else { panic!("a note") };
        assert!(note.contains("ceiling row for rotation, and an R2 of 1 for color"), "{note}");
    }
}
