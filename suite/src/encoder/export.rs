//! `eqr-bench export`: a trained encoder as a safetensors file with timm's parameter names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::console::say;
use crate::encoder::vit_file::parameters;
use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::checkpoint::{Checkpoint, Checkpoints};
use crate::run_folder::safetensors;
use crate::suite_file::plan::EncoderRun;

/// Options of `export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// A run's folder, or a checkpoint in it (`checkpoints/<method>-seed<n>/step-<n>`).
    from: PathBuf,
    /// Row of the table, of a run.
    #[arg(long)]
    method: Option<String>,
    /// The data set that it was trained on, of a run that has several.
    #[arg(long, value_name = "KEY")]
    data_set: Option<String>,
    /// Pretraining seed, of a run.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The safetensors file.
    #[arg(long)]
    out: PathBuf,
}

/// Writes the encoder: timm's names, our `out.*` beside them, and its shape as metadata.
///
/// # Errors
/// No such training in the run, a damaged checkpoint, a file that cannot be written.
pub fn export(args: &ExportArgs) -> Result<()> {
    let folder = checkpoint_folder(args)?;
    let checkpoint = Checkpoint::open(&folder)?;
    let stored = checkpoint.parameters()?;
    let manifest = &checkpoint.manifest;
    let encoder = &manifest.identity.encoder;
    let mut tensors = Vec::new();
    for (name, _) in parameters(encoder)? {
        let tensor = stored.get(name.as_str()).with_context(|| format!("{}: no {name}", folder.display()))?;
        tensors.push((name, tensor.shallow_clone()));
    }
    let mut metadata = text_of(&serde_json::to_value(encoder)?);
    if let Some(normalisation) = manifest.identity.normalisation {
        metadata.insert("normalisation".into(), serde_json::to_string(&normalisation)?);
    }
    // what other readers look for
    metadata.insert("format".into(), "pt".into());
    metadata.insert("made_by".into(), format!("eqr-bench {}", env!("CARGO_PKG_VERSION")));
    metadata.insert("step".into(), manifest.state.step.to_string());
    write_atomic(&args.out, &safetensors::encode(&tensors, Some(metadata))?)?;
    say(&format!("{}: encoder of {} after {} steps", args.out.display(), folder.display(), manifest.state.step));
    Ok(())
}

/// The checkpoint that is meant: `from` itself, or the newest of the run's training.
fn checkpoint_folder(args: &ExportArgs) -> Result<PathBuf> {
    let trainings = args.from.join("checkpoints");
    if !trainings.is_dir() {
        return Ok(args.from.clone());
    }
    let known = trainings_in(&trainings)?;
    let Some(method) = &args.method else {
        bail!("{} holds several trainings\nhint: name one with --method; there are {known}", args.from.display());
    };
    let slug = EncoderRun { part: args.data_set.clone(), row: method.parse()?, seed: args.seed }.slug();
    let checkpoints = Checkpoints { folder: trainings.join(&slug) };
    match checkpoints.steps()?.first() {
        Some(&step) => Ok(checkpoints.at_step(step)),
        None => bail!("{} holds no checkpoint of {slug}\nhint: there are {known}", args.from.display()),
    }
}

fn trainings_in(folder: &Path) -> Result<String> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

/// A flat JSON object as texts, strings without quotes.
fn text_of(value: &Value) -> HashMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), text(value))).collect()
}
