//! From a suite's `[data]` section to a data set in memory, the same on every rank.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use eqr_datasets::solids::{self, SolidsSpec};
use eqr_datasets::{Dataset, Kind};

use crate::cluster::{Worker, agree};
use crate::config::{Data, Suite};
use crate::failure::Outcome;
use crate::progress::Progress;
use crate::store::Store;

/// Opens the suite's data set on every rank; renders it first where it is a generated one.
///
/// # Errors
/// A missing root or pack, a damaged pack, a pack that only some ranks see, a set that does not fit the suite.
pub fn open(suite: &Suite, roots: &[PathBuf], store: &Store, worker: &Worker) -> Outcome<Dataset> {
    let path = match &suite.data {
        Data::Solids { spec } => {
            let path = store.path("data").join(format!("{}.h5", spec.name));
            let made = if worker.leads() { render(spec, &path) } else { Ok(()) };
            agree(worker.ranks, made)?;
            Ok(path)
        }
        Data::Pack { file, made_by } => find(file, made_by, roots),
    };
    let opened = path.and_then(|path| {
        let dataset = Dataset::open(&path)?;
        check(suite, &dataset).with_context(|| path.display().to_string())?;
        Ok(dataset)
    });
    agree(worker.ranks, opened)
}

/// Renders the set unless the run's folder holds it already; the pack is written whole or not at all.
fn render(spec: &SolidsSpec, path: &Path) -> Result<()> {
    if path.exists()
        && Dataset::open(path)
            .is_ok_and(|found| serde_json::to_value(spec).is_ok_and(|spec| found.provenance["spec"] == spec))
    {
        return Ok(());
    }
    let progress = Progress::new(&format!("rendering {}", spec.name));
    let dataset = solids::generate(spec, &|done, all| progress.at(done as u64, all as u64))?;
    progress.finish();
    let folder = path.parent().expect("a pack has a folder");
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    dataset.write(path)?;
    Ok(())
}

fn find(file: &str, made_by: &str, roots: &[PathBuf]) -> Result<PathBuf> {
    for root in roots {
        std::fs::read_dir(root).with_context(|| format!("data root {}", root.display()))?;
        if root.join(file).is_file() {
            return Ok(root.join(file));
        }
    }
    let looked = match roots {
        [] => "no --data-root was given".to_owned(),
        roots => {
            format!("looked in {}", roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", "))
        }
    };
    bail!("no pack {file}: {looked}\nhint: make it with `{made_by}` and pass its folder as --data-root")
}

/// What the suite asks of the set.
fn check(suite: &Suite, dataset: &Dataset) -> Result<()> {
    let units = dataset.train.units();
    if units < suite.train.batch {
        bail!("train.batch = {}, but the set has {units} training {}", suite.train.batch, unit_name(dataset.kind));
    }
    let views = [&dataset.train, &dataset.test].map(|split| split.scene.as_ref().map_or(2, |scene| scene.views));
    if views.into_iter().any(|views| views < 2) {
        bail!("an object of the set has one view: a pair needs two");
    }
    if dataset.test.is_empty() {
        bail!("the set has no test split");
    }
    if dataset.class_names.len() < 2 {
        bail!("the set has {} class(es): classification needs two", dataset.class_names.len());
    }
    let side = dataset.train.side();
    if side != dataset.test.side() {
        return Err(anyhow!("training images are {side} pixels wide, test images {}", dataset.test.side()));
    }
    Ok(())
}

fn unit_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Renders => "objects",
        Kind::Photographs => "images",
    }
}
