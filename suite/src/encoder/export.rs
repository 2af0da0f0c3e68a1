//! `eqr-bench export`: a trained encoder as a safetensors file with timm's parameter names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::encoder::vit_file::parameter_shapes;
use crate::run_folder::checkpoint::Checkpoint;
use crate::run_folder::checkpoints::Checkpoints;
use crate::run_folder::{layout, safetensors};
use crate::suite_file::plan::EncoderRun;

/// A training of a run.
pub struct Training<'a> {
    /// Row of the table.
    pub method: Option<&'a str>,
    /// Key of the data set, if the run has several.
    pub data_set: Option<&'a str>,
    /// Pretraining seed.
    pub seed: u64,
}

/// An encoder for a file.
pub struct Exported {
    /// The safetensors file.
    pub bytes: Vec<u8>,
    /// Where the encoder comes from.
    pub description: String,
}

/// The encoder of `training`, with timm's parameter names, our `out.*`, and the encoder's shape as metadata.
/// `from` is the folder of a run, or a checkpoint in it; a checkpoint needs no `training`.
///
/// # Errors
/// No such training in the run, a damaged checkpoint.
pub fn export(from: &Path, training: &Training) -> Result<Exported> {
    let folder = checkpoint_folder(from, training)?;
    let checkpoint = Checkpoint::open(&folder)?;
    let stored = checkpoint.parameters()?;
    let manifest = &checkpoint.manifest;
    let encoder = &manifest.identity.encoder;
    let mut tensors = Vec::new();
    for (name, _) in parameter_shapes(encoder)? {
        let tensor = stored.get(name.as_str()).with_context(|| format!("{}: no {name}", folder.display()))?;
        tensors.push((name, tensor.shallow_clone()));
    }
    let mut metadata = text_of(&serde_json::to_value(encoder)?);
    if let Some(normalisation) = manifest.identity.normalisation {
        metadata.insert("normalisation".into(), serde_json::to_string(&normalisation)?);
    }
    // other readers expect this key
    metadata.insert("format".into(), "pt".into());
    metadata.insert("made_by".into(), format!("eqr-bench {}", env!("CARGO_PKG_VERSION")));
    metadata.insert("step".into(), manifest.state.step.to_string());
    let description = format!("encoder of {} after {} steps", folder.display(), manifest.state.step);
    Ok(Exported { bytes: safetensors::encode(&tensors, Some(metadata))?, description })
}

/// The files of all checkpoints in `from`, which is the folder of a run or a checkpoint. None of them may be
/// written over.
pub fn checkpoint_files(from: &Path) -> Vec<PathBuf> {
    let trainings = from.join(layout::CHECKPOINTS);
    let mut folders = vec![if trainings.is_dir() { trainings } else { from.to_owned() }];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let (inner, here): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        folders.extend(inner);
        files.extend(here);
    }
    files
}

/// The checkpoint to export: `from` itself, or the newest checkpoint of the training.
fn checkpoint_folder(from: &Path, training: &Training) -> Result<PathBuf> {
    let trainings = from.join(layout::CHECKPOINTS);
    if !trainings.is_dir() {
        return Ok(from.to_owned());
    }
    let available = training_names(&trainings)?;
    let Some(method) = training.method else {
        bail!(
            "{} holds several trainings\nhint: name one with --method; there are {available}",
            from.display()
        );
    };
    let slug = EncoderRun {
        data_set: training.data_set.map(str::to_owned),
        row: method.parse()?,
        seed: training.seed,
    }
    .slug();
    let checkpoints = Checkpoints { folder: trainings.join(&slug) };
    match checkpoints.steps()?.first() {
        Some(&step) => Ok(checkpoints.at_step(step)),
        None => bail!("{} holds no checkpoint of {slug}\nhint: there are {available}", from.display()),
    }
}

fn training_names(folder: &Path) -> Result<String> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

/// The values of a flat JSON object as text, strings without quotes.
fn text_of(value: &Value) -> HashMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), text(value))).collect()
}
