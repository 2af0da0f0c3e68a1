//! `eqr-bench export`: writes a trained encoder as a safetensors file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::encoder::export::{Training, export};

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
}

/// Writes the encoder.
///
/// # Errors
/// As [`export`].
pub fn run(args: &ExportArgs) -> Result<()> {
    let ExportArgs { from, method, data_set, seed, out } = args;
    export(from, &Training { method: method.as_deref(), data_set: data_set.as_deref(), seed: *seed }, out)
}
