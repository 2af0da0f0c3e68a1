//! `run --share`: several launches of one command share the work of a run.
//!
//! Each method with a seed is a part that is trained and measured in a run folder of its own in `OUT.shared`,
//! whose lock says who works on it. A launch takes a part that nobody has taken, and when there is none left,
//! one whose owner is gone; that continues from its last checkpoint. When all parts are done, the launch that
//! gets the lock of the whole run puts them together, measures the rows from elsewhere, and writes the report.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eqr_models::{Collective, Compute, MethodKind};
use tempfile::NamedTempFile;

use crate::cluster::agreement::{agree, from_leader};
use crate::cluster::precision::{Precision, Reason};
use crate::cluster::stop_signal;
use crate::console::say;
use crate::failure::{Failure, Outcome};
use crate::run::prepare::on_leader;
use crate::run::{Checked, RunRequest, RunScope, check, run};
use crate::run_folder::claim::InUse;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::{layout, manifest};
use crate::suite_file::data_sets;
use crate::suite_file::names::file_name;
use crate::suite_file::plan::encoder_runs;

/// Time between two looks at parts that others have taken.
const PAUSE: Duration = Duration::from_secs(5);

/// A method with one seed, on all data sets that have it.
struct Part {
    method: MethodKind,
    seed: u64,
    folder: RunFolder,
}

/// What a launch does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Work(usize),
    Wait,
    Finish,
}

/// Works with other launches until no part is left, then finishes the run if no other launch does.
///
/// # Errors
/// As [`run`].
pub fn run_shared(request: &RunRequest, ranks: &dyn Collective) -> Outcome<()> {
    let parts = agree(ranks, parts(request))?;
    let request = &with_one_precision(request, ranks)?;
    // launches that start together begin at different parts
    let start = RandomState::new().hash_one(std::process::id()) as usize;
    let mut looked_at = vec![false; parts.len()];
    loop {
        stop_signal::end_if_requested(ranks)?;
        match next(&parts, start, &mut looked_at, ranks) {
            Next::Work(part) => {
                looked_at[part] = true;
                let part = &parts[part];
                let done = took(run(&part.request(request), ranks), ranks);
                // what diverged or failed is tried again by the whole run, which says what is wrong
                let is_told = |failure: &Failure| failure.agreed && from_leader(ranks, &part.is_settled());
                if !done.as_ref().is_err_and(is_told) {
                    done?;
                }
            }
            Next::Wait => {
                looked_at.fill(false);
                std::thread::sleep(PAUSE);
            }
            Next::Finish => break,
        }
    }
    let parts = parts.iter().map(|part| part.folder.root().to_owned()).collect();
    if !took(run(&RunRequest { parts, ..request.clone() }, ranks), ranks)? && ranks.rank() == 0 {
        say("all parts are done, and another launch puts them together: this one ends");
    }
    Ok(())
}

/// The request with the number type of the launch that came first: `auto` may take another one on each node.
/// A request that is refused has no say.
fn with_one_precision(request: &RunRequest, ranks: &dyn Collective) -> Outcome<RunRequest> {
    let Checked { worker, precision: own, refusals, .. } = check(request, ranks)?;
    agree(ranks, refusals)?;
    let file = layout::shared_precision(&request.out);
    let first = on_leader(&worker, || first_to_choose(&file, own.compute).map(Some))?;
    let precision = match (request.precision, own.reason) {
        (Precision::Auto, Reason::Recorded) => named(own.compute),
        (Precision::Auto, _) => from_leader(ranks, &first).expect("rank 0 has read it"),
        (asked_for, _) => asked_for,
    };
    Ok(RunRequest { precision, ..request.clone() })
}

fn named(compute: Compute) -> Precision {
    if compute == Compute::Bf16 { Precision::Bf16 } else { Precision::Fp32 }
}

/// What stands in the file, which the launch that comes first writes.
fn first_to_choose(file: &Path, own: Compute) -> Result<Precision> {
    let folder = file.parent().context("it lies in the folder of the parts")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let written = NamedTempFile::new_in(folder)
        .and_then(|mut new| new.write_all(serde_json::to_string(&named(own))?.as_bytes()).map(|()| new))
        .and_then(|new| new.persist_noclobber(file).map(drop).map_err(|error| error.error));
    match written {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot write {}", file.display()))
        }
        _ => {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            serde_json::from_str(&text).with_context(|| file.display().to_string())
        }
    }
}

