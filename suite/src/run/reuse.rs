//! `run --pretrained DIR`: copies the trainings of other runs that equal this suite's. Encoders that were
//! pretrained earlier, or side by side in several folders, are then measured without another training. Of the
//! parts of a shared run, the measurements are copied, too.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::console::say;
use crate::run::prepare::Prepared;
use crate::run::request::RunScope;
use crate::run_folder::cell::{Cell, CellKind};
use crate::run_folder::checkpoint::Checkpoint;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::manifest;
use crate::run_folder::merge::{copy_pictures, same_result};
use crate::suite_file::plan::{EncoderRun, encoder_runs};

/// The sections of a suite that a training depends on, besides its method and seed.
const TRAINING_SECTIONS: [&str; 4] = ["data", "transforms", "model", "train"];

/// Checks that `path` is a run, before anything is written.
///
/// # Errors
/// A folder that holds no run.
pub(super) fn check(path: &Path) -> Result<()> {
    configuration(&RunFolder::new(path)).map(drop).context("--pretrained")
}

/// A run that takes over cells of others.
pub(super) struct Target<'a> {
    pub(super) folder: &'a RunFolder,
    pub(super) prepared: &'a [Prepared],
    pub(super) scope: &'a RunScope,
}

impl Target<'_> {
    /// Copies every training that this run lacks and that one of `runs` has finished: its cell and the
    /// checkpoints that are measured.
    ///
    /// # Errors
    /// A folder that holds no run, a run that shares no training with this suite (the differences are listed), a
    /// damaged checkpoint.
    pub(super) fn copy_trainings(&self, runs: &[PathBuf]) -> Result<()> {
        for run in runs {
            let copied = self.copy_equal_trainings(&RunFolder::new(run));
            let copied = copied.with_context(|| format!("--pretrained {}", run.display()))?;
            say(&format!("{copied} trainings copied from {}", run.display()));
        }
        Ok(())
    }

    /// Copies the cells and pictures that this run lacks from runs of the same configuration.
    ///
    /// # Errors
    /// A part with another configuration, a damaged checkpoint, a file system error.
    pub(super) fn copy_parts(&self, parts: &[PathBuf]) -> Result<()> {
        let own = configuration(self.folder)?;
        for part in parts.iter().map(RunFolder::new) {
            let shown = part.root().display();
            manifest::ensure_same(&configuration(&part)?, &own)
                .with_context(|| format!("{shown} belongs to a run with another configuration"))?;
            self.copy_equal_trainings(&part).with_context(|| shown.to_string())?;
            self.copy_measurements(&part)?;
            // a part has no report
            if *self.scope == RunScope::Whole {
                copy_pictures(&part, self.folder)?;
            }
        }
        Ok(())
    }

    /// Copies the measurements of the encoders that this run and `part` have alike.
    fn copy_measurements(&self, part: &RunFolder) -> Result<()> {
        let (cells, problems) = part.whole_cells()?;
        problems.iter().for_each(|problem| say(&format!("warning: {}; it is made anew", problem.text)));
        for cell in cells.into_iter().filter(|cell| cell.kind != CellKind::Pretrain && !cell.external) {
            let Ok(row) = cell.method.parse() else { continue };
            let run = EncoderRun { data_set: cell.data_set.clone(), row, seed: cell.pretrain_seed };
            if self.scope.has(&run) && !self.folder.has_cell(&cell.id) && self.has_alike(&run, part)? {
                self.folder.write_cell(&cell)?;
                self.folder.log(&json!({"cell": cell.id, "taken_from": part.root()}))?;
            }
        }
        Ok(())
    }

    /// Whether this run and `part` have the same training of an encoder, or it needs none.
    fn has_alike(&self, run: &EncoderRun, part: &RunFolder) -> Result<bool> {
        let id = run.pretrain_id();
        let both_have = || self.folder.has_cell(&id) && part.has_cell(&id);
        Ok(!run.row.kind.trains() || (both_have() && same_result(&self.folder.cell(&id)?, &part.cell(&id)?)))
    }

    /// Copies the trainings of `other` that are this suite's and that this run lacks, and returns their number.
    fn copy_equal_trainings(&self, other: &RunFolder) -> Result<usize> {
        let (theirs, own) = (configuration(other)?, configuration(self.folder)?);
        let (mut differing, mut equal) = (Vec::new(), Vec::new());
        for prepared in self.prepared {
            let sub_suite = &prepared.sub_suite;
            for key in sub_suite_keys(&theirs) {
                let own_training = training(&own, sub_suite.key.as_deref());
                match differences(&own_training, &training(&theirs, key.as_deref())) {
                    lines if lines.is_empty() => equal.push((prepared, key)),
                    lines => differing.extend(lines),
                }
            }
        }
        if equal.is_empty() {
            differing.dedup();
            let hint = "hint: its data, transforms, model, train and precision must be this suite's";
            bail!("trained with other settings than this suite:\n{}\n{hint}", differing.join("\n"));
        }
        equal.into_iter().map(|(prepared, key)| self.copy_from(other, key, prepared)).sum()
    }

    /// Copies the finished trainings that the sub-suite of `prepared` lacks from the sub-suite `key` of the other
    /// run, and returns their number.
    fn copy_from(&self, other: &RunFolder, key: Option<String>, prepared: &Prepared) -> Result<usize> {
        let (folder, sub_suite) = (self.folder, &prepared.sub_suite);
        let mut copied = 0;
        let runs = encoder_runs(sub_suite, prepared.possible_seeds())?;
        for run in runs.into_iter().filter(|run| run.row.kind.trains() && self.scope.has(run)) {
            let source = EncoderRun { data_set: key.clone(), ..run.clone() };
            if folder.has_cell(&run.pretrain_id()) || !other.has_cell(&source.pretrain_id()) {
                continue;
            }
            let cell = other.cell(&source.pretrain_id())?;
            let [from, to] =
                [(other, &source), (folder, &run)].map(|(folder, run)| folder.checkpoints(&run.slug()));
            for checkpoint in [from.at_step(cell.step)].into_iter().chain(from.curve()?) {
                Checkpoint::open(&checkpoint).and_then(|checkpoint| checkpoint.verify())?;
                to.adopt(&checkpoint)?;
            }
            // `resumed`: the seconds were measured in another run and are not a timing of this one
            let cell = Cell { id: run.pretrain_id(), data_set: sub_suite.key.clone(), resumed: true, ..cell };
            folder.write_cell(&cell)?;
            folder.log(&json!({"cell": cell.id, "taken_from": other.root()}))?;
            copied += 1;
        }
        Ok(copied)
    }
}

