//! One checkpoint: a folder of safetensors files, with a manifest that has their checksums.
//!
//! | file | content |
//! |---|---|
//! | `parameters.safetensors` | fp32 masters under their own names; the encoder's are timm's |
//! | `optimizer.safetensors` | Adam's moments, as `m.<name>` and `v.<name>`; absent in `curve-N/` |
//! | `manifest.json` | counters, curve, schedule, precision, names, shapes, the BLAKE3 of every file |
//!
//! The folder is written atomically, so it is complete unless it was damaged later. A reader verifies every
//! file before using it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use eqr_models::Arena;
use eqr_models::adam::Adam;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::Tensor;

use crate::run_folder::atomic_file::{write_folder_atomic, write_synced};
use crate::run_folder::cell::CurvePoint;
use crate::run_folder::curve_sums::CurveSums;
use crate::run_folder::safetensors::{self, NamedTensors};
use crate::run_folder::training_identity::{TrainingIdentity, ensure_same_shapes, shapes};

/// Version of the format.
const FORMAT: u32 = 1;

/// File of the counters and checksums.
pub const MANIFEST: &str = "manifest.json";

/// File of the parameters.
pub(crate) const PARAMETERS: &str = "parameters.safetensors";

/// File of Adam's moments.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";

/// The progress of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// Epochs finished.
    pub epoch: u64,
    /// Steps taken, which is also the position in the schedule.
    pub step: u64,
    /// Seconds spent, over all calls that worked on the training.
    pub seconds: f64,
    /// Training curve so far.
    pub curve: Vec<CurvePoint>,
    /// Sums since the curve's last point, if the training was stopped in the middle of an epoch.
    #[serde(rename = "since", default, skip_serializing_if = "CurveSums::is_empty")]
    pub curve_sums: CurveSums,
}

/// Bytes and BLAKE3 of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileChecksum {
    bytes: u64,
    blake3: String,
}

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    format: u32,
    /// Counters and curve.
    pub state: TrainingState,
    /// The training that it belongs to.
    pub identity: TrainingIdentity,
    files: BTreeMap<String, FileChecksum>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug)]
pub enum CheckpointError {
    /// Bytes are missing or have changed: an older checkpoint may be good.
    Damaged(anyhow::Error),
    /// It is complete but belongs to another training or version.
    Mismatch(anyhow::Error),
}

impl From<CheckpointError> for anyhow::Error {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Damaged(error) | CheckpointError::Mismatch(error) => error,
        }
    }
}

/// A checkpoint whose manifest has been read and verified.
pub struct Checkpoint {
    folder: PathBuf,
    /// Its manifest.
    pub manifest: CheckpointManifest,
}

