//! `eqr-bench export`: writes a trained encoder as a safetensors file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use eqr_datasets::output::Output;

use crate::cli::force::FORCE_HELP;
use crate::console::say;
use crate::encoder::export::{Training, checkpoint_files, export};
use crate::run_folder::safetensors::SAFETENSORS;

/// Options of `export`.
#[derive(Args)]
pub struct ExportArgs {
    /// A run's folder, or a checkpoint in it (`checkpoints/<method>-seed<n>/step-<n>`).
    from: PathBuf,
    /// Row of the table, if FROM is a run.
    #[arg(long)]
    method: Option<String>,
    /// Data set that the encoder was trained on, if FROM is a run with several.
    #[arg(long, value_name = "KEY")]
    data_set: Option<String>,
    /// Pretraining seed, if FROM is a run.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The safetensors file to write.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, help = FORCE_HELP)]
    force: bool,
}

/// Writes the encoder.
///
/// # Errors
/// As [`export`], and a file that cannot be written.
pub fn run(args: &ExportArgs) -> Result<()> {
    let ExportArgs { from, method, data_set, seed, out, force } = args;
    let files = checkpoint_files(from);
    let inputs: Vec<&Path> = files.iter().map(PathBuf::as_path).chain([from.as_path()]).collect();
    let output = Output::new(out, &SAFETENSORS, &inputs, *force)?;
    let training = Training { method: method.as_deref(), data_set: data_set.as_deref(), seed: *seed };
    let exported = export(from, &training)?;
    output.write(&exported.bytes)?;
    say(&format!("{}: {}", out.display(), exported.description));
    Ok(())
}
