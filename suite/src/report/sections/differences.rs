//! Tests of the differences between methods.

use std::collections::BTreeSet;

use eqr_probes::stats::holm;

use super::pairs::pairs;
use super::section::Section;
use super::{scores, segmentation, transfer};
use crate::report::column::Column;
use crate::report::context::ReportContext;
use crate::report::legend::LEVEL;
use crate::report::table::{Note, Role, Row, Table, TableEntry};
use crate::report::values::{Contrast, Test, Values};

/// Differences in the headline of every task.
pub fn in_headlines(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    vec![table(section, context, &scores::headline_columns(values, context))]
}

/// Differences in linear transfer.
pub fn in_transfer(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    vec![table(section, context, &transfer::linear_columns(values, context))]
}

/// Differences in the headline of segmentation.
pub fn in_segmentation(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    vec![table(section, context, &segmentation::headline_columns(values, context))]
}

/// The differences in these columns, one after the other. Holm's correction treats their tests as one family.
fn table(section: &Section, context: &ReportContext, columns: &[Column]) -> Table {
    let pairs = pairs(context);
    let in_column = |column| pairs.iter().filter_map(move |pair| Comparison::new(column, *pair));
    let comparisons: Vec<Comparison> = columns.iter().flat_map(in_column).collect();
    let p: Vec<f64> = comparisons.iter().filter_map(|comparison| comparison.contrast.difference.p).collect();
    let mut corrected = holm(&p).into_iter();
    let rows = comparisons.iter().map(|comparison| {
        let holm_p = comparison.contrast.difference.p.and_then(|_| corrected.next());
        comparison.row(holm_p)
    });
    let columns =
        ["difference [95%]", "test", "p", "Holm p", "Hedges' g", "verdict"].map(str::to_owned).to_vec();
    section.table("what: first - second", columns, rows.collect(), notes(context, p.len(), &comparisons))
}

/// Two methods compared in one column.
struct Comparison {
    label: String,
    contrast: Contrast,
}

impl Comparison {
    /// `None` if one of the methods has no value.
    fn new(column: &Column, (first, second): (&str, &str)) -> Option<Comparison> {
        let contrast = column.sample(first)?.minus(column.sample(second)?)?;
        Some(Comparison { label: format!("{}: {first} - {second}", column.subject), contrast })
    }

    fn row(&self, holm_p: Option<f64>) -> Row {
        let Contrast { difference, test, .. } = &self.contrast;
        let probability = |p: Option<f64>| p.map_or(TableEntry::Missing, TableEntry::Probability);
        let test = match test {
            _ if difference.p.is_none() => "-",
            Test::Paired => "paired",
            Test::Welch => "Welch",
            Test::Sequential => "sequential",
            Test::Bootstrap => "bootstrap",
        };
        let entries = vec![
            TableEntry::Difference(difference.clone()),
            TableEntry::Text(test.to_owned()),
            probability(difference.p),
            probability(holm_p),
            self.contrast.hedges_g().map_or(TableEntry::Missing, TableEntry::Number),
            TableEntry::Text(self.verdict(holm_p).to_owned()),
        ];
        Row { label: self.label.clone(), role: Role::Contestant, entries }
    }

    fn verdict(&self, holm_p: Option<f64>) -> &'static str {
        match (self.contrast.difference.ci95, holm_p) {
            (Some(_), Some(p)) if p < LEVEL => "separates",
            (Some(_), Some(_)) => "open",
            _ => "not testable",
        }
    }
}

fn notes(context: &ReportContext, tests: usize, comparisons: &[Comparison]) -> Vec<Note> {
    let plain = [
        format!(
            "First less second: above zero the first is better. The interval is of this difference alone. \
             separates: Holm p < {LEVEL}; open: not; not testable: a single seed, or no spread at all."
        ),
        format!("Holm p: corrected for the {tests} tests of this table, and for no other's."),
        "paired: t test over pretraining seeds that both methods ran; Welch: of independent seeds. Hedges' \
         g: the difference in standard deviations (paired: of the differences, d_z; Welch: of the methods \
         pooled, Cohen's d), less what few seeds overstate it by in the mean; from three pairs or four seeds on."
            .to_owned(),
    ];
    let few: BTreeSet<String> =
        comparisons.iter().filter_map(|comparison| comparison.contrast.too_few()).collect();
    let warnings = few.into_iter().map(|why| Note::Warning(format!("{why}.")));
    let fixed = "The number of seeds depended on the claims, which have tests of their own. The tests of \
                 this table are for a number that is fixed beforehand, and are too optimistic here.";
    let fixed = context.looks.map(|_| Note::Warning(fixed.to_owned()));
    plain.map(Note::Plain).into_iter().chain(fixed).chain(warnings).collect()
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{self, context, probe, value};
    use crate::report::numbers::Numbers;
    use crate::run_folder::cell::Cell;

    fn table_of(cells: &[Cell], context: &ReportContext) -> Table {
        let section = section("differences", Group::Training);
        (section.tables)(section, &Values::at_end(cells), context).remove(0)
    }

    fn text(row: &Row) -> Vec<String> {
        row.entries.iter().map(|entry| entry.words(Numbers::default()).join(" ")).collect()
    }

    /// Paired differences 0.10, 0.14, 0.12: mean 0.12, standard error 0.02/sqrt(3), t = 10.392 on 2 degrees
    /// of freedom, interval 0.12 ± 4.3027 * 0.011547. p = 0.00913, which Holm doubles because of the second
    /// test. d_z = 6; times gamma(1) / gamma(1/2) = 0.5642 it is Hedges' g. With t(0.975, 2) + t(0.8, 2) =
    /// 5.364 and 1/sqrt(3), such tests find 3.1 standard deviations.
    #[test]
    fn a_clear_difference_separates() {
        let context = context(&["rotation", "color"], &["Ours", "VICReg"]);
        let cell = fixture::rotation_and_color;
        let cells = [
            cell("Ours", 0, 0.60, 0.5),
            cell("Ours", 1, 0.64, 0.4),
            cell("Ours", 2, 0.62, 0.6),
            cell("VICReg", 0, 0.50, 0.6),
            cell("VICReg", 1, 0.50, 0.4),
            cell("VICReg", 2, 0.50, 0.5),
        ];
        let found = table_of(&cells, &context);
        assert_eq!(found.rows[0].label, "rotation: Ours - VICReg");
        let expected = ["+0.120 [0.070, 0.170]", "paired", "0.0091", "0.0183", "3.385", "separates"];
        assert_eq!(text(&found.rows[0]), expected);
        assert_eq!(text(&found.rows[1])[5], "open");
        let warnings: Vec<&Note> =
            found.notes.iter().filter(|note| matches!(note, Note::Warning(_))).collect();
        assert!(
            matches!(warnings[..], [Note::Warning(why)] if why.starts_with("3 seeds: only differences above 3.1")),
            "{warnings:?}"
        );
    }

    #[test]
    fn one_seed_is_not_testable() {
        let context = context(&["rotation"], &["Ours", "VICReg"]);
        let cell = |method, r2| probe(method, 0, &[value("rotation", "r2_per_output", 0, r2)]);
        let found = table_of(&[cell("Ours", 0.5), cell("VICReg", 0.4)], &context);
        assert_eq!(text(&found.rows[0]), ["+0.100", "-", "-", "-", "-", "not testable"]);
    }
}
