//! `run --until-decided`: after each look, whether another seed follows.

use std::ops::Range;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::cluster::agreement::from_leader;
use crate::console::say;
use crate::failure::Outcome;
use crate::report::claims::{Verdict, judge};
use crate::report::{ReportContext, Values};
use crate::run::context::RunContext;
use crate::run::prepare::on_leader;
use crate::run_folder::folder::RunFolder;

/// The claims of a data set that a sequential test can decide.
#[derive(Default, Serialize, Deserialize)]
struct Standing {
    decided: usize,
    open: usize,
}

/// The seeds that follow those of `context`: the next one while a claim is open. `None` once all are decided
/// or the last look is reached, and for runs with a fixed number of seeds. The leading rank decides from the
/// finished cells alone, so that a continued run takes the same decisions again.
///
/// # Errors
/// A cell that cannot be read.
pub(super) fn next_seed(context: &RunContext, report: &ReportContext) -> Outcome<Option<Range<u64>>> {
    let Some(looks) = report.looks else { return Ok(None) };
    let end = context.seeds.end;
    let seeds = end - context.suite().first_seed;
    let standing = on_leader(context.worker, || standing(context.folder, report, end))?;
    let standing = from_leader(context.worker.ranks, &standing);
    let is_last = seeds >= looks.last() as u64;
    let data_set = report.part.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
    say(&format!("{data_set}{}", standing.sentence(seeds, is_last)));
    Ok((standing.open > 0 && !is_last).then(|| end..end + 1))
}

/// How the claims stand after the seeds below `end`. Cells of further seeds are left out; a continued run
/// may have them.
fn standing(folder: &RunFolder, report: &ReportContext, end: u64) -> Result<Standing> {
    let mut cells = folder.cells()?;
    cells.retain(|cell| cell.data_set == report.part && cell.pretrain_seed < end);
    let judged = judge(&Values::at_end(&cells), report);
    // claims about rows that are not trained here have no p value; no further seed can decide them
    let testable = judged.iter().filter(|judged| judged.p.is_some());
    let (open, decided): (Vec<_>, Vec<_>) = testable.partition(|judged| judged.verdict == Verdict::Open);
    Ok(Standing { decided: decided.len(), open: open.len() })
}

impl Standing {
    fn sentence(&self, seeds: u64, is_last: bool) -> String {
        let Standing { decided, open } = *self;
        let follows = match (open, is_last) {
            (0, _) => "",
            (_, true) => "; this was the last seed",
            (_, false) => "; another seed follows",
        };
        match decided + open {
            0 => format!("after {seeds} seeds, no claim can be tested\nhint: add a [[claim]] to the suite"),
            all => format!("after {seeds} seeds, {decided} of {all} claims are decided{follows}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_says_what_follows() {
        let after = |decided, open, is_last| Standing { decided, open }.sentence(4, is_last);
        assert_eq!(after(2, 1, false), "after 4 seeds, 2 of 3 claims are decided; another seed follows");
        assert_eq!(after(2, 1, true), "after 4 seeds, 2 of 3 claims are decided; this was the last seed");
        assert_eq!(after(3, 0, false), "after 4 seeds, 3 of 3 claims are decided");
        assert!(after(0, 0, false).contains("no claim can be tested\nhint: "));
    }
}
