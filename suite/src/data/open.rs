//! From a suite's `[data]` section to an open pack, the same on every rank.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use eqr_datasets::solids::{self, SolidsSpec};
use eqr_datasets::{Kind, Pack, known_count};
use eqr_models::methods::PairMode;

use crate::cluster::agreement::agree;
use crate::cluster::worker::Worker;
use crate::console::Progress;
use crate::failure::Outcome;
use crate::run_folder::store::RunFolder;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::suite::{Data, Suite};

/// A pack as a suite reads it.
pub struct OpenedPack {
    /// The pack.
    pub pack: Pack,
    /// Side of the images that the network sees.
    pub side: usize,
}

/// Opens the part's data set on every rank; renders it first where it is a generated one.
///
/// # Errors
/// A missing root or pack, a damaged pack, a pack that only some ranks see, a set that does not fit the suite.
pub fn open(part: &SubSuite, roots: &[PathBuf], store: &RunFolder, worker: &Worker) -> Outcome<OpenedPack> {
    let suite = &part.suite;
    let path = match &suite.data {
        Data::Solids { spec } => {
            let path = store.path("data").join(format!("{}.h5", part.key.as_ref().unwrap_or(&spec.name)));
            let made = if worker.leads() { render(spec, &path) } else { Ok(()) };
            agree(worker.ranks, made)?;
            Ok(path)
        }
        Data::Pack { file, made_by, .. } => find(file, made_by, roots),
    };
    let opened = path.and_then(|path| {
        let pack = Pack::open(&path)?;
        let side = side(suite, &pack)?;
        check(suite, &pack).with_context(|| path.display().to_string())?;
        Ok(OpenedPack { pack, side })
    });
    agree(worker.ranks, opened)
}

/// The side that the suite asks for, or that all images have.
fn side(suite: &Suite, pack: &Pack) -> Result<usize> {
    if let Data::Pack { side: Some(side), .. } = &suite.data {
        return Ok(*side);
    }
    let (train, test) = (pack.expect_split("train")?.side(), pack.expect_split("test")?.side());
    match train {
        Some(side) if test == train => Ok(side),
        _ => bail!(
            "{}: the images are not squares of one size\nhint: set data.side, or pack them with --side",
            pack.path().display()
        ),
    }
}

/// Renders the set unless the run's folder holds it already; the pack is written whole or not at all.
fn render(spec: &SolidsSpec, path: &Path) -> Result<()> {
    if path.exists()
        && Pack::open(path)
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

/// The pack `file` in one of the `roots`.
///
/// # Errors
/// A missing root or pack; `made_by` is the command that makes it.
pub fn find(file: &str, made_by: &str, roots: &[PathBuf]) -> Result<PathBuf> {
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
fn check(suite: &Suite, pack: &Pack) -> Result<()> {
    let (train, test) = (pack.expect_split("train")?, pack.expect_split("test")?);
    let units = train.units();
    if units < suite.train.batch {
        bail!("train.batch = {}, but the set has {units} training {}", suite.train.batch, unit_name(pack.kind));
    }
    if let Some(fraction) = suite.train.known_fraction {
        let (known, needed) = (known_count(units, fraction), needed_known(suite)?);
        if known < needed {
            let of = unit_name(pack.kind);
            bail!("train.known_fraction = {fraction} leaves {known} of {units} {of}, and {needed} are needed at least");
        }
    }
    let single = suite.method_kinds()?.into_iter().find(|kind| kind.pairs() == PairMode::SingleEach);
    if let (Some(method), Kind::Renders) = (single, pack.kind) {
        bail!(
            "methods: `{method}` trains on pairs that differ by one transform, and two renders of an object differ by all\n\
             hint: leave it out, or use a set of photographs"
        );
    }
    let views = [train, test].map(|split| split.scene.as_ref().map_or(2, |scene| scene.views));
    if views.into_iter().any(|views| views < 2) {
        bail!("an object of the set has one view: a pair needs two");
    }
    if pack.class_names.len() < 2 {
        bail!("the set has {} class(es): classification needs two", pack.class_names.len());
    }
    Ok(())
}

/// Known units that a batch of the methods trained on them takes, and the probes.
fn needed_known(suite: &Suite) -> Result<usize> {
    let trained = suite.method_kinds()?.iter().any(|kind| kind.needs_targets());
    Ok(if trained { suite.train.batch } else { 2 })
}

fn unit_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Renders => "objects",
        Kind::Photographs => "images",
    }
}
