//! Checkpoints: a folder `step-N/` of safetensors beside a manifest that proves them whole.
//!
//! | file | content |
//! |---|---|
//! | `parameters.safetensors` | fp32 masters under their own names; the encoder's are timm's |
//! | `optimizer.safetensors` | Adam's moments, as `m.<name>` and `v.<name>` |
//! | `manifest.json` | counters, curve, schedule, precision, names and shapes, and the BLAKE3 of every file and of itself |
//!
//! A folder is written under the name `step-N.tmp`, synced and renamed, so `step-N` is whole or has been damaged since; a reader finds
//! out which before it uses a byte. The two newest stay. `curve-N/` holds the parameters alone, for the curve of R2 against steps.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use eqr_models::Arena;
use eqr_models::adam::Adam;
use eqr_models::schedule::Schedule;
use eqr_models::vit::VitConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use eqr_models::Normalisation;
use crate::run_folder::cell::CurvePoint;
use crate::run_folder::curve_sums::Sums;
use crate::run_folder::safetensors::{self, Named};

/// Version of the format.
const FORMAT: u32 = 1;

/// Training checkpoints that stay: one may turn out damaged.
const KEPT: usize = 2;

const MANIFEST: &str = "manifest.json";

const PARAMETERS: &str = "parameters.safetensors";

const OPTIMIZER: &str = "optimizer.safetensors";

/// Where a training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Epochs finished.
    pub epoch: u64,
    /// Steps taken: also the position in the schedule.
    pub step: u64,
    /// Seconds spent, over all parts of an interrupted training.
    pub seconds: f64,
    /// Training curve so far.
    pub curve: Vec<CurvePoint>,
    /// What was read since its last point, where the training was stopped in the middle of an epoch.
    #[serde(default, skip_serializing_if = "Sums::is_empty")]
    pub since: Sums,
}

/// What a checkpoint is of. One of another identity is refused, not passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// `fp32`, `bf16`.
    pub precision: String,
    /// Learning rates of the whole training.
    pub schedule: Schedule,
    /// The encoder, so that it can be rebuilt without the suite.
    pub encoder: VitConfig,
    /// What its images are normalised by; earlier versions did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// Shape of every parameter.
    pub shapes: BTreeMap<String, Vec<i64>>,
}

impl Identity {
    /// The identity of a training of `arena`.
    pub fn new(arena: &Arena, encoder: &VitConfig, schedule: Schedule, normalisation: Normalisation) -> Self {
        Identity {
            precision: arena.compute().name().to_owned(),
            schedule,
            encoder: *encoder,
            normalisation: Some(normalisation),
            shapes: shapes(arena),
        }
    }

    /// # Errors
    /// What differs from `wanted`; of shapes every one.
    fn same_as(&self, wanted: &Identity) -> Result<()> {
        same_shapes(&self.shapes, &wanted.shapes)?;
        let (found, precision) = (&self.precision, &wanted.precision);
        ensure!(
            found == precision,
            "the checkpoint is of precision {found}, this run of {precision}\nhint: --precision {found}"
        );
        ensure!(
            self.schedule == wanted.schedule,
            "the checkpoint follows {:?}, this run {:?}",
            self.schedule,
            wanted.schedule
        );
        Ok(())
    }
}

/// Bytes and BLAKE3 of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    bytes: u64,
    blake3: String,
}

/// What `manifest.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// Counters and curve.
    pub state: State,
    /// What it is a checkpoint of.
    pub identity: Identity,
    files: BTreeMap<String, Sum>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug)]
pub enum Fault {
    /// Bytes are missing or are not those that were written: an older one may serve.
    Damaged(anyhow::Error),
    /// It is whole, and of something else.
    Other(anyhow::Error),
}

impl From<Fault> for anyhow::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Damaged(error) | Fault::Other(error) => error,
        }
    }
}