impl Checkpoint {
    /// Reads the manifest of the checkpoint in `folder`.
    ///
    /// # Errors
    /// A manifest that is absent, damaged or has another version.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(MANIFEST);
        let place = || path.display().to_string();
        let content = read_manifest(&path).with_context(place).map_err(CheckpointError::Damaged)?;
        if content["format"] != FORMAT {
            let found = &content["format"];
            let error = anyhow!("{}: checkpoint format {found}, this program reads {FORMAT}", place());
            return Err(CheckpointError::Mismatch(error));
        }
        let manifest =
            serde_json::from_value(content).with_context(place).map_err(CheckpointError::Mismatch)?;
        Ok(Checkpoint { folder: folder.to_owned(), manifest })
    }

    /// Reads every file and compares its checksum.
    ///
    /// # Errors
    /// The first file that has changed.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        self.manifest.files.iter().try_for_each(|(name, expected)| {
            let path = self.folder.join(name);
            verify_file(&path, expected)
                .with_context(|| path.display().to_string())
                .map_err(CheckpointError::Damaged)
        })
    }

    /// The parameters.
    ///
    /// # Errors
    /// A file that has changed.
    pub fn parameters(&self) -> Result<NamedTensors, CheckpointError> {
        self.read(PARAMETERS)
    }

    fn read(&self, name: &str) -> Result<NamedTensors, CheckpointError> {
        let path = self.folder.join(name);
        let read = || -> Result<NamedTensors> {
            let expected = self.manifest.files.get(name).context("not in the checkpoint's manifest")?;
            let bytes = fs::read(&path)?;
            ensure_same_checksum(expected, bytes.len() as u64, &blake3::hash(&bytes))?;
            Ok(safetensors::decode(&bytes)?.0)
        };
        read().with_context(|| path.display().to_string()).map_err(CheckpointError::Damaged)
    }

    /// Restores parameters and moments, and returns the counters. On an error, nothing is changed.
    ///
    /// # Errors
    /// A damaged file, or a checkpoint of another training than `wanted`.
    pub fn restore(
        &self,
        wanted: &TrainingIdentity,
        arena: &mut Arena,
        adam: &mut Adam,
    ) -> Result<TrainingState, CheckpointError> {
        let place = || self.folder.display().to_string();
        self.manifest
            .identity
            .ensure_matches(wanted)
            .with_context(place)
            .map_err(CheckpointError::Mismatch)?;
        let (parameters, moments) = (self.parameters()?, self.read(OPTIMIZER)?);
        let moment = |prefix: &str| -> NamedTensors {
            let strip = |(name, tensor): (&Cow<str>, &Tensor)| {
                name.strip_prefix(prefix).map(|name| (name.to_owned().into(), tensor.shallow_clone()))
            };
            moments.iter().filter_map(strip).collect()
        };
        let mut restore = || -> Result<TrainingState> {
            let step = i64::try_from(self.manifest.state.step)?;
            tch::no_grad(|| {
                arena.fill_from(&mut adam.m, &moment("m."))?;
                arena.fill_from(&mut adam.v, &moment("v."))
            })?;
            arena.load(&parameters)?;
            adam.step = step;
            Ok(self.manifest.state.clone())
        };
        restore().with_context(place).map_err(CheckpointError::Mismatch)
    }
}

/// Restores the parameters of `arena` from a checkpoint after `step` steps.
///
/// # Errors
/// A damaged checkpoint, another number of steps, other shapes.
pub fn load_parameters(folder: &Path, arena: &mut Arena, step: u64) -> Result<()> {
    let checkpoint = Checkpoint::open(folder)?;
    let place = || folder.display().to_string();
    let found = checkpoint.manifest.state.step;
    ensure!(found == step, "{}: is after step {found}, expected {step}", place());
    ensure_same_shapes(&checkpoint.manifest.identity.shapes, &shapes(arena)).with_context(place)?;
    arena.load(&checkpoint.parameters()?).with_context(place)
}

/// Writes a checkpoint of `files`, tensors by file name.
pub(crate) fn write(
    folder: &Path,
    files: &[(&str, Vec<(String, Tensor)>)],
    state: &TrainingState,
    identity: &TrainingIdentity,
) -> Result<()> {
    let fill = |temporary: &Path| {
        let mut checksums = BTreeMap::new();
        for (name, tensors) in files {
            let bytes = safetensors::encode(tensors, None)?;
            write_synced(&temporary.join(name), &bytes)?;
            let blake3 = blake3::hash(&bytes).to_hex().to_string();
            checksums.insert((*name).to_owned(), FileChecksum { bytes: bytes.len() as u64, blake3 });
        }
        let (state, identity) = (state.clone(), identity.clone());
        let manifest =
            serde_json::to_value(CheckpointManifest { format: FORMAT, state, identity, files: checksums })?;
        let content = json!({"blake3": json_checksum(&manifest), "checkpoint": manifest});
        Ok(write_synced(&temporary.join(MANIFEST), serde_json::to_string_pretty(&content)?.as_bytes())?)
    };
    write_folder_atomic(folder, fill).with_context(|| format!("cannot write checkpoint {}", folder.display()))
}

/// The `checkpoint` section of a manifest, if its checksum is right.
fn read_manifest(path: &Path) -> Result<Value> {
    let mut content: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let manifest = content["checkpoint"].take();
    ensure!(content["blake3"] == json_checksum(&manifest), "does not match its checksum");
    Ok(manifest)
}

/// BLAKE3 of a JSON value's compact text.
fn json_checksum(value: &Value) -> String {
    blake3::hash(value.to_string().as_bytes()).to_hex().to_string()
}

fn verify_file(path: &Path, expected: &FileChecksum) -> Result<()> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    ensure_same_checksum(expected, bytes, &hasher.finalize())
}

