//! The verdicts on the claims of the paper, of this suite and of the suite file.

use std::collections::BTreeSet;

use eqr_probes::stats::Difference;

use super::section::{Group, Section};
use crate::report::claims::{ClaimFamily, JudgedClaim, Verdict, judge};
use crate::report::column::NO_CEILING;
use crate::report::context::ReportContext;
use crate::report::numbers::number;
use crate::report::paper_tables::reported;
use crate::report::table::{Note, Role, Row, Table, TableEntry};
use crate::report::values::Values;
use crate::suite_file::scale::Scale;

/// Name of the sections that open the report.
pub const NAME: &str = "claims";

const VERDICT: &str = "verdict";

/// A column of the table of claims. It is left out if it has no entry.
struct ClaimColumn {
    heading: &'static str,
    entry: fn(&JudgedClaim) -> TableEntry,
    /// How to read it.
    explanation: Option<&'static str>,
}

const COLUMNS: [ClaimColumn; 11] = [
    ClaimColumn { heading: "paper", entry: paper, explanation: None },
    ClaimColumn {
        heading: "said in",
        entry: said_in,
        explanation: Some(
            "Said in: the paper's text, or its table alone. within spread: the paper's difference is not \
             above the sum of its two standard deviations.",
        ),
    },
    ClaimColumn { heading: "difference [95%]", entry: difference, explanation: None },
    ClaimColumn { heading: "n", entry: seeds, explanation: None },
    ClaimColumn {
        heading: "Holm p",
        entry: |judged| judged.p_holm.map_or(TableEntry::Missing, TableEntry::Probability),
        explanation: None,
    },
    ClaimColumn {
        heading: "by blocks",
        entry: |judged| judged.p_blocks_holm.map_or(TableEntry::Missing, TableEntry::Probability),
        explanation: Some(
            "By blocks: Holm p if the noise is estimated from all methods with the same seeds, which must \
             then be as noisy as each other. It has no part in the verdict.",
        ),
    },
    ClaimColumn {
        heading: VERDICT,
        entry: |judged| text(judged.verdict.text()),
        explanation: Some(
            "The difference is the first row less the second. reproduced: significantly above zero, or \
             above the margin; contradicted: significantly below it; open: neither.",
        ),
    },
    ClaimColumn {
        heading: "above floor",
        entry: |judged| yes_or_no(judged.above_floor),
        explanation: Some(
            "Above floor: whether the first row is significantly above Random init, Holm-corrected over these tests.",
        ),
    },
    ClaimColumn {
        heading: "cross-view",
        entry: |judged| yes_or_no(judged.cross_view),
        explanation: Some(
            "Cross-view: whether the first row is significantly above the same method with view 1 of \
             another pair, Holm-corrected over these tests.",
        ),
    },
    ClaimColumn {
        heading: "floor to ceiling",
        entry: normalised,
        explanation: Some(
            "Floor to ceiling: (R2 - floor) / (ceiling - floor) of the first row and of the second; the \
             floor is Random init, the ceiling Direct regression.",
        ),
    },
    ClaimColumn {
        heading: "net of constant",
        entry: |judged| two_numbers(judged.net_of_constant),
        explanation: Some(
            "Net of constant: (R2 - c) / (1 - c) of both rows with the pooled R2 c of the constant predictor.",
        ),
    },
];

/// One table per family of claims of which any is measured; the others are named below it. The section of the
/// group that was trained on also has those of the suite file.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let table = section.group.paper_table(context);
    let own = |judged: &JudgedClaim| judged.claim.table.is_none() && section.group == Group::Training;
    let mut claims = judge(values, context);
    claims.retain(|judged| own(judged) || table.is_some() && judged.claim.table == table);
    let mut explained = BTreeSet::new();
    let families = claims.chunk_by(|a, b| a.claim.family == b.claim.family);
    let measured = families.filter(|family| family.iter().any(is_measured));
    measured.map(|family| family_table(section, values, context, family, &mut explained)).collect()
}

fn is_measured(judged: &JudgedClaim) -> bool {
    judged.verdict != Verdict::NotMeasured
}