/// A checkpoint whose manifest has been read and verified.
pub struct Checkpoint {
    folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Checkpoint {
    /// Reads the manifest of the checkpoint in `folder`.
    ///
    /// # Errors
    /// A manifest that is absent, damaged or of another version.
    pub fn open(folder: &Path) -> Result<Self, Fault> {
        let path = folder.join(MANIFEST);
        let at = || path.display().to_string();
        let value = read_manifest(&path).with_context(at).map_err(Fault::Damaged)?;
        if value["format"] != FORMAT {
            let error = anyhow!("{}: checkpoint format {}, this program reads {FORMAT}", at(), value["format"]);
            return Err(Fault::Other(error));
        }
        let manifest = serde_json::from_value(value).with_context(at).map_err(Fault::Other)?;
        Ok(Checkpoint { folder: folder.to_owned(), manifest })
    }

    /// Reads every file against its checksum.
    ///
    /// # Errors
    /// The first file that is not as it was written.
    pub fn verify(&self) -> Result<(), Fault> {
        self.manifest.files.iter().try_for_each(|(name, sum)| {
            let path = self.folder.join(name);
            check_sum(&path, sum).with_context(|| path.display().to_string()).map_err(Fault::Damaged)
        })
    }

    /// The parameters.
    ///
    /// # Errors
    /// A file that is not as it was written.
    pub fn parameters(&self) -> Result<Named, Fault> {
        self.read(PARAMETERS)
    }

    fn read(&self, name: &str) -> Result<Named, Fault> {
        let path = self.folder.join(name);
        let read = || -> Result<Named> {
            let sum = self.manifest.files.get(name).ok_or_else(|| anyhow!("not in the checkpoint's manifest"))?;
            let bytes = fs::read(&path)?;
            same_sum(sum, bytes.len() as u64, &blake3::hash(&bytes))?;
            Ok(safetensors::decode(&bytes)?.0)
        };
        read().with_context(|| path.display().to_string()).map_err(Fault::Damaged)
    }

    /// Restores parameters and moments and returns the counters; nothing has been changed on an error.
    ///
    /// # Errors
    /// A damaged file, or a checkpoint of something else than `wanted`.
    pub fn restore(&self, wanted: &Identity, arena: &mut Arena, adam: &mut Adam) -> Result<State, Fault> {
        let place = || self.folder.display().to_string();
        self.manifest.identity.same_as(wanted).with_context(place).map_err(Fault::Other)?;
        let (parameters, moments) = (self.parameters()?, self.read(OPTIMIZER)?);
        let moment = |prefix: &str| -> Named {
            let strip = |(name, tensor): (&std::borrow::Cow<str>, &tch::Tensor)| {
                name.strip_prefix(prefix).map(|name| (name.to_owned().into(), tensor.shallow_clone()))
            };
            moments.iter().filter_map(strip).collect()
        };
        let mut restore = || -> Result<State> {
            let step = i64::try_from(self.manifest.state.step)?;
            tch::no_grad(|| {
                arena.fill_from(&mut adam.m, &moment("m."))?;
                arena.fill_from(&mut adam.v, &moment("v."))
            })?;
            arena.load(&parameters)?;
            adam.step = step;
            Ok(self.manifest.state.clone())
        };
        restore().with_context(place).map_err(Fault::Other)
    }
}

/// Restores the parameters of `arena` from a checkpoint that has taken `step` steps.
///
/// # Errors
/// A damaged checkpoint, another number of steps, other shapes.
pub fn load_parameters(folder: &Path, arena: &mut Arena, step: u64) -> Result<()> {
    let checkpoint = Checkpoint::open(folder)?;
    let place = || folder.display().to_string();
    let found = checkpoint.manifest.state.step;
    ensure!(found == step, "{}: stands at step {found}, expected {step}", place());
    same_shapes(&checkpoint.manifest.identity.shapes, &shapes(arena)).with_context(place)?;
    arena.load(&checkpoint.parameters()?).with_context(place)
}

/// The checkpoints of one training.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// Folder of this training alone.
    pub folder: PathBuf,
}

impl Checkpoints {
    /// The training after `step` steps.
    pub fn at_step(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    /// Parameters after `step` steps, for the curve of R2 against steps.
    pub fn on_curve(&self, step: u64) -> PathBuf {
        self.folder.join(format!("curve-{step}"))
    }

    /// Steps of the training's checkpoints, newest first, whole or not.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>> {
        self.numbered("step-")
    }

