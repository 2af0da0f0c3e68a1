//! Trainings of other runs: `run --pretrained DIR` takes over those that are the very ones of this suite, so that encoders pretrained once, or
//! side by side in several folders, are measured without being trained again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::console::say;
use crate::run_folder::cell::Cell;
use crate::run_folder::checkpoint::{Checkpoint, Checkpoints, copy_whole};
use crate::run_folder::manifest;
use crate::run_folder::store::RunFolder;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::plan::{EncoderRun, entries};

/// What a training depends on, beside its method and seed.
const OF_TRAINING: [&str; 4] = ["data", "transforms", "model", "train"];

/// Copies every training that `store` lacks and one of `runs` has finished: its cell, and the checkpoint of its end.
///
/// # Errors
/// A folder that holds no run, one that shares no training with this suite (with what differs), a damaged checkpoint.
pub fn adopt(store: &RunFolder, parts: &[&SubSuite], runs: &[PathBuf]) -> Result<()> {
    for run in runs {
        let other = RunFolder::at(run);
        let (found, own) = (configuration(&other)?, configuration(store)?);
        let mut differing = Vec::new();
        let mut fitting = Vec::new();
        for (part, theirs) in parts.iter().flat_map(|part| keys(&found).into_iter().map(move |key| (*part, key))) {
            match differences(&training(&own, part.key.as_deref()), &training(&found, theirs.as_deref())) {
                lines if lines.is_empty() => fitting.push((part, theirs)),
                lines => differing.extend(lines),
            }
        }
        if fitting.is_empty() {
            differing.dedup();
            let hint = "hint: its data, transforms, model, train and precision must be this suite's";
            bail!(
                "--pretrained {}: trained otherwise than this suite:\n{}\n{hint}",
                run.display(),
                differing.join("\n")
            );
        }
        for (part, theirs) in fitting {
            let taken = take(store, &other, part, theirs)?;
            say(&format!("{taken} trainings taken over from {}", run.display()));
        }
    }
    Ok(())
}

/// Copies what is finished there and missing here of one part; their number.
fn take(store: &RunFolder, other: &RunFolder, part: &SubSuite, theirs: Option<String>) -> Result<usize> {
    let mut taken = 0;
    for entry in entries(part)?.into_iter().filter(|entry| entry.row.kind.trains()) {
        let source = EncoderRun { part: theirs.clone(), ..entry.clone() };
        if store.has(&entry.pretrain_id()) || !other.has(&source.pretrain_id()) {
            continue;
        }
        let cell = other.cell(&source.pretrain_id())?;
        let [from, to] = [(other, &source), (store, &entry)]
            .map(|(store, entry)| Checkpoints { folder: store.path("checkpoints").join(entry.slug()) });
        let wanted = [from.at_step(cell.step)].into_iter().chain(from.curve()?);
        for folder in wanted {
            let whole = Checkpoint::open(&folder).and_then(|checkpoint| checkpoint.verify());
            whole.map_err(anyhow::Error::from).with_context(|| format!("--pretrained {}", other.root().display()))?;
            copy_whole(&folder, &to.folder)?;
        }
        // its seconds are of another run: no timing of this one
        let cell = Cell { id: entry.pretrain_id(), part: part.key.clone(), resumed: true, ..cell };
        store.write_cell(&cell)?;
        store.log(&json!({"cell": cell.id, "taken_from": other.root()}))?;
        taken += 1;
    }
    Ok(taken)
}

fn configuration(store: &RunFolder) -> Result<Value> {
    let found = manifest::read(store)?;
    found.with_context(|| format!("{} holds no run: manifest.json is missing", store.root().display()))
}

/// Keys of the parts of a configuration; none for a run with one data set.
fn keys(configuration: &Value) -> Vec<Option<String>> {
    match configuration["suite"].as_object() {
        Some(parts) if !parts.contains_key("name") => parts.keys().cloned().map(Some).collect(),
        _ => vec![None],
    }
}

/// What the trainings of a part depend on.
fn training(configuration: &Value, part: Option<&str>) -> Value {
    let of_part = |key: &str| part.map_or(&configuration[key], |part| &configuration[key][part]);
    let suite = of_part("suite");
    let mut all: serde_json::Map<String, Value> =
        OF_TRAINING.iter().map(|&key| (key.to_owned(), suite[key].clone())).collect();
    // how often the curve is probed, and how a pack is made, is no part of the training
    for (section, key) in [("train", "probe_every"), ("data", "made_by")] {
        all[section].as_object_mut().and_then(|keys| keys.remove(key));
    }
    all.insert("precision".into(), configuration["precision"].clone());
    all.insert("content of the data".into(), of_part("data").clone());
    all.insert("content of train.init".into(), of_part("init").clone());
    Value::Object(all)
}

fn differences(own: &Value, other: &Value) -> Vec<String> {
    manifest::differing(other, own, |key, theirs, ours| format!("  {key}: it has {theirs}, this suite {ours}"))
}

/// Whether `path` is a folder that may be named: said before anything is written.
///
/// # Errors
/// A folder that holds no run.
pub fn check(runs: &[PathBuf]) -> Result<()> {
    runs.iter().try_for_each(|path: &PathBuf| configuration(&RunFolder::at(path as &Path)).map(|_| ()))
}
