//! Differences between the methods that the paper's claims are about.

use std::collections::BTreeSet;

use eqr_probes::stats::holm;

use super::column::Column;
use super::table::{Note, Role, Row, Section, Table, TableEntry};
use super::values::{Contrast, Test};

const OURS: &str = "Ours";
const VICREG: &str = "VICReg";

/// The table of differences in these columns, one after the other. Its tests are corrected together, and no others with them.
pub fn table(title: &str, columns: &[Column]) -> Table {
    let comparisons: Vec<Comparison> = columns.iter().flat_map(of_column).collect();
    let p: Vec<f64> = comparisons.iter().filter_map(|comparison| comparison.contrast.difference.p).collect();
    let mut corrected = holm(&p).into_iter();
    let rows = comparisons.iter().map(|comparison| {
        let holm_p = comparison.contrast.difference.p.and_then(|_| corrected.next());
        comparison.row(holm_p)
    });
    Table {
        section: Section::Differences,
        title: title.to_owned(),
        stub: "what: first - second",
        columns: ["difference [95%]", "test", "p", "Holm p", "Hedges' g", "verdict"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
        notes: notes(p.len(), &comparisons),
    }
}

/// One column, two methods.
struct Comparison {
    label: String,
    contrast: Contrast,
}

fn of_column(column: &Column) -> Vec<Comparison> {
    let methods: Vec<&str> = column.lines.iter().map(|line| line.method.as_str()).collect();
    let compare = |(first, second): (&str, &str)| {
        let contrast = column.sample(first)?.minus(column.sample(second)?)?;
        Some(Comparison { label: format!("{}: {first} - {second}", column.subject), contrast })
    };
    pairs(&methods).into_iter().filter_map(compare).collect()
}

/// The pairs worth a question among the methods of the suite, each once.
fn pairs<'a>(methods: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let sie: Vec<&str> = methods.iter().copied().filter(|method| method.starts_with("SIE(")).collect();
    let mut pairs = vec![(OURS, "Ours, no reconstruction"), (OURS, VICREG)];
    pairs.extend(sie.iter().map(|sie| (*sie, VICREG)));
    pairs.extend(sie.iter().map(|sie| (OURS, *sie)));
    pairs.push(("SIE(rot+color)", "SIE(rot)"));
    pairs.retain(|(first, second)| methods.contains(first) && methods.contains(second));
    pairs
}

impl Comparison {
    fn row(&self, holm_p: Option<f64>) -> Row {
        let Contrast { difference, test, .. } = &self.contrast;
        let probability = |p: Option<f64>| p.map_or(TableEntry::Missing, TableEntry::Probability);
        let test = match test {
            _ if difference.p.is_none() => "-",
            Test::Paired => "paired",
            Test::Welch => "Welch",
        };
        let entries = vec![
            TableEntry::Difference(difference.clone()),
            TableEntry::Text(test.to_owned()),
            probability(difference.p),
            probability(holm_p),
            self.contrast.hedges_g().map_or(TableEntry::Missing, TableEntry::Number),
            TableEntry::Text(self.verdict().to_owned()),
        ];
        Row { label: self.label.clone(), role: Role::Contestant, entries }
    }

    fn verdict(&self) -> &'static str {
        match (self.contrast.difference.ci95, self.contrast.difference.p) {
            (Some((low, high)), Some(_)) if low > 0.0 || high < 0.0 => "separates",
            (Some(_), Some(_)) => "open",
            _ => "not testable",
        }
    }
}

fn notes(tests: usize, comparisons: &[Comparison]) -> Vec<Note> {
    let plain = [
        "First less second: above zero the first is better. separates: the 95% interval of this difference, taken alone, \
         excludes zero; open: it does not; not testable: a single seed, or no spread at all."
            .to_owned(),
        format!("Holm p: corrected for the {tests} tests of this table, and for no other's."),
        "paired: t test over pretraining seeds that both methods ran; Welch: of independent seeds. Hedges' g: the difference in \
         standard deviations (paired: of the differences, d_z; Welch: of the methods pooled, Cohen's d), less what few seeds overstate it \
         by in the mean; from three pairs or four seeds on."
            .to_owned(),
    ];
    let few: BTreeSet<String> =
        comparisons.iter().filter_map(|comparison| comparison.contrast.too_few()).collect();
    let warnings = few.into_iter().map(|why| Note::Warning(format!("{why}.")));
    plain.map(Note::Plain).into_iter().chain(warnings).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::super::scores::columns;
    use super::super::values::Values;
    use super::*;
    use crate::report::ReportContext;
    use crate::run_folder::cell::Cell;

    fn table_of(cells: &[Cell], context: &ReportContext) -> Table {
        table("Differences", &columns(&Values::of(cells), context, Section::Main))
    }

    fn text(row: &Row) -> Vec<String> {
        row.entries.iter().map(|entry| entry.parts().join(" ")).collect()
    }

    #[test]
    fn every_pair_of_the_claims_is_asked_once() {
        let methods =
            ["VICReg", "SIE(rot)", "SIE(rot+color)", "Ours", "Ours, no reconstruction", "Supervised"];
        let expected = [
            ("Ours", "Ours, no reconstruction"),
            ("Ours", "VICReg"),
            ("SIE(rot)", "VICReg"),
            ("SIE(rot+color)", "VICReg"),
            ("Ours", "SIE(rot)"),
            ("Ours", "SIE(rot+color)"),
            ("SIE(rot+color)", "SIE(rot)"),
        ];
        assert_eq!(pairs(&methods), expected);
        assert!(pairs(&["Ours"]).is_empty());
    }

    /// Paired differences 0.10, 0.14, 0.12: mean 0.12, standard error 0.02/sqrt(3), t = 10.392 on 2 degrees of freedom,
    /// interval 0.12 ± 4.3027 * 0.011547, p = 0.00913, doubled by Holm beside a second test; d_z = 6, times gamma(1) / gamma(1/2)
    /// = 0.5642 it is Hedges' g. With t(0.975, 2) + t(0.8, 2) = 5.364 and 1/sqrt(3) such tests find 3.1 standard deviations.
    #[test]
    fn a_clear_difference_separates() {
        let context = context(&["rotation", "color"], &["Ours", "VICReg"]);
        let cell = |method, seed, rotation, color| {
            let values =
                [value("rotation", "r2_per_output", 0, rotation), value("color", "r2_per_output", 0, color)];
            probe(method, seed, &values)
        };
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
