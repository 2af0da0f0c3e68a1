//! `eqr-bench record`: copies the small files of a finished run (manifest, cells, values, tables, figures)
//! into a folder of baselines. `report` and `compare` read such a folder as they read the run.

use std::fs;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::console::say;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::{layout, manifest};
use crate::suite_file::names::file_name;

/// Files that a baseline keeps. The rest (checkpoints, features, rendered data) can be regenerated.
const FILES: [&str; 6] =
    [layout::MANIFEST, layout::CELLS_LOG, layout::REPORT, layout::METRICS, layout::TIMING, layout::PAGE];

/// Folders that a baseline keeps.
const FOLDERS: [&str; 3] = [layout::CELLS, layout::TABLES, layout::FIGURES];

/// Copies the files that a baseline keeps from the run in `folder` to `series/name`. `series` is by default
/// `results/baselines/<suite>`. `name` is by default the start of the run and the commit of its program.
///
/// # Errors
/// No run; a run that is still running, was stopped or has failed cells; a name that is taken; a file system
/// error.
pub fn record(folder: &Path, series: Option<&Path>, name: Option<&str>) -> Result<()> {
    let run = RunFolder::new(folder);
    let shown = folder.display();
    ensure!(!run.path(layout::LOCK).exists(), "{shown}: a run is using this folder\nhint: wait for it");
    let manifest = manifest::read_whole(&run)?
        .with_context(|| format!("{shown} holds no run: manifest.json is missing"))?;
    let again = "hint: `eqr-bench run` with the same --out does what is missing";
    ensure!(!run.cells()?.is_empty(), "{shown} has no finished cell\n{again}");
    ensure!(run.path(layout::TIMING).exists(), "{shown} is not finished\n{again}");
    let failed =
        fs::read_dir(run.path(layout::FAILED)).map(|files| files.flatten().count()).unwrap_or_default();
    ensure!(failed == 0, "{shown}: {failed} cells have failed, see failed/\n{again}");

    if let Some(name) = FILES.into_iter().find(|name| !run.path(name).exists()) {
        bail!("{shown}: {name} is missing\n{again}");
    }
    let suite = suite_name(&manifest).with_context(|| format!("{shown}: manifest.json names no suite"))?;
    let series = series.map_or_else(|| Path::new("results/baselines").join(&suite), Path::to_owned);
    let name = name.map_or_else(|| default_name(&manifest), str::to_owned);
    let is_one_name = Path::new(&name).components().eq([Component::Normal(name.as_ref())]);
    ensure!(is_one_name, "--name {name:?}: expected the name of one folder\nhint: --to names the series");
    let target = series.join(name);
    if target.exists() {
        bail!("{} already exists\nhint: give the baseline another --name", target.display());
    }
    copy_into(&run, &series, &target).with_context(|| format!("cannot write {}", target.display()))?;
    say(&format!("recorded: {}", target.display()));
    Ok(())
}

/// Copies into a temporary folder first, so that a series only holds complete baselines.
fn copy_into(run: &RunFolder, series: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(series)?;
    let temporary = tempfile::Builder::new().prefix(".recording-").tempdir_in(series)?;
    for name in FILES {
        fs::copy(run.path(name), temporary.path().join(name)).with_context(|| name.to_owned())?;
    }
    for name in FOLDERS.into_iter().filter(|name| run.path(name).exists()) {
        let folder = temporary.path().join(name);
        fs::create_dir(&folder)?;
        for file in fs::read_dir(run.path(name)).with_context(|| name.to_owned())? {
            let file = file?;
            fs::copy(file.path(), folder.join(file.file_name()))?;
        }
    }
    fs::set_permissions(temporary.path(), fs::metadata(series)?.permissions())?;
    Ok(fs::rename(temporary.keep(), target)?)
}

/// The suite's name; a run with several data sets has one suite each, of the same name.
fn suite_name(manifest: &Value) -> Option<String> {
    let suite = manifest["configuration"]["suite"].as_object()?;
    let name = suite.get("name").or_else(|| suite.values().next()?.get("name"))?;
    name.as_str().map(file_name)
}

/// Start and commit of a run, such as `20261125T063145Z-ff375f2c7f47`. Names sort by time.
fn default_name(manifest: &Value) -> String {
    let text = |key: &str| manifest["provenance"][key].as_str().unwrap_or("unknown").to_owned();
    let started: String = text("started").chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{started}-{}", text("git").replace('+', "-"))
}
