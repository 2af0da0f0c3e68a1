//! `eqr-bench record`: a finished run becomes a baseline under `results/`, without the bulk: its manifest, cells, values and tables.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::console::say;
use crate::run_folder::lock;
use crate::run_folder::store::RunFolder;
use crate::suite_file::names::file_name;

/// What a baseline keeps of a run; the rest (checkpoints, features, rendered data) can be made again.
const FILES: [&str; 4] = ["manifest.json", "report.json", "metrics.csv", "timing.json"];

const FOLDERS: [&str; 2] = ["cells", "tables"];

/// Options of `record`.
#[derive(Args)]
pub struct RecordArgs {
    /// The finished run.
    run: PathBuf,
    /// Folder of the baselines of one series, which `compare` takes as a whole; default: results/baselines/<suite>.
    #[arg(long)]
    to: Option<PathBuf>,
    /// Name of the baseline in it; default: when the run began, and the commit of its program.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Copies what a baseline needs.
///
/// # Errors
/// No run, one that is at work, was stopped or has failed cells; a name that is taken; the file system's.
pub fn record(args: &RecordArgs) -> Result<()> {
    let store = RunFolder::at(&args.run);
    let shown = args.run.display();
    ensure!(!store.path(lock::FILE).exists(), "{shown}: a run is at work there\nhint: wait for it");
    let text = fs::read_to_string(store.path("manifest.json"))
        .with_context(|| format!("{shown} holds no run: manifest.json is missing"))?;
    let manifest: Value = serde_json::from_str(&text).with_context(|| format!("{shown}: manifest.json is damaged"))?;
    let again = "hint: `eqr-bench run` with the same --out does what is missing";
    ensure!(!store.cells()?.is_empty(), "{shown} has no finished cell\n{again}");
    // the last that a run writes
    ensure!(store.path("timing.json").exists(), "{shown} is not finished\n{again}");
    let failed = fs::read_dir(store.path("failed")).map(|entries| entries.flatten().count()).unwrap_or_default();
    ensure!(failed == 0, "{shown}: {failed} cells have failed, see failed/\n{again}");

    let suite = suite_name(&manifest).with_context(|| format!("{shown}: manifest.json names no suite"))?;
    let series = args.to.clone().unwrap_or_else(|| Path::new("results/baselines").join(&suite));
    let target = series.join(args.name.clone().unwrap_or_else(|| default_name(&manifest)));
    if target.exists() {
        bail!("{} is there already\nhint: give the baseline another --name", target.display());
    }
    copy_into(&store, &series, &target).with_context(|| format!("cannot write {}", target.display()))?;
    say(&format!("recorded: {}", target.display()));
    Ok(())
}

/// Into a folder of another name first: a series holds whole baselines alone.
fn copy_into(store: &RunFolder, series: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(series)?;
    let temporary = tempfile::Builder::new().prefix(".recording-").tempdir_in(series)?;
    for name in FILES {
        fs::copy(store.path(name), temporary.path().join(name)).with_context(|| name.to_owned())?;
    }
    for name in FOLDERS {
        let folder = temporary.path().join(name);
        fs::create_dir(&folder)?;
        for file in fs::read_dir(store.path(name)).with_context(|| name.to_owned())? {
            let file = file?;
            fs::copy(file.path(), folder.join(file.file_name()))?;
        }
    }
    fs::set_permissions(temporary.path(), fs::metadata(series)?.permissions())?;
    Ok(fs::rename(temporary.keep(), target)?)
}

/// The suite's name, also of a run of several data sets.
fn suite_name(manifest: &Value) -> Option<String> {
    let suite = manifest["configuration"]["suite"].as_object()?;
    let name = suite.get("name").or_else(|| suite.values().next()?.get("name"))?;
    name.as_str().map(file_name)
}

/// `20261125T063145Z-ff375f2c7f47`: sorts by time.
fn default_name(manifest: &Value) -> String {
    let text = |key: &str| manifest["provenance"][key].as_str().unwrap_or("unknown").to_owned();
    let started: String = text("started").chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{started}-{}", text("git").replace('+', "-"))
}