/// Whether this launch got the lock and has done the work; `false` if another launch has the lock.
fn took(outcome: Outcome<()>, ranks: &dyn Collective) -> Outcome<bool> {
    let Err(failure) = outcome else { return Ok(true) };
    let is_in_use = failure.agreed && from_leader(ranks, &failure.error.downcast_ref::<InUse>().is_some());
    if is_in_use { Ok(false) } else { Err(failure) }
}

impl Part {
    /// The run of this part alone. It takes over what the whole run has already.
    fn request(&self, request: &RunRequest) -> RunRequest {
        let Part { method, seed, folder } = self;
        // a damaged manifest is rebuilt by the whole run
        let whole_is_there = matches!(manifest::read(&RunFolder::new(&request.out)), Ok(Some(_)));
        RunRequest {
            out: folder.root().to_owned(),
            floors: false,
            scope: RunScope::Part { method: method.clone(), seed: *seed },
            parts: whole_is_there.then(|| request.out.clone()).into_iter().collect(),
            ..request.clone()
        }
    }

    /// Whether all its cells are finished or have failed.
    fn is_settled(&self) -> bool {
        self.folder.path(layout::TIMING).is_file()
    }

    fn is_taken(&self) -> bool {
        self.folder.path(layout::LOCK).exists()
    }
}

/// What remains to be done: a part that nobody has taken, then one that another launch has taken and that
/// this one has not looked at since the last pause.
fn next(parts: &[Part], start: usize, looked_at: &mut [bool], ranks: &dyn Collective) -> Next {
    let choice = || {
        let order = (0..parts.len()).map(|place| (start + place) % parts.len());
        let open: Vec<usize> = order.filter(|&part| !parts[part].is_settled()).collect();
        let free = open.iter().find(|&&part| !parts[part].is_taken() && !looked_at[part]);
        let taken = open.iter().find(|&&part| !looked_at[part]);
        match free.or(taken) {
            Some(&part) => Next::Work(part),
            None if open.is_empty() => Next::Finish,
            None => Next::Wait,
        }
    };
    let own = (ranks.rank() == 0).then(choice).map(|next| match next {
        Next::Work(part) => (0, part),
        Next::Wait => (1, 0),
        Next::Finish => (2, 0),
    });
    match from_leader(ranks, &own).expect("rank 0 has chosen") {
        (0, part) => Next::Work(part),
        (1, _) => Next::Wait,
        _ => Next::Finish,
    }
}

/// Every method with every seed.
fn parts(request: &RunRequest) -> Result<Vec<Part>> {
    let sub_suites = data_sets::load(&request.suite, &request.set, &request.rows)?;
    let mut parts: Vec<Part> = Vec::new();
    for sub_suite in &sub_suites {
        let seeds = sub_suite.suite.first_seeds(sub_suite.suite.seeds);
        for run in encoder_runs(sub_suite, seeds)? {
            let (method, seed) = (run.row.kind, run.seed);
            if parts.iter().all(|part| part.method != method || part.seed != seed) {
                let name = format!("{}-seed{seed}", file_name(&method.to_string()));
                let folder = RunFolder::new(layout::shared_parts(&request.out).join(name));
                parts.push(Part { method, seed, folder });
            }
        }
    }
    ensure!(!parts.is_empty(), "--share: this suite has no method to share\nhint: leave the option out");
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_launch_chooses_the_number_type() {
        let out = tempfile::tempdir().unwrap();
        let file = layout::shared_precision(&out.path().join("run"));
        assert_eq!(first_to_choose(&file, Compute::Bf16).unwrap(), Precision::Bf16);
        assert_eq!(first_to_choose(&file, Compute::F32).unwrap(), Precision::Bf16);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        fs::write(&file, "half").unwrap();
        let damaged = format!("{:#}", first_to_choose(&file, Compute::F32).unwrap_err());
        assert!(damaged.contains("precision.json"), "{damaged}");
    }
}
