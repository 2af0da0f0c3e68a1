//! The verdicts on the claims of the paper, of this suite and of the suite file.

use eqr_probes::stats::Difference;

use super::section::{Group, Section};
use crate::report::claims::{ClaimFamily, JudgedClaim, Verdict, judge};
use crate::report::column::NO_CEILING;
use crate::report::context::ReportContext;
use crate::report::legend::LEVEL;
use crate::report::paper_tables::reported;
use crate::report::table::{Note, Role, Row, Table, TableEntry, number};
use crate::report::values::Values;
use crate::suite_file::scale::Scale;

/// Name of the sections that open the report.
pub const NAME: &str = "claims";

/// A column of the table of claims: its heading and its entry for a claim.
type Entry = (&'static str, fn(&JudgedClaim) -> TableEntry);

/// The columns. Those without any entry are left out.
const COLUMNS: [Entry; 10] = [
    ("paper", paper),
    ("said in", said_in),
    ("difference [95%]", difference),
    ("n", seeds),
    ("Holm p", |judged| judged.p_holm.map_or(TableEntry::Missing, TableEntry::Probability)),
    ("verdict", |judged| text(judged.verdict.text())),
    ("above floor", |judged| yes_or_no(judged.above_floor)),
    ("cross-view", |judged| yes_or_no(judged.cross_view)),
    (NORMALISED, normalised),
    (NET, |judged| two_numbers(judged.net_of_constant)),
];

const NORMALISED: &str = "floor to ceiling";
const NET: &str = "net of constant";

/// One table per family of claims; claims that are not measured are named below it. The section of the group that was trained on also has those of the suite
/// file.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let table = section.group.paper_table(context);
    let own = |judged: &JudgedClaim| judged.claim.table.is_none() && section.group == Group::Training;
    let mut claims = judge(values, context);
    claims.retain(|judged| own(judged) || table.is_some() && judged.claim.table == table);
    let families = claims.chunk_by(|a, b| a.claim.family == b.claim.family);
    families.map(|family| family_table(section, values, context, family)).collect()
}

fn family_table(
    section: &Section,
    values: &Values,
    context: &ReportContext,
    claims: &[JudgedClaim],
) -> Table {
    let (measured, unmeasured): (Vec<&JudgedClaim>, Vec<&JudgedClaim>) =
        claims.iter().partition(|judged| judged.verdict != Verdict::NotMeasured);
    let entries =
        |(heading, entry): &Entry| (*heading, measured.iter().map(|judged| entry(judged)).collect());
    let mut columns: Vec<(&str, Vec<TableEntry>)> = COLUMNS.iter().map(entries).collect();
    columns.retain(|(_, entries)| entries.iter().any(|entry| !matches!(entry, TableEntry::Missing)));
    let row = |(i, judged): (usize, &&JudgedClaim)| Row {
        label: format!("{}: {}", judged.claim.column_name(), judged.claim.order()),
        role: Role::Contestant,
        entries: columns.iter().map(|(_, entries)| entries[i].clone()).collect(),
    };
    let headings: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let mut notes = notes(values, claims, &headings);
    notes.extend(unmeasured_note(&unmeasured));
    let rows = measured.iter().enumerate().map(row).collect();
    Table { title: title(section, context, claims), ..section.table("claim", headings, rows, notes) }
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
    let without_test = |mean| Difference { mean, ci95: None, p: None, t: None, df: None, cohen_d: None };
    judged
        .claim
        .paper
        .map_or(TableEntry::Missing, |paper| TableEntry::Difference(without_test(paper.difference())))
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

fn notes(values: &Values, claims: &[JudgedClaim], headings: &[String]) -> Vec<Note> {
    let has = |heading: &str| headings.iter().any(|found| found == heading);
    let mut notes = vec![counts(claims)];
    notes.extend(data_note(values, claims));
    notes.push(format!(
        "Difference: the first row less the second. reproduced: significantly above zero (or above the margin); contradicted: \
         significantly below; open: neither. Holm p: paired t test by pretraining seed where the seeds pair, else Welch's, p < {LEVEL} \
         after Holm's correction over the tests of this table."
    ));
    if has("said in") {
        notes.push(
            "Said in: the paper's text, or its table alone. within spread: the paper's difference is not above the sum of its two \
             standard deviations."
                .to_owned(),
        );
    }
    if has("above floor") || has("cross-view") {
        notes.push(
            "Above floor: the first row is significantly above Random init; cross-view: above the same method with view 1 of another \
             pair. Each mark is corrected over its own tests."
                .to_owned(),
        );
    }
    if has(NORMALISED) {
        notes.push(
            "Floor to ceiling: (R2 - floor) / (ceiling - floor) of the first row and of the second; the floor is Random init, the ceiling \
             Direct regression."
                .to_owned(),
        );
    }
    if has(NET) {
        notes.push(
            "Net of constant: (R2 - c) / (1 - c) of both rows with the pooled R2 c of the constant predictor.".to_owned(),
        );
    }
    notes.into_iter().map(Note::Plain).collect()
}

/// How many claims have which verdict.
fn counts(claims: &[JudgedClaim]) -> String {
    let count = |verdict: Verdict| claims.iter().filter(|judged| judged.verdict == verdict).count();
    let counts = Verdict::ALL.map(|verdict| format!("{} {}", count(verdict), verdict.text()));
    format!("{} claims: {}.", claims.len(), counts.join(", "))
}

/// Which data the paper's values and this run's are of.
fn data_note(values: &Values, claims: &[JudgedClaim]) -> Option<String> {
    let claim = claims.iter().map(|judged| &judged.claim).find(|claim| claim.paper.is_some())?;
    let paper = reported(claim.table?).into_iter().next()?;
    let own: Vec<&str> = values.datasets().collect();
    (claim.data_set.is_none() && !own.is_empty())
        .then(|| format!("Data: the paper {}; this run {}.", paper.dataset, own.join(", ")))
}

/// The claims whose rows or columns the run lacks, by their orders.
fn unmeasured_note(claims: &[&JudgedClaim]) -> Option<Note> {
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
    (!orders.is_empty()).then(|| Note::Plain(format!("Not measured: {}.", orders.join("; "))))
}