fn ensure_same_checksum(expected: &FileChecksum, bytes: u64, hash: &blake3::Hash) -> Result<()> {
    ensure!(bytes == expected.bytes, "has {bytes} bytes, {} were written", expected.bytes);
    ensure!(hash.to_hex().as_str() == expected.blake3, "does not match its checksum");
    Ok(())
}

#[cfg(test)]
mod tests {
    use eqr_models::init::Init;
    use eqr_models::schedule::{Decay, Schedule};
    use eqr_models::vit::{Pool, PositionInit, VitConfig};
    use eqr_models::{Compute, Normalisation, ParameterGroup, Registry};
    use tch::{Device, Kind};

    use super::*;
    use crate::run_folder::checkpoints::Checkpoints;

    fn arena(start: f64, length: i64) -> Arena {
        let mut registry = Registry::default();
        registry.add(ParameterGroup::Global, "weight", &[length], Init::Constant(start));
        Arena::new(registry, 0, Compute::F32, Device::Cpu)
    }

    fn identity(arena: &Arena) -> TrainingIdentity {
        let schedule = Schedule { peak: 0.1, warmup: 1, total: 9, decay: Decay::Cosine };
        let (pool, positions) = (Pool::default(), PositionInit::default());
        let encoder = VitConfig { image: 4, patch: 2, dim: 4, depth: 1, heads: 1, out: 4, pool, positions };
        TrainingIdentity::new(arena, &encoder, schedule, Normalisation::IMAGENET)
    }

    /// A checkpoint after step 3 in `folder`.
    fn saved(folder: &Path, arena: &Arena, adam: &Adam) -> (PathBuf, TrainingState) {
        let checkpoints = Checkpoints { folder: folder.to_owned() };
        let state = TrainingState { step: 3, ..TrainingState::default() };
        checkpoints.save(arena, adam, &state, &identity(arena)).unwrap();
        (checkpoints.at_step(3), state)
    }

    #[test]
    fn what_was_written_is_restored_and_other_trainings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let source = arena(0.5, 4);
        let moments = Adam::new(&source, 0.0);
        let _ = tch::no_grad(|| moments.m.shallow_clone().fill_(2.0));
        let (path, state) = saved(folder.path(), &source, &moments);

        let checkpoint = Checkpoint::open(&path).unwrap_or_else(|error| panic!("{error:?}"));
        let (mut target, other) = (arena(0.0, 4), arena(0.0, 5));
        let mut adam = Adam::new(&target, 0.0);
        let found = checkpoint.restore(&identity(&target), &mut target, &mut adam);
        assert_eq!(found.unwrap_or_else(|error| panic!("{error:?}")), state);
        assert_eq!(adam.step, 3);
        assert!(target.master().equal(source.master()));
        assert_eq!(adam.m.narrow(0, 0, 4).sum(Kind::Float).double_value(&[]), 8.0);

        let refused = checkpoint.restore(&identity(&other), &mut target, &mut adam);
        assert!(matches!(refused, Err(CheckpointError::Mismatch(_))));
        let message = format!("{:#}", load_parameters(&path, &mut target, 4).unwrap_err());
        assert!(message.contains("is after step 3, expected 4"), "{message}");
    }

    #[test]
    fn a_byte_that_changed_is_noticed_in_every_file() {
        let folder = tempfile::tempdir().unwrap();
        let source = arena(0.5, 4);
        let (path, _) = saved(folder.path(), &source, &Adam::new(&source, 0.0));
        for name in [PARAMETERS, OPTIMIZER] {
            let whole = fs::read(path.join(name)).unwrap();
            let mut changed = whole.clone();
            *changed.last_mut().unwrap() ^= 1;
            fs::write(path.join(name), &changed).unwrap();
            let verified = Checkpoint::open(&path).and_then(|checkpoint| checkpoint.verify());
            let Err(CheckpointError::Damaged(error)) = verified else { panic!("{name}: not noticed") };
            assert!(format!("{error:#}").contains(name), "{error:#}");
            fs::write(path.join(name), &whole).unwrap();
        }
        let manifest = fs::read_to_string(path.join(MANIFEST)).unwrap().replace("\"step\": 3", "\"step\": 4");
        fs::write(path.join(MANIFEST), manifest).unwrap();
        assert!(matches!(Checkpoint::open(&path), Err(CheckpointError::Damaged(_))));
    }
}
