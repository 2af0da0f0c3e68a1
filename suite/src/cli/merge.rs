//! `eqr-bench merge`: the rows of several runs in one.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::console::{Look, say};
use crate::report::{self, Report, ReportContext, Scope};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::run_folder::merge::{Source, assemble};

/// Options of `merge`.
#[derive(Args)]
pub struct MergeArgs {
    /// Folders of runs of one suite, on the same data and with the same probes. Their methods, seeds and
    /// encoders may differ.
    #[arg(required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// The new run's folder.
    #[arg(long)]
    out: PathBuf,
}

/// Writes the merged run, and prints its headline.
///
/// # Errors
/// Folders that hold no run, runs that do not measure alike, a folder that exists, a file system error.
pub fn run(args: &MergeArgs) -> Result<()> {
    ensure!(!args.out.exists(), "{} already exists\nhint: name a new folder for --out", args.out.display());
    let open = |path: &PathBuf| Source::open(RunFolder::new(path));
    let sources: Vec<Source> = args.runs.iter().map(open).collect::<Result<_>>()?;
    let mut contexts = report::join_contexts(
        sources.iter().map(|source| report::stored_contexts(source.folder())).collect::<Result<Vec<_>>>()?,
    );
    contexts.iter_mut().for_each(|context| add_provenance(context, &sources));

    let parent = args.out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), ToOwned::to_owned);
    std::fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let temporary = tempfile::Builder::new().prefix(".merging-").tempdir_in(&parent)?;
    let merged = RunFolder::new(temporary.path());
    assemble(&sources, &merged)?;
    report::write_contexts(&merged, &contexts)?;
    report::write(&merged, &merged.cells()?, &contexts)?;
    if sources.iter().all(Source::is_finished) {
        // the file that says that a run is finished
        std::fs::write(merged.path(layout::TIMING), "{}\n")?;
    }
    let as_others = std::fs::metadata(&parent)?.permissions();
    std::fs::set_permissions(temporary.path(), as_others)?;
    std::fs::rename(temporary.keep(), &args.out)
        .with_context(|| format!("cannot write {}", args.out.display()))?;

    let folder = RunFolder::new(&args.out);
    let contexts: Vec<&ReportContext> = contexts.iter().collect();
    let cells = folder.cells()?;
    let report =
        Report { scope: Scope::Headline, look: Look::of_stdout(), ..Report::new(&folder, &cells, &contexts) };
    report.print(report::formats::TERMINAL)?;
    say(&report::where_all_is(&folder));
    Ok(())
}

/// Says below the title which run each row is from.
fn add_provenance(context: &mut ReportContext, sources: &[Source]) {
    context.notes.push(format!("Rows of {} runs:", sources.len()));
    context.notes.extend(sources.iter().map(Source::line));
}