    /// The parameters kept for points of the curve.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn curve(&self) -> Result<Vec<PathBuf>> {
        Ok(self.numbered("curve-")?.into_iter().map(|step| self.on_curve(step)).collect())
    }

    /// Numbers behind `prefix` in the names of the folder, largest first.
    fn numbered(&self, prefix: &str) -> Result<Vec<u64>> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&self.folder).with_context(|| self.folder.display().to_string())?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut steps: Vec<u64> = names.filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// The newest checkpoint of `wanted` that verifies. `say` hears of every damaged one, which is set aside as `step-N.damaged`.
    ///
    /// # Errors
    /// A whole checkpoint of something else: it is not this training's to pass over.
    pub fn newest_whole(&self, wanted: &Identity, say: &dyn Fn(&str) -> Result<()>) -> Result<Option<u64>> {
        let steps = self.steps()?;
        for (i, &step) in steps.iter().enumerate() {
            let folder = self.at_step(step);
            let verified = Checkpoint::open(&folder).and_then(|found| {
                let same = found.manifest.identity.same_as(wanted).with_context(|| folder.display().to_string());
                same.map_err(Fault::Other)?;
                found.verify()
            });
            let error = match verified {
                Ok(()) => return Ok(Some(step)),
                Err(Fault::Other(error)) => return Err(error),
                Err(Fault::Damaged(error)) => error,
            };
            let next = match steps.get(i + 1) {
                Some(older) => format!("falling back to step-{older}"),
                None => "no older one is left, the training starts anew".to_owned(),
            };
            say(&format!("damaged checkpoint set aside: {error:#}; {next}"))?;
            let aside = self.folder.join(format!("step-{step}.damaged"));
            remove(&aside).and_then(|()| fs::rename(&folder, &aside)).with_context(|| aside.display().to_string())?;
        }
        Ok(None)
    }

    /// Writes the training's checkpoint and removes those that are too many.
    ///
    /// # Errors
    /// The file system's, with the path; older checkpoints are as they were then.
    pub fn save(&self, arena: &Arena, adam: &Adam, state: &State, identity: &Identity) -> Result<()> {
        let mut moments = Vec::new();
        for (prefix, moment) in [("m.", &adam.m), ("v.", &adam.v)] {
            moments.extend(arena.named(moment).into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        }
        let files = [(PARAMETERS, arena.named(arena.master())), (OPTIMIZER, moments)];
        write(&self.at_step(state.step), &files, state, identity)?;
        for step in self.steps()?.into_iter().filter(|&step| step < state.step).skip(KEPT - 1) {
            let old = self.at_step(step);
            remove(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }

    /// Writes the parameters alone, for a point of the curve.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn save_parameters(&self, arena: &Arena, state: &State, identity: &Identity) -> Result<()> {
        write(&self.on_curve(state.step), &[(PARAMETERS, arena.named(arena.master()))], state, identity)
    }
}

fn shapes(arena: &Arena) -> BTreeMap<String, Vec<i64>> {
    arena.names().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect()
}

fn same_shapes(found: &BTreeMap<String, Vec<i64>>, wanted: &BTreeMap<String, Vec<i64>>) -> Result<()> {
    let text = |shape: Option<&Vec<i64>>| shape.map_or("nothing".to_owned(), |shape| format!("{shape:?}"));
    let mut names: Vec<&String> = found.keys().chain(wanted.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter(|name| found.get(*name) != wanted.get(*name));
    let lines = differing.map(|name| {
        format!("  {name}: the checkpoint has {}, this run {}", text(found.get(name)), text(wanted.get(name)))
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return Ok(());
    }
    bail!("checkpoint of another architecture:\n{}", lines.join("\n"))
}

/// Writes a checkpoint under a temporary name, syncs it and renames it.
fn write(
    folder: &Path,
    files: &[(&str, Vec<(String, tch::Tensor)>)],
    state: &State,
    identity: &Identity,
) -> Result<()> {
    written_whole(folder, |temporary| {
        let mut sums = BTreeMap::new();
        for (name, tensors) in files {
            let bytes = safetensors::encode(tensors, None)?;
            write_synced(&temporary.join(name), &bytes)?;
            let sum = Sum { bytes: bytes.len() as u64, blake3: blake3::hash(&bytes).to_hex().to_string() };
            sums.insert((*name).to_owned(), sum);
        }
        let manifest = Manifest { format: FORMAT, state: state.clone(), identity: identity.clone(), files: sums };
        let value = serde_json::to_value(&manifest)?;
        let whole = json!({"blake3": value_sum(&value), "checkpoint": value});
        Ok(write_synced(&temporary.join(MANIFEST), serde_json::to_string_pretty(&whole)?.as_bytes())?)
    })
}

/// Fills a folder of another name, syncs it and renames it.
fn written_whole(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = folder.with_extension("tmp");
    let written = (|| -> Result<()> {
        remove(&temporary)?;
        fs::create_dir_all(&temporary)?;
        fill(&temporary)?;
        File::open(&temporary)?.sync_all()?;
        remove(folder)?;
        fs::rename(&temporary, folder)?;
        Ok(File::open(folder.parent().expect("a checkpoint has a folder"))?.sync_all()?)
    })();
    if written.is_err() {
        // what was written of it would only fill the disk
        let _ = remove(&temporary);
    }
    written.with_context(|| format!("cannot write checkpoint {}", folder.display()))
}

/// Copies a checkpoint with its name into the folder `training`.
///
/// # Errors
/// The file system's, with the path.
pub fn copy_whole(checkpoint: &Path, training: &Path) -> Result<()> {
    let name = checkpoint.file_name().expect("a checkpoint has a name");
    written_whole(&training.join(name), |temporary| {
        for file in fs::read_dir(checkpoint)? {
            let file = file?;
            write_synced(&temporary.join(file.file_name()), &fs::read(file.path())?)?;
        }
        Ok(())
    })
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a folder if it is there.
fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The `checkpoint` part of a manifest whose checksum is right.
fn read_manifest(path: &Path) -> Result<Value> {
    let mut whole: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let value = whole["checkpoint"].take();
    ensure!(whole["blake3"] == value_sum(&value), "does not match its checksum");
    Ok(value)
}

/// BLAKE3 of a JSON value's shortest text.
fn value_sum(value: &Value) -> String {
    blake3::hash(value.to_string().as_bytes()).to_hex().to_string()
}

fn check_sum(path: &Path, sum: &Sum) -> Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    same_sum(sum, length, &hasher.finalize())
}

fn same_sum(sum: &Sum, length: u64, hash: &blake3::Hash) -> Result<()> {
    ensure!(length == sum.bytes, "has {length} bytes, {} were written", sum.bytes);
    ensure!(hash.to_hex().as_str() == sum.blake3, "does not match its checksum");
    Ok(())
}
