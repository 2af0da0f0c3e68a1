//! Everything that can refuse a run, checked before it writes anything and for `--dry-run` alike. All reasons
//! are told at once.

use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, ensure};
use eqr_datasets::Pack;
use eqr_models::methods::build;
use eqr_models::vit::VitConfig;
use eqr_models::{Compute, MethodKind, Registry};

use crate::cluster::worker::Worker;
use crate::data::missing_pack::MissingPack;
use crate::data::open::find_pack;
use crate::data::scenes;
use crate::data::set_facts::SetFacts;
use crate::encoder::network::model_config_for;
use crate::encoder::vit_file::VitParameters;
use crate::run::request::RunRequest;
use crate::run::{external_files, reuse};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::manifest;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::data_source::Data;
use crate::suite_file::suite::Suite;

/// Checks the folder on the leading rank, and the files of all sub-suites.
///
/// # Errors
/// A folder that cannot become or is not this run; anything that the suites need and that is missing or does
/// not fit.
pub(super) fn check(
    sub_suites: &[SubSuite],
    request: &RunRequest,
    compute: Compute,
    worker: &Worker,
) -> Result<()> {
    let mut checks = Checks { request, worker, refusals: Vec::new() };
    if worker.leads() {
        let folder = RunFolder::new(&request.out);
        if checks.note(folder.ensure_can_be_made()).is_some() {
            checks.note(manifest::check(&folder, sub_suites, compute, request.until_decided));
            checks.note(folder.ensure_without_links());
        }
        for part in request.parts.iter().map(RunFolder::new) {
            checks.note(manifest::check(&part, sub_suites, compute, request.until_decided));
        }
        for run in &request.pretrained {
            checks.note(reuse::check(run));
        }
    }
    sub_suites.iter().for_each(|sub_suite| checks.sub_suite(sub_suite));
    checks.outcome()
}

struct Checks<'a> {
    request: &'a RunRequest,
    worker: &'a Worker<'a>,
    refusals: Vec<Error>,
}

impl Checks<'_> {
    /// The value, or a further reason to refuse the run.
    fn note<T>(&mut self, outcome: Result<T>) -> Option<T> {
        let error = match outcome {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        // sub-suites may name the same file
        let text = format!("{error:#}");
        if self.refusals.iter().all(|other| format!("{other:#}") != text) {
            self.refusals.push(error);
        }
        None
    }

    fn sub_suite(&mut self, sub_suite: &SubSuite) {
        let suite = &sub_suite.suite;
        let facts = self.note(self.facts(suite)).flatten();
        if let Some(facts) = &facts {
            self.note(facts.ensure_fit(suite));
            self.note(check_networks(suite, facts));
        }
        self.note(check_initial_encoder(suite, facts.as_ref()));
        let transfer = suite.transfer.iter().map(|set| (&set.file, &set.made_by));
        let transfer = self.packs(transfer.collect());
        let segmentation = suite.segmentation.iter().map(|set| (&set.file, &set.made_by));
        let segmentation = self.packs(segmentation.collect());
        let sets =
            [&transfer[..], &segmentation[..]].map(|packs| packs.iter().flatten().collect::<Vec<&Pack>>());
        self.note(ensure_own_names(&sets.concat()));
        for (index, pack) in segmentation.iter().enumerate().filter_map(|(i, pack)| Some((i, pack.as_ref()?)))
        {
            self.note(check_segmentation(suite, index, pack, facts.as_ref()));
        }
        for row in &suite.rows {
            let place = || format!("rows: `{}`", row.name);
            let found = row.files().try_for_each(ensure_exists).with_context(place);
            if let (Some(()), Some(facts), true) = (self.note(found), &facts, self.worker.leads()) {
                let checked =
                    external_files::check(sub_suite, facts, row, [&sets[0], &sets[1]], self.worker.device);
                self.note(checked.with_context(place));
            }
        }
    }

    /// What is known of the suite's own data set; `None` if it depends on meshes.
    fn facts(&self, suite: &Suite) -> Result<Option<SetFacts>> {
        match &suite.data {
            Data::Solids { spec } => SetFacts::of_solids(spec),
            Data::Pack { file, made_by, .. } => {
                let pack = Pack::open(find_pack(file, made_by, &self.request.data_roots)?)?;
                SetFacts::of_pack(suite, &pack).map(Some)
            }
        }
    }

    /// The packs of these files and of the commands that make them; `None` for what cannot be opened.
    fn packs(&mut self, files: Vec<(&String, &String)>) -> Vec<Option<Pack>> {
        let roots = &self.request.data_roots;
        let open = |(file, made_by): (&String, &String)| Ok(Pack::open(find_pack(file, made_by, roots)?)?);
        files.into_iter().map(|named| self.note(open(named))).collect()
    }

    /// The only reason, or a list of all. Missing packs stand in one paragraph.
    fn outcome(mut self) -> Result<()> {
        let Some(first) = self.refusals.pop() else { return Ok(()) };
        if self.refusals.is_empty() {
            return Err(first);
        }
        self.refusals.push(first);
        let missing: Vec<&MissingPack> =
            self.refusals.iter().filter_map(|error| error.downcast_ref::<MissingPack>()).collect();
        let others = self.refusals.iter().filter(|error| !error.is::<MissingPack>());
        let texts = missing_packs(&missing).into_iter().chain(others.map(|error| format!("{error:#}")));
        Err(anyhow!("{}", texts.collect::<Vec<_>>().join("\n\n")))
    }
}

