//! `run --share`: several launches of one command share the trainings of a run.
//!
//! Each training has a run folder of its own in `OUT.shared`, whose lock says who trains it. A launch takes a
//! training that nobody has taken, and when there is none left, one whose owner is gone; that continues from
//! its last checkpoint. When all trainings are done, the launch that gets the lock of the whole run measures
//! them, as `run --pretrained` does.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use anyhow::{Result, ensure};
use eqr_models::Collective;

use crate::cluster::agreement::{agree, from_leader};
use crate::cluster::stop_signal;
use crate::console::say;
use crate::failure::{Outcome, RUN_FAILED};
use crate::run::{RunRequest, run};
use crate::run_folder::claim::InUse;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::suite_file::data_sets;
use crate::suite_file::overrides::Override;
use crate::suite_file::plan::encoder_runs;

/// Time between two looks at trainings that others have taken.
const PAUSE: Duration = Duration::from_secs(5);

/// The trainings of a method with one seed, on all data sets.
struct Unit {
    method: String,
    seed: u64,
    folder: RunFolder,
    /// Ids of their cells.
    cells: Vec<String>,
}

/// What a launch does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Train(usize),
    Wait,
    Measure,
}

/// Trains with other launches until nothing is left to train, then measures if no other launch does.
///
/// # Errors
/// As [`run`].
pub fn run_shared(request: &RunRequest, ranks: &dyn Collective) -> Outcome<()> {
    let units = agree(ranks, units(request))?;
    // launches that start together begin at different trainings
    let start = RandomState::new().hash_one(std::process::id()) as usize;
    let mut looked_at = vec![false; units.len()];
    loop {
        stop_signal::end_if_requested(ranks)?;
        match next(&units, start, &mut looked_at, ranks) {
            Next::Train(unit) => {
                looked_at[unit] = true;
                let unit = &units[unit];
                let trained = took(run(&agree(ranks, unit.request(request))?, ranks), ranks);
                let has_failed = trained.as_ref().is_err_and(|failure| failure.code == RUN_FAILED);
                // the whole run tries it again, and says what is wrong
                if !(has_failed && from_leader(ranks, &unit.is_settled())) {
                    trained?;
                }
            }
            Next::Wait => {
                looked_at.fill(false);
                std::thread::sleep(PAUSE);
            }
            Next::Measure => break,
        }
    }
    let folders = units.iter().map(|unit| unit.folder.root().to_owned());
    let pretrained = request.pretrained.iter().cloned().chain(folders).collect();
    if !took(run(&RunRequest { pretrained, ..request.clone() }, ranks), ranks)? && ranks.rank() == 0 {
        say("all trainings are done, and another launch measures them: this one ends");
    }
    Ok(())
}

/// Whether this launch got the lock and has done the work; `false` if another launch has the lock.
fn took(outcome: Outcome<()>, ranks: &dyn Collective) -> Outcome<bool> {
    let Err(failure) = outcome else { return Ok(true) };
    let is_in_use = failure.agreed && from_leader(ranks, &failure.error.downcast_ref::<InUse>().is_some());
    if is_in_use { Ok(false) } else { Err(failure) }
}

impl Unit {
    /// The run that trains the unit alone.
    fn request(&self, request: &RunRequest) -> Result<RunRequest> {
        let mut set = request.set.clone();
        set.push(Override::new("--share", "methods", vec![self.method.clone()])?);
        set.push(Override::new("--share", "first_seed", i64::try_from(self.seed)?)?);
        set.push(Override::new("--share", "seeds", 1)?);
        Ok(RunRequest {
            out: self.folder.root().to_owned(),
            set,
            rows: Vec::new(),
            floors: false,
            pretrain_only: true,
            ..request.clone()
        })
    }

    /// Whether its trainings are finished or have failed.
    fn is_settled(&self) -> bool {
        let failed = |id: &str| self.folder.path(layout::failed_cell(id)).is_file();
        self.cells.iter().all(|id| self.folder.has_cell(id) || failed(id))
    }

    fn is_taken(&self) -> bool {
        self.folder.path(layout::LOCK).exists()
    }
}

/// What remains to be done: a training that nobody has taken, then one that another launch has taken and that
/// this one has not looked at since the last pause.
fn next(units: &[Unit], start: usize, looked_at: &mut [bool], ranks: &dyn Collective) -> Next {
    let choice = || {
        let order = (0..units.len()).map(|place| (start + place) % units.len());
        let open: Vec<usize> = order.filter(|&unit| !units[unit].is_settled()).collect();
        let free = open.iter().find(|&&unit| !units[unit].is_taken() && !looked_at[unit]);
        let taken = open.iter().find(|&&unit| !looked_at[unit]);
        match free.or(taken) {
            Some(&unit) => Next::Train(unit),
            None if open.is_empty() => Next::Measure,
            None => Next::Wait,
        }
    };
    let own = (ranks.rank() == 0).then(choice).map(|next| match next {
        Next::Train(unit) => (0, unit),
        Next::Wait => (1, 0),
        Next::Measure => (2, 0),
    });
    match from_leader(ranks, &own).expect("rank 0 has chosen") {
        (0, unit) => Next::Train(unit),
        (1, _) => Next::Wait,
        _ => Next::Measure,
    }
}

/// The methods that train, with every seed.
fn units(request: &RunRequest) -> Result<Vec<Unit>> {
    let sub_suites = data_sets::load(&request.suite, &request.set, &request.rows)?;
    let mut units: Vec<Unit> = Vec::new();
    for sub_suite in &sub_suites {
        let seeds = sub_suite.suite.first_seeds(sub_suite.suite.seeds);
        for run in encoder_runs(sub_suite, seeds)?.into_iter().filter(|run| run.row.kind.trains()) {
            let (method, cell) = (run.row.kind.to_string(), run.pretrain_id());
            match units.iter_mut().find(|unit| unit.method == method && unit.seed == run.seed) {
                Some(unit) => unit.cells.push(cell),
                None => {
                    let folder = RunFolder::new(layout::shared_trainings(&request.out).join(&cell));
                    units.push(Unit { method, seed: run.seed, folder, cells: vec![cell] });
                }
            }
        }
    }
    ensure!(!units.is_empty(), "--share: no row of this suite is trained\nhint: leave the option out");
    Ok(units)
}
