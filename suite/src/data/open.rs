//! Opens the pack of a suite's `[data]` section, the same pack on all ranks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use eqr_datasets::solids::{self, SolidsSpec};
use eqr_datasets::{Pack, SetKind, known_image_count, pack};
use eqr_models::methods::PairMode;

use crate::cluster::agreement::agree;
use crate::cluster::worker::Worker;
use crate::console::{Progress, say};
use crate::failure::Outcome;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::data_source::Data;
use crate::suite_file::names::file_name;
use crate::suite_file::suite::Suite;

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
        pack.expect_labels("`run`")?;
        let side = image_side(suite, &pack)?;
        ensure_fits(suite, &pack).with_context(|| path.display().to_string())?;
        Ok(OpenedPack { pack, side })
    });
    agree(worker.ranks, opened)
}

/// The side that the suite sets, or else the side that all images have.
fn image_side(suite: &Suite, pack: &Pack) -> Result<usize> {
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

/// Renders the data set, unless `path` holds it already and is whole. The pack is written atomically.
fn render(spec: &SolidsSpec, path: &Path) -> Result<()> {
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
    bail!("no pack {file}: {searched}\nhint: make it with `{made_by}` and pass its folder as --data-root")
}

/// # Errors
/// Anything that the suite needs and the data set lacks.
fn ensure_fits(suite: &Suite, pack: &Pack) -> Result<()> {
    let (train, test) = (pack.expect_split("train")?, pack.expect_split("test")?);
    let units = train.units();
    if units < suite.train.batch {
        bail!(
            "train.batch = {}, but the set has {units} training {}",
            suite.train.batch,
            unit_name(pack.kind)
        );
    }
    if let Some(fraction) = suite.train.known_fraction {
        let (known, needed) = (known_image_count(units, fraction), needed_known_units(suite)?);
        if known < needed {
            let name = unit_name(pack.kind);
            bail!(
                "train.known_fraction = {fraction} leaves {known} of {units} {name}; at least {needed} are \
                 needed"
            );
        }
    }
    let single = suite
        .method_kinds()?
        .into_iter()
        .find(|kind| matches!(kind.pairs(), PairMode::SingleEach | PairMode::Own));
    if let (Some(method), SetKind::Renders) = (single, pack.kind) {
        bail!(
            "methods: `{method}` trains on pairs that differ by some of the transforms, and two renders of an \
             object differ by all of them\nhint: leave the method out, or use a set of photographs"
        );
    }
    let views = [train, test].map(|split| split.scene.as_ref().map_or(2, |scene| scene.views));
    if views.into_iter().any(|views| views < 2) {
        bail!("an object of the set has one view: a pair needs two");
    }
    Ok(())
}

/// Smallest number of known units that the methods and the probes need.
fn needed_known_units(suite: &Suite) -> Result<usize> {
    let trained = suite.method_kinds()?.iter().any(|kind| kind.trains_on_known_units());
    Ok(if trained { suite.train.batch } else { 2 })
}

fn unit_name(kind: SetKind) -> &'static str {
    match kind {
        SetKind::Renders => "objects",
        SetKind::Photographs => "images",
    }
}