fn missing_packs(missing: &[&MissingPack]) -> Option<String> {
    let [first, others @ ..] = missing else { return None };
    if others.is_empty() {
        return Some(first.to_string());
    }
    let line = |pack: &&MissingPack| format!("  {}: make it with `{}`", pack.file, pack.command());
    let lines: Vec<String> = missing.iter().map(line).collect();
    let hint = "hint: pass the folder of the packs as --data-root";
    Some(format!("{} packs are missing: {}\n{}\n{hint}", missing.len(), first.searched, lines.join("\n")))
}

/// Checks that the network of every method can be built.
fn check_networks(suite: &Suite, facts: &SetFacts) -> Result<()> {
    let config = model_config_for(suite, facts.kind, facts.side as i64, facts.classes as i64);
    let build = |kind: &MethodKind| build(kind, &config, &mut Registry::default()).map(drop);
    Ok(suite.method_kinds()?.iter().filter(|kind| kind.has_network()).try_for_each(build)?)
}

/// Checks that the file of `train.init` fits the suite's network.
fn check_initial_encoder(suite: &Suite, facts: Option<&SetFacts>) -> Result<()> {
    let Some(path) = &suite.train.init else { return Ok(()) };
    let place = || format!("train.init = {}", path.display());
    let encoder = VitParameters::read(path).with_context(place)?;
    let Some(facts) = facts else { return Ok(()) };
    let config = model_config_for(suite, facts.kind, facts.side as i64, facts.classes as i64);
    let fitted = encoder.fitted(&config.encoder).with_context(place);
    fitted.map(drop).map_err(|error| anyhow!("{error:#}\nhint: set model.* to the file's shapes"))
}

/// Checks that no two of the sets for transfer and segmentation have the same name.
fn ensure_own_names(packs: &[&Pack]) -> Result<()> {
    for (i, pack) in packs.iter().enumerate() {
        ensure!(
            packs[..i].iter().all(|other| other.name != pack.name),
            "transfer, segmentation: two of the packs are called {}\nhint: pack one of them again with another --name",
            pack.name
        );
    }
    Ok(())
}

/// Checks that a segmentation set has masks, and that the suite's networks accept images of the crops' side.
fn check_segmentation(suite: &Suite, index: usize, pack: &Pack, facts: Option<&SetFacts>) -> Result<()> {
    let set = &suite.segmentation[index];
    scenes::class_count(pack)?;
    for split in ["train", "test"] {
        let (masks, path) = (pack.expect_split(split)?.has_masks(), pack.path().display());
        ensure!(masks, "segmentation, {path}: the {split} images have no masks\nhint: {}", set.made_by);
    }
    let Some(facts) = facts.filter(|_| !suite.methods.is_empty()) else { return Ok(()) };
    let config = model_config_for(suite, facts.kind, facts.side as i64, facts.classes as i64).encoder;
    let crops = VitConfig { image: set.head.crop, ..config }.validate();
    crops.with_context(|| format!("segmentation, {}: head.crop = {}", set.file, set.head.crop))
}

fn ensure_exists(file: &Path) -> Result<()> {
    std::fs::metadata(file).map(drop).with_context(|| file.display().to_string())
}
