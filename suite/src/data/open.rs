//! Opens the pack of a suite's `[data]` section, the same pack on all ranks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use eqr_datasets::solids::{self, SolidsSpec};
use eqr_datasets::{Pack, pack};

use crate::cluster::agreement::agree;
use crate::cluster::worker::Worker;
use crate::console::{Progress, say};
use crate::data::missing_pack::MissingPack;
use crate::data::set_facts::SetFacts;
use crate::failure::Outcome;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::data_source::Data;
use crate::suite_file::names::file_name;

/// A pack with the image side that a suite uses.
pub struct OpenedPack {
    /// The pack.
    pub pack: Pack,
    /// Side of the network's input images.
    pub side: usize,
}

/// Opens the data set of `sub_suite` on every rank. A generated data set is rendered first, unless the run's
/// folder already holds it.
///
/// # Errors
/// A missing root or pack, a damaged pack, a pack that only some ranks see, a data set that does not fit the
/// suite.
pub fn open(
    sub_suite: &SubSuite,
    roots: &[PathBuf],
    run: &RunFolder,
    worker: &Worker,
) -> Outcome<OpenedPack> {
    let SubSuite { key, suite } = sub_suite;
    let path = match &suite.data {
        Data::Solids { spec } => {
            let path = run.path(layout::rendered(&file_name(key.as_ref().unwrap_or(&spec.name))));
            let rendered = if worker.leads() { render(spec, &path) } else { Ok(()) };
            agree(worker.ranks, rendered)?;
            Ok(path)
        }
        Data::Pack { file, made_by, .. } => find_pack(file, made_by, roots),
    };
    let opened = path.and_then(|path| {
        let pack = Pack::open(&path)?;
        let facts = SetFacts::of_pack(suite, &pack)?;
        // what is rendered of meshes could not be checked earlier
        facts.ensure_fit(suite)?;
        Ok(OpenedPack { side: facts.side, pack })
    });
    agree(worker.ranks, opened)
}

/// Renders the data set, unless `path` holds it already and is whole. The pack is written atomically.
///
/// # Errors
/// Bad meshes, a pack that cannot be written.
pub fn render(spec: &SolidsSpec, path: &Path) -> Result<()> {
    if path.exists() {
        match pack::verify(path) {
            Ok(found) if serde_json::to_value(spec).is_ok_and(|spec| found.provenance["spec"] == spec) => {
                return Ok(());
            }
            Ok(_) => {}
            Err(error) => say(&format!("warning: {error}; it is rendered anew")),
        }
    }
    let progress = Progress::new(&format!("rendering {}", spec.name));
    let dataset = solids::generate(spec, &|done, all| progress.at(done as u64, all as u64))?;
    progress.finish();
    let folder = path.parent().expect("a pack has a folder");
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    dataset.write(path)?;
    Ok(())
}

/// The path of the pack `file` in the first of the `roots` that holds it. An absolute path needs no root.
///
/// # Errors
/// A missing root or pack; the message names the command `made_by`.
pub fn find_pack(file: &str, made_by: &str, roots: &[PathBuf]) -> Result<PathBuf> {
    let path = Path::new(file);
    if path.is_absolute() && path.is_file() {
        return Ok(path.to_owned());
    }
    for root in roots {
        std::fs::read_dir(root).with_context(|| format!("data root {}", root.display()))?;
        if root.join(file).is_file() {
            return Ok(root.join(file));
        }
    }
    let searched = match roots {
        [] => "no --data-root was given".to_owned(),
        roots => {
            format!(
                "looked in {}",
                roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", ")
            )
        }
    };
    bail!(MissingPack { file: file.to_owned(), made_by: made_by.to_owned(), searched })
}
