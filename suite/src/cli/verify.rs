//! `eqr-bench verify`: checks every file of a run.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::console::{print_text, say};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::lock::RunLock;
use crate::verify;

/// Options of `verify`.
#[derive(Args)]
pub struct VerifyArgs {
    /// A run's folder.
    dir: PathBuf,
    /// Folder with the data packs of the run, which are then checked too; may be given more than once.
    #[arg(long)]
    data_root: Vec<PathBuf>,
    /// Set damaged cells aside and write the report anew from the others; `run` then makes what is missing.
    #[arg(long)]
    repair: bool,
}

/// Prints what was checked.
///
/// # Errors
/// A folder that holds no run; files that are not as they were written, also after a repair; a repair of a
/// folder that a run is using, or one that lost cells.
pub fn run(args: &VerifyArgs) -> Result<()> {
    let folder = RunFolder::new(&args.dir);
    let mut findings = verify::verify(&folder, &args.data_root)?;
    let mut lost = Vec::new();
    if args.repair && !findings.problems.is_empty() {
        let _lock = RunLock::take(folder.root())?;
        findings.problems.iter().for_each(|problem| say(&format!("found: {problem}")));
        lost = verify::repair(&folder)?;
        findings = verify::verify(&folder, &args.data_root)?;
    }
    print_text(&findings.to_string())?;
    ensure!(
        lost.is_empty(),
        "{}: {} cells were set aside or are gone; the run is no longer finished\n\
         hint: the same `eqr-bench run` command makes them and the report anew",
        args.dir.display(),
        lost.len()
    );
    if findings.problems.is_empty() {
        return print_text("every file is as it was written\n");
    }
    let hint = match args.repair {
        true => "hint: the same `eqr-bench run` command makes cells, manifest and rendered data anew",
        false => "hint: `eqr-bench verify --repair` sets damaged cells aside and writes the report anew",
    };
    bail!(
        "{}: {} problems\n{}\n{hint}",
        args.dir.display(),
        findings.problems.len(),
        findings.problems.join("\n")
    )
}