/// The table of a family. Headings that are not yet `explained` are explained below it.
fn family_table(
    section: &Section,
    values: &Values,
    context: &ReportContext,
    claims: &[JudgedClaim],
    explained: &mut BTreeSet<&'static str>,
) -> Table {
    let (measured, unmeasured): (Vec<&JudgedClaim>, Vec<&JudgedClaim>) =
        claims.iter().partition(|judged| is_measured(judged));
    let has_entries = |column: &&ClaimColumn| {
        measured.iter().any(|judged| !matches!((column.entry)(judged), TableEntry::Missing))
    };
    let columns: Vec<&ClaimColumn> = COLUMNS.iter().filter(has_entries).collect();
    let row = |judged: &&JudgedClaim| Row {
        label: format!("{}: {}", judged.claim.column_name(), judged.claim.order()),
        role: Role::Contestant,
        entries: columns.iter().map(|column| (column.entry)(judged)).collect(),
    };
    let new = columns.iter().filter(|column| explained.insert(column.heading));
    let explanation = |column: &&ClaimColumn| match column.heading {
        VERDICT => Some(format!("{} {}", column.explanation?, tests(context))),
        _ => column.explanation.map(str::to_owned),
    };
    let explanations: Vec<String> = new.filter_map(explanation).collect();
    let notes = [Some(counts(claims)), unmeasured_note(&unmeasured), data_note(values, &measured)];
    let notes = notes.into_iter().flatten().chain(explanations).map(Note::Plain).collect();
    let headings = columns.iter().map(|column| column.heading.to_owned()).collect();
    let rows = measured.iter().map(row).collect();
    Table { title: title(section, context, claims), ..section.table("claim", headings, rows, notes) }
}

/// How the claims were tested.
fn tests(context: &ReportContext) -> String {
    let Some(looks) = context.looks else {
        return "The test is paired by pretraining seed where the seeds pair, else Welch's; p < 0.05 after \
                Holm's correction over the tests of the table."
            .to_owned();
    };
    format!(
        "The test is sequential, because the number of seeds depends on the claims: paired by pretraining \
         seed, after each of {} to {} seeds. p values and intervals hold for all looks together, and a \
         verdict stands from the look that reached it, while the interval is the last look's; p < 0.05 \
         after Holm's correction over the tests of the table. Rows that are not trained here have no such \
         test.",
        looks.first(),
        looks.last()
    )
}

fn title(section: &Section, context: &ReportContext, claims: &[JudgedClaim]) -> String {
    let family = claims.first().map(|judged| (judged.claim.family, judged.claim.table.unwrap_or_default()));
    let scale = match context.scale {
        Scale::Full => "full scale",
        Scale::Reduced => "reduced",
    };
    match family {
        Some((ClaimFamily::Paper, table)) => {
            format!("{}: Table {table} (paper: full scale; this run: {scale})", section.title)
        }
        Some((ClaimFamily::Primary, _)) => {
            "This suite's claims: mean over the equivariance columns".to_owned()
        }
        Some((ClaimFamily::Ablation, table)) => {
            format!("This suite's claims: what the reconstruction adds, columns of Table {table}")
        }
        _ => "Claims of the suite file".to_owned(),
    }
}

fn text(text: &str) -> TableEntry {
    TableEntry::Text(text.to_owned())
}

fn yes_or_no(mark: Option<bool>) -> TableEntry {
    mark.map_or(TableEntry::Missing, |mark| text(if mark { "yes" } else { "no" }))
}

fn two_numbers(values: Option<(f64, f64)>) -> TableEntry {
    values.map_or(TableEntry::Missing, |(first, second)| {
        TableEntry::Text(format!("{}, {}", number(first), number(second)))
    })
}

fn paper(judged: &JudgedClaim) -> TableEntry {
    let untested = |mean| Difference { mean, ci95: None, p: None, t: None, df: None, cohen_d: None };
    let paper = judged.claim.paper;
    paper.map_or(TableEntry::Missing, |paper| TableEntry::Difference(untested(paper.difference())))
}

fn said_in(judged: &JudgedClaim) -> TableEntry {
    judged.claim.paper.map_or(TableEntry::Missing, |paper| {
        let place = if paper.stated { "text" } else { "table" };
        let spread = if paper.beyond_spread == Some(false) { ", within spread" } else { "" };
        TableEntry::Text(format!("{place}{spread}"))
    })
}

fn difference(judged: &JudgedClaim) -> TableEntry {
    let found = judged.contrast.as_ref().map(|contrast| contrast.difference.clone());
    found.map_or(TableEntry::Missing, TableEntry::Difference)
}

fn seeds(judged: &JudgedClaim) -> TableEntry {
    let sizes = judged.contrast.as_ref().map(|contrast| contrast.sizes());
    sizes.map_or(TableEntry::Missing, |(first, second)| {
        TableEntry::Text(if first == second { format!("{first}") } else { format!("{first}, {second}") })
    })
}

