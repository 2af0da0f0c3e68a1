//! Differences between the methods that the paper's claims are about.

use eqr_probes::stats::{Difference, holm};

use super::ReportContext;
use super::scores::Measure;
use super::table::{Entry, Note, Role, Row, Section, Table};
use super::values::{Test, Values};

const OURS: &str = "Ours";
const VICREG: &str = "VICReg";

/// The table of differences, task by task, of the headline metrics.
pub fn table(values: &Values, context: &ReportContext) -> Table {
    let comparisons: Vec<Comparison> = context.tasks.iter().flat_map(|task| of_task(values, context, task)).collect();
    let p: Vec<f64> = comparisons.iter().filter_map(|comparison| comparison.difference.p).collect();
    let mut corrected = holm(&p).into_iter();
    let rows = comparisons.iter().map(|comparison| {
        let holm_p = comparison.difference.p.and_then(|_| corrected.next());
        comparison.row(holm_p)
    });
    Table {
        section: Section::Differences,
        title: "Differences between methods, headline metric".to_owned(),
        stub: "task: first - second",
        columns: ["difference [95%]", "test", "p", "Holm p", "effect", "verdict"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
        notes: notes(p.len()),
    }
}

/// One task, two methods.
struct Comparison {
    label: String,
    difference: Difference,
    test: Test,
}

fn of_task(values: &Values, context: &ReportContext, task: &str) -> Vec<Comparison> {
    let metric = Measure::of(task).headline();
    let compare = |(first, second): (&str, &str)| {
        let (first_sample, second_sample) = (values.sample(first, task, metric)?, values.sample(second, task, metric)?);
        let (difference, test) = first_sample.minus(second_sample)?;
        Some(Comparison { label: format!("{task}: {first} - {second}"), difference, test })
    };
    pairs(&context.methods).into_iter().filter_map(compare).collect()
}

/// The pairs worth a question among the methods of the suite, each once.
fn pairs(methods: &[String]) -> Vec<(&str, &str)> {
    let sie: Vec<&str> = methods.iter().map(String::as_str).filter(|method| method.starts_with("SIE(")).collect();
    let mut pairs = vec![(OURS, "Ours, no reconstruction"), (OURS, VICREG)];
    pairs.extend(sie.iter().map(|sie| (*sie, VICREG)));
    pairs.extend(sie.iter().map(|sie| (OURS, *sie)));
    pairs.push(("SIE(rot+color)", "SIE(rot)"));
    let known = |method: &str| methods.iter().any(|known| known == method);
    pairs.retain(|(first, second)| known(first) && known(second));
    pairs
}

impl Comparison {
    fn row(&self, holm_p: Option<f64>) -> Row {
        let probability = |p: Option<f64>| p.map_or(Entry::Missing, Entry::Probability);
        let test = match self.test {
            _ if self.difference.p.is_none() => "-",
            Test::Paired => "paired",
            Test::Welch => "Welch",
        };
        let entries = vec![
            Entry::Difference(self.difference.clone()),
            Entry::Text(test.to_owned()),
            probability(self.difference.p),
            probability(holm_p),
            self.difference.cohen_d.map_or(Entry::Missing, Entry::Number),
            Entry::Text(self.verdict().to_owned()),
        ];
        Row { label: self.label.clone(), role: Role::Contestant, entries }
    }

    fn verdict(&self) -> &'static str {
        match (self.difference.ci95, self.difference.p) {
            (Some((low, high)), Some(_)) if low > 0.0 || high < 0.0 => "separates",
            (Some(_), Some(_)) => "open",
            _ => "not testable",
        }
    }
}

fn notes(tests: usize) -> Vec<Note> {
    [
        "First less second: above zero the first is better. separates: the 95% interval of this difference, taken alone, \
         excludes zero; open: it does not; not testable: a single seed, or no spread at all."
            .to_owned(),
        format!("Holm p: corrected for the {tests} tests of this table."),
        "paired: t test over pretraining seeds that both methods ran, effect d_z; Welch: of independent seeds, Cohen's d."
            .to_owned(),
    ]
    .map(Note::Plain)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::*;

    fn text(row: &Row) -> Vec<String> {
        row.entries.iter().map(|entry| entry.parts().join(" ")).collect()
    }

    #[test]
    fn every_pair_of_the_claims_is_asked_once() {
        let methods = ["VICReg", "SIE(rot)", "SIE(rot+color)", "Ours", "Ours, no reconstruction", "Supervised"];
        let expected = [
            ("Ours", "Ours, no reconstruction"),
            ("Ours", "VICReg"),
            ("SIE(rot)", "VICReg"),
            ("SIE(rot+color)", "VICReg"),
            ("Ours", "SIE(rot)"),
            ("Ours", "SIE(rot+color)"),
            ("SIE(rot+color)", "SIE(rot)"),
        ];
        assert_eq!(pairs(&methods.map(str::to_owned)), expected);
        assert!(pairs(&["Ours".to_owned()]).is_empty());
    }

    /// Paired differences 0.10, 0.14, 0.12: mean 0.12, standard error 0.02/sqrt(3), t = 10.392 on 2 degrees of freedom,
    /// interval 0.12 ± 4.3027 * 0.011547, p = 0.00913, doubled by Holm beside a second test.
    #[test]
    fn a_clear_difference_separates() {
        let context = context(&["rotation", "color"], &["Ours", "VICReg"]);
        let cell = |method, seed, rotation, color| {
            let values = [value("rotation", "r2_per_output", 0, rotation), value("color", "r2_per_output", 0, color)];
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
        let found = table(&Values::of(&cells), &context);
        assert_eq!(found.rows[0].label, "rotation: Ours - VICReg");
        let expected = ["+0.120 [0.070, 0.170]", "paired", "0.0091", "0.0183", "6.000", "separates"];
        assert_eq!(text(&found.rows[0]), expected);
        assert_eq!(text(&found.rows[1])[5], "open");
    }

    #[test]
    fn one_seed_is_not_testable() {
        let context = context(&["rotation"], &["Ours", "VICReg"]);
        let cell = |method, r2| probe(method, 0, &[value("rotation", "r2_per_output", 0, r2)]);
        let found = table(&Values::of(&[cell("Ours", 0.5), cell("VICReg", 0.4)]), &context);
        assert_eq!(text(&found.rows[0]), ["+0.100", "-", "-", "-", "-", "not testable"]);
    }
}
