//! Before the first cell, opens everything that a run reads. What could be rejected has been checked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use eqr_datasets::Pack;
use eqr_probes::sequential::Looks;

use crate::cluster::agreement::{agree, gather, same_everywhere};
use crate::cluster::host::host;
use crate::cluster::precision::{Choice, Precision, Reason};
use crate::cluster::stop_signal;
use crate::cluster::worker::Worker;
use crate::console::say;
use crate::data::open::{self, OpenedPack};
use crate::encoder::file_format::{encoder_files, is_torchscript};
use crate::encoder::vit_file::VitParameters;
use crate::failure::Outcome;
use crate::run::request::RunRequest;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::provenance::provenance;
use crate::run_folder::{layout, manifest, row_files};
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::suite::Suite;

/// A sub-suite with its files open.
pub(super) struct Prepared {
    pub(super) sub_suite: SubSuite,
    pub(super) data: OpenedPack,
    /// Encoder that every training starts from, if not from random weights.
    pub(super) initial_encoder: Option<VitParameters>,
    pub(super) downstream: DownstreamPacks,
    /// The looks at the claims; `None` if the number of seeds is fixed.
    pub(super) looks: Option<Looks>,
    /// Whether trainings write events for TensorBoard.
    pub(super) wants_events: bool,
    /// Content hashes of the downstream packs, by pack name.
    pack_hashes: BTreeMap<String, String>,
    /// Hashes of external rows' files, by slug.
    row_hashes: BTreeMap<String, String>,
}

impl Prepared {
    /// The seeds that the run may need.
    pub(super) fn possible_seeds(&self) -> Range<u64> {
        let suite = &self.sub_suite.suite;
        suite.first_seeds(self.looks.map_or(suite.seeds, |looks| looks.last() as u64))
    }
}

/// The packs of the suite's `transfer` and `segmentation`, in the suite's order.
pub(super) struct DownstreamPacks {
    pub(super) transfer: Vec<Pack>,
    pub(super) segmentation: Vec<Pack>,
}

/// Does `work` on the leading rank. If it fails there, every rank returns the error.
pub(super) fn on_leader<T: Default>(worker: &Worker, work: impl FnOnce() -> Result<T>) -> Outcome<T> {
    agree(worker.ranks, if worker.leads() { work() } else { Ok(T::default()) })
}

/// The number type of the run, chosen by rank 0. With `auto`, an existing run keeps the type in its manifest.
pub(super) fn precision(requested: Precision, folder: &RunFolder, worker: &Worker) -> Choice {
    let recorded = || {
        let compute = manifest::precision(folder).filter(|_| requested == Precision::Auto)?;
        Some(Choice { compute, reason: Reason::Recorded })
    };
    Choice::of_leader(worker.ranks, || recorded().unwrap_or_else(|| requested.choose(worker.device)))
}

/// Opens the files of every sub-suite, then writes the manifest, which makes the folder a run.
pub(super) fn prepare_all(
    sub_suites: Vec<SubSuite>,
    request: &RunRequest,
    folder: &RunFolder,
    precision: Choice,
    worker: &Worker,
) -> Outcome<Vec<Prepared>> {
    let prepare = |sub_suite| prepare(sub_suite, request, folder, worker);
    let prepared = sub_suites.into_iter().map(prepare).collect::<Outcome<Vec<Prepared>>>()?;
    stop_signal::end_if_requested(worker.ranks)?;
    write_manifest(&prepared, request, folder, precision, worker)?;
    Ok(prepared)
}

