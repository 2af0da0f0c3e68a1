//! Three sentences that read a finished table: what it decides, what it leaves open, and how large the
//! decided effects are between floor and ceiling.

use super::claims::{ClaimFamily, JudgedClaim, Verdict, judge};
use super::column::Column;
use super::context::ReportContext;
use super::numbers::{number, probability};
use super::sections::scores::headline_columns;
use super::values::Values;
use crate::registry::TaskFamily;
use crate::run_folder::cell::Cell;

/// Claims named in a sentence at most.
const NAMED: usize = 3;

/// The sentences for the cells of a data set; none if the run settles no claim about what the reconstruction
/// adds, and none of the suite file.
pub fn sentences(cells: &[Cell], context: &ReportContext) -> Vec<String> {
    let values = Values::at_end(cells);
    let mut claims = judge(&values, context);
    claims.retain(|judged| matches!(judged.claim.family, ClaimFamily::Ablation | ClaimFamily::Own));
    claims.retain(|judged| judged.verdict != Verdict::NotMeasured && judged.contrast.is_some());
    if claims.is_empty() {
        return Vec::new();
    }
    let columns = headline_columns(&values, context);
    [decided(&claims), open(&claims), scale(&claims, &columns)].into_iter().flatten().collect()
}

/// What the run decides.
fn decided(claims: &[JudgedClaim]) -> Option<String> {
    let part = |judged: &&JudgedClaim| {
        let (difference, p) = (difference(judged), judged.p_holm.map_or(String::new(), probability));
        let more = if judged.verdict == Verdict::Contradicted { "less" } else { "more" };
        let (task, second) = (judged.claim.column_name(), &judged.claim.second);
        format!("{more} {task} than `{second}` ({difference}, Holm p {p})")
    };
    let is_decided =
        |judged: &&JudgedClaim| matches!(judged.verdict, Verdict::Reproduced | Verdict::Contradicted);
    let decided: Vec<&JudgedClaim> = claims.iter().filter(is_decided).collect();
    let Some(first) = decided.first() else {
        return Some("The seeds of this run decide no difference that it tests.".to_owned());
    };
    // the sentence has one subject
    let row = &first.claim.first;
    let of_row = decided.iter().copied().filter(|judged| judged.claim.first == *row).take(NAMED);
    Some(format!(
        "`{row}` reads {}.",
        listed(&of_row.collect::<Vec<_>>().iter().map(part).collect::<Vec<_>>())
    ))
}

/// What it leaves open.
fn open(claims: &[JudgedClaim]) -> Option<String> {
    let open = claims.iter().filter(|judged| judged.verdict == Verdict::Open).take(NAMED);
    let parts: Vec<String> = open
        .map(|judged| {
            let (first, second, task) =
                (&judged.claim.first, &judged.claim.second, judged.claim.column_name());
            format!("{task} of `{first}` and `{second}` ({})", difference(judged))
        })
        .collect();
    (!parts.is_empty()).then(|| format!("Not decided by these seeds: {}.", listed(&parts)))
}

/// Where the first claim's row stands between floor and ceiling.
fn scale(claims: &[JudgedClaim], columns: &[Column]) -> Option<String> {
    let row = &claims[0].claim.first;
    // what was trained to read transformations is no ceiling for classes
    let is_transformation =
        |column: &&Column| TaskFamily::of_task(&column.subject) == TaskFamily::Transformation;
    let part = |column: &Column| {
        let (floor, ceiling) = column.floor_and_ceiling()?;
        let mean = column.sample(row)?.summary()?.mean;
        let task = &column.subject;
        Some(format!("{task} {} to {}, `{row}` {}", number(floor), number(ceiling), number(mean)))
    };
    let parts: Vec<String> = columns.iter().filter(is_transformation).filter_map(part).take(NAMED).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "From the floor (random weights) to the ceiling (trained on what is probed): {}.",
            parts.join("; ")
        )
    })
}

/// `+0.120 [0.070, 0.170]`
fn difference(judged: &JudgedClaim) -> String {
    let Some(contrast) = &judged.contrast else { return String::new() };
    let interval = contrast.difference.ci95;
    let interval = interval.map(|(low, high)| format!(" [{}, {}]", number(low), number(high)));
    format!("{:+.3}{}", contrast.difference.mean, interval.unwrap_or_default())
}

/// `a`, `a and b`, `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, rotation_and_color};
    use super::*;

    #[test]
    fn sentences_say_what_is_decided_and_what_is_open() {
        let rows = ["Random init", "Ours, no reconstruction", "Ours", "Direct regression"];
        let context = ReportContext { table: Some(1), ..context(&["rotation", "color"], &rows) };
        let mut cells = Vec::new();
        for (seed, shift) in [(0, 0.0), (1, 0.01), (2, -0.01)] {
            cells.push(rotation_and_color("Random init", seed, 0.02 + shift, 0.6));
            cells.push(rotation_and_color(
                "Ours, no reconstruction",
                seed,
                0.12 - shift,
                0.62 + 20.0 * shift,
            ));
            cells.push(rotation_and_color("Ours", seed, 0.32 + shift, 0.65 - 10.0 * shift));
            cells.push(rotation_and_color("Direct regression", seed, 0.47, 0.92));
        }
        let found = sentences(&cells, &context);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].starts_with("`Ours` reads more rotation than `Ours, no reconstruction` (+0.200 ["),
            "{found:?}"
        );
        assert!(found[1].starts_with("Not decided by these seeds: color of `Ours` and"), "{found:?}");
        assert!(found[2].contains("rotation 0.020 to 0.470, `Ours` 0.320"), "{found:?}");
        let others = ReportContext { methods: vec!["VICReg".into()], ..context };
        assert!(sentences(&cells[..1], &others).is_empty());
    }

    #[test]
    fn lists_read_like_sentences() {
        let parts = |count: usize| ["a", "b", "c"].map(str::to_owned)[..count].to_vec();
        assert_eq!([1, 2, 3].map(|count| listed(&parts(count))), ["a", "a and b", "a, b and c"]);
    }
}