fn normalised(judged: &JudgedClaim) -> TableEntry {
    if judged.lacks_ceiling { text(NO_CEILING) } else { two_numbers(judged.normalised) }
}

/// How many claims have which verdict.
fn counts(claims: &[JudgedClaim]) -> String {
    let count = |verdict: Verdict| claims.iter().filter(|judged| judged.verdict == verdict).count();
    let counts = Verdict::ALL.map(|verdict| format!("{} {}", count(verdict), verdict.text()));
    let claims = if claims.len() == 1 { "1 claim".to_owned() } else { format!("{} claims", claims.len()) };
    format!("{claims}: {}.", counts.join(", "))
}

/// Which data the values are of, if the paper's table is about one data set.
fn data_note(values: &Values, claims: &[&JudgedClaim]) -> Option<String> {
    let claim = claims.iter().map(|judged| &judged.claim).find(|claim| claim.paper.is_some())?;
    let paper: BTreeSet<&str> =
        reported(claim.table?).into_iter().map(|line| line.dataset.as_str()).collect();
    let own = match &claim.data_set {
        Some(set) => set.clone(),
        None => values.datasets().collect::<Vec<_>>().join(", "),
    };
    let only = paper.first().filter(|_| paper.len() == 1)?;
    Some(format!("Data: the paper {only}; this run {own}."))
}

/// The claims whose rows or columns the run lacks, by their orders.
fn unmeasured_note(claims: &[&JudgedClaim]) -> Option<String> {
    let mut by_order: Vec<(String, Vec<String>)> = Vec::new();
    for claim in claims.iter().map(|judged| &judged.claim) {
        let (order, column) = (claim.order(), claim.column_name());
        match by_order.iter_mut().find(|(found, _)| *found == order) {
            Some((_, columns)) => columns.push(column),
            None => by_order.push((order, vec![column])),
        }
    }
    let orders: Vec<String> =
        by_order.iter().map(|(order, columns)| format!("{order} ({})", columns.join(", "))).collect();
    (!orders.is_empty()).then(|| format!("Not measured: {}.", orders.join("; ")))
}

#[cfg(test)]
mod tests {
    use eqr_probes::sequential::Looks;

    use super::super::section;
    use super::*;
    use crate::report::fixture::{self, rotation_and_color};
    use crate::report::numbers::Numbers;
    use crate::suite_file::own_claims::OwnClaim;

    /// Paired differences 0.10, 0.14, 0.12: t = 10.392 on 2 degrees of freedom, p = 0.00913. Of the looks
    /// after 2, 3 and 4 seeds, the second spends 2/6 of the error: p = 0.0274. The interval has the level 1 -
    /// 0.05 / 3, with the quantile 7.649 and the standard error 0.02 / sqrt(3).
    #[test]
    fn claims_that_decide_on_the_number_of_seeds_are_tested_sequentially() {
        let claim = OwnClaim {
            first: "Ours".to_owned(),
            second: "VICReg".to_owned(),
            task: "rotation".to_owned(),
            metric: None,
            margin: 0.0,
        };
        let context = ReportContext {
            looks: Looks::new(2, 4).ok(),
            claims: vec![claim],
            ..fixture::context(&["rotation", "color"], &["Ours", "VICReg"])
        };
        let cells = [
            rotation_and_color("Ours", 0, 0.60, 0.5),
            rotation_and_color("Ours", 1, 0.64, 0.4),
            rotation_and_color("Ours", 2, 0.62, 0.6),
            rotation_and_color("VICReg", 0, 0.50, 0.6),
            rotation_and_color("VICReg", 1, 0.50, 0.4),
            rotation_and_color("VICReg", 2, 0.50, 0.5),
        ];
        let section = section(NAME, Group::Training);
        let found = (section.tables)(section, &Values::at_end(&cells), &context).remove(0);
        let entries: Vec<String> =
            found.rows[0].entries.iter().map(|entry| entry.words(Numbers::default()).join(" ")).collect();
        assert_eq!(entries, ["+0.120 [0.032, 0.208]", "3", "0.0274", "reproduced"]);
        let says = |part: &str| {
            found.notes.iter().any(|note| matches!(note, Note::Plain(text) if text.contains(part)))
        };
        assert!(says("after each of 2 to 4 seeds") && !says("Welch"));
    }
}