fn configuration(folder: &RunFolder) -> Result<Value> {
    let found = manifest::read(folder)?;
    found.with_context(|| format!("{} holds no run: manifest.json is missing", folder.root().display()))
}

/// Keys of the sub-suites of a configuration; a single `None` if the run has one data set.
fn sub_suite_keys(configuration: &Value) -> Vec<Option<String>> {
    match configuration["suite"].as_object() {
        Some(suites) if !suites.contains_key("name") => suites.keys().cloned().map(Some).collect(),
        _ => vec![None],
    }
}

/// Everything that the trainings of a sub-suite depend on.
fn training(configuration: &Value, key: Option<&str>) -> Value {
    let entry = |name: &str| key.map_or(&configuration[name], |key| &configuration[name][key]);
    let suite = entry("suite");
    let mut all: serde_json::Map<String, Value> =
        TRAINING_SECTIONS.iter().map(|&section| (section.to_owned(), suite[section].clone())).collect();
    // neither the probing interval of the curve, nor what is computed twice, nor the command that makes a
    // pack changes the training
    for (section, key) in [("train", "probe_every"), ("train", "recompute"), ("data", "made_by")] {
        all[section].as_object_mut().and_then(|keys| keys.remove(key));
    }
    all.insert("precision".into(), configuration["precision"].clone());
    all.insert("content of the data".into(), entry("data").clone());
    all.insert("content of train.init".into(), entry("init").clone());
    Value::Object(all)
}

fn differences(own: &Value, theirs: &Value) -> Vec<String> {
    manifest::differing(theirs, own, |key, theirs, ours| {
        format!("  {key}: it has {theirs}, this suite {ours}")
    })
}
