//! `eqr-bench record`: keeps a finished run as a baseline.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::run_folder::baseline::record;

/// Options of `record`.
#[derive(Args)]
pub struct RecordArgs {
    /// The finished run.
    run: PathBuf,
    /// Folder that collects the baselines of one series; `compare` accepts the whole folder. Default:
    /// results/baselines/<suite>.
    #[arg(long)]
    to: Option<PathBuf>,
    /// Name of the baseline in this folder; default: start time of the run and commit of its program.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Copies the files that a baseline needs.
///
/// # Errors
/// As [`record`].
pub fn run(args: &RecordArgs) -> Result<()> {
    record(&args.run, args.to.as_deref(), args.name.as_deref())
}