fn prepare(
    sub_suite: SubSuite,
    request: &RunRequest,
    folder: &RunFolder,
    worker: &Worker,
) -> Outcome<Prepared> {
    let ranks = worker.ranks;
    let suite = &sub_suite.suite;
    let data = open::open(&sub_suite, &request.data_roots, folder, worker)?;
    let initial_encoder = agree(ranks, initial_encoder(suite))?;
    let initial_hash = initial_encoder.as_ref().map(|encoder| encoder.blake3.as_str());
    same_everywhere(ranks, "train.init", initial_hash.unwrap_or_default())?;
    same_everywhere(ranks, "the data set", &data.pack.content)?;
    let downstream = agree(ranks, open_downstream(suite, &request.data_roots))?;
    let packs = downstream.transfer.iter().chain(&downstream.segmentation);
    let pack_hashes = packs.map(|pack| (pack.name.clone(), pack.content.clone())).collect();
    warn_of_scripts(suite);
    let row_hashes = agree(ranks, hash_rows(suite))?;
    same_everywhere(ranks, "the files of rows and sets", &format!("{pack_hashes:?} {row_hashes:?}"))?;
    let looks = agree(ranks, request.looks(suite))?;
    let wants_events = request.tensorboard;
    Ok(Prepared {
        sub_suite,
        data,
        initial_encoder,
        downstream,
        looks,
        wants_events,
        pack_hashes,
        row_hashes,
    })
}

/// The encoder of `train.init`.
fn initial_encoder(suite: &Suite) -> Result<Option<VitParameters>> {
    let place = |path: &Path| format!("train.init = {}", path.display());
    let read = |path: &PathBuf| VitParameters::read(path).with_context(|| place(path));
    suite.train.init.as_ref().map(read).transpose()
}

fn open_downstream(suite: &Suite, roots: &[PathBuf]) -> Result<DownstreamPacks> {
    let open = |file: &str, made_by: &str| {
        Ok::<_, anyhow::Error>(Pack::open(open::find_pack(file, made_by, roots)?)?)
    };
    let transfer: Vec<Pack> =
        suite.transfer.iter().map(|set| open(&set.file, &set.made_by)).collect::<Result<_>>()?;
    let segmentation: Vec<Pack> =
        suite.segmentation.iter().map(|set| open(&set.file, &set.made_by)).collect::<Result<_>>()?;
    Ok(DownstreamPacks { transfer, segmentation })
}

/// Warns of rows that run other authors' code.
fn warn_of_scripts(suite: &Suite) {
    let encoders = suite.rows.iter().filter_map(|row| Some((row, row.encoder.as_ref()?)));
    for (row, path) in encoders.filter(|(_, path)| is_torchscript(path)) {
        say(&format!(
            "note: rows: `{}`: {} is TorchScript: it runs code of its author",
            row.name,
            path.display()
        ));
    }
}

/// Hashes of external rows' files, by slug.
fn hash_rows(suite: &Suite) -> Result<BTreeMap<String, String>> {
    let identity = |row: &ExternalRow| {
        let hash =
            |path: &Path| hash(path).with_context(|| format!("rows: `{}`: {}", row.name, path.display()));
        Ok((row.slug(), row.identity(hash)?))
    };
    suite.rows.iter().map(identity).collect()
}

/// BLAKE3 hash of a file. For a checkpoint's folder, it is that of the manifest, which contains the hashes of
/// the checkpoint's files. For weights in shards, it is that of the index and all shards.
fn hash(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for file in encoder_files(path)? {
        hasher.update_reader(std::fs::File::open(file)?)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn write_manifest(
    prepared: &[Prepared],
    request: &RunRequest,
    folder: &RunFolder,
    precision: Choice,
    worker: &Worker,
) -> Outcome<()> {
    let ranks = worker.ranks;
    let hosts = gather(ranks, &host());
    on_leader(worker, || {
        let read = prepared.iter().map(|prepared| manifest::HashedSubSuite {
            sub_suite: &prepared.sub_suite,
            packs: &prepared.pack_hashes,
            data: &prepared.data.pack.content,
            init: prepared.initial_encoder.as_ref().map(|encoder| encoder.blake3.as_str()),
        });
        let row_hashes = prepared.iter().flat_map(|prepared| prepared.row_hashes.clone()).collect();
        let (read, provenance) = (read.collect::<Vec<_>>(), provenance(worker, &hosts, precision));
        manifest::establish(folder, &read, precision.compute, request.until_decided, provenance)?;
        row_files::record(folder, &row_hashes)
    })?;
    let manifest = std::fs::read_to_string(folder.path(layout::MANIFEST)).map_err(|_| {
        let hint = "hint: --out must lie on a file system that all ranks share";
        anyhow!("{} is not the leading rank's folder\n{hint}", folder.root().display())
    });
    same_everywhere(ranks, layout::MANIFEST, &agree(ranks, manifest)?)
}
