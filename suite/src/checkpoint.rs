//! Checkpoints: parameters, optimiser and counters in one safetensors file, written whole or not at all.
//!
//! Parameters stand under their own names (the encoder's are timm's), Adam's moments under `adam.m.` and `adam.v.`, and the counters
//! as JSON in the byte tensor `state`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use eqr_models::Arena;
use eqr_models::optim::Adam;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::store::{CurvePoint, temporary};

/// Where a training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Epochs finished.
    pub epoch: u64,
    /// Steps taken.
    pub step: u64,
    /// Seconds spent, over all parts of an interrupted training.
    pub seconds: f64,
    /// Training curve so far.
    pub curve: Vec<CurvePoint>,
}

/// Writes a checkpoint that training can resume from.
///
/// # Errors
/// The file system's, with the path.
pub fn save(path: &Path, arena: &Arena, adam: &Adam, state: &State) -> Result<()> {
    let mut tensors = arena.named(arena.master());
    for (prefix, moment) in [("adam.m.", &adam.m), ("adam.v.", &adam.v)] {
        tensors.extend(arena.named(moment).into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    }
    tensors.push(("state".into(), Tensor::from_slice(&serde_json::to_vec(state)?)));
    write(path, &tensors)
}

/// Writes the parameters alone, for probing.
///
/// # Errors
/// The file system's, with the path.
pub fn save_parameters(path: &Path, arena: &Arena) -> Result<()> {
    write(path, &arena.named(arena.master()))
}

fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let folder = path.parent().expect("a checkpoint has a folder");
    let write = || -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let file = temporary(folder)?;
        Tensor::write_safetensors(tensors, file.path())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write checkpoint {}", path.display()))
}

fn read(path: &Path) -> Result<BTreeMap<Cow<'static, str>, Tensor>> {
    let tensors =
        Tensor::read_safetensors(path).with_context(|| format!("cannot read checkpoint {}", path.display()))?;
    Ok(tensors.into_iter().map(|(name, tensor)| (Cow::Owned(name), tensor)).collect())
}

/// Restores parameters, moments and counters.
///
/// # Errors
/// An unreadable file, or one of another architecture (names the first differing parameter).
pub fn restore(path: &Path, arena: &mut Arena, adam: &mut Adam) -> Result<State> {
    let tensors = read(path)?;
    let state = tensors.get("state").ok_or_else(|| anyhow!("{}: no training state in it", path.display()))?;
    let state: State = serde_json::from_slice(&Vec::<u8>::try_from(state)?)?;
    let moment = |prefix: &str| -> BTreeMap<Cow<'static, str>, Tensor> {
        let strip = |(name, tensor): (&Cow<str>, &Tensor)| {
            name.strip_prefix(prefix).map(|name| (Cow::Owned(name.to_owned()), tensor.to_device(Device::Cpu)))
        };
        tensors.iter().filter_map(strip).collect()
    };
    let place = || path.display().to_string();
    tch::no_grad(|| arena.fill_from(&mut adam.m, &moment("adam.m."))).with_context(place)?;
    tch::no_grad(|| arena.fill_from(&mut adam.v, &moment("adam.v."))).with_context(place)?;
    arena.load(&tensors).with_context(place)?;
    adam.step = i64::try_from(state.step)?;
    Ok(state)
}

/// Restores the parameters that `arena` has; others in the file are passed over.
///
/// # Errors
/// As [`restore`]; a training state in the file that has not taken `step` steps.
pub fn load_parameters(path: &Path, arena: &mut Arena, step: u64) -> Result<()> {
    let tensors = read(path)?;
    if let Some(state) = tensors.get("state") {
        let state: State = serde_json::from_slice(&Vec::<u8>::try_from(state)?)?;
        ensure!(state.step == step, "{}: stands at step {}, expected {step}", path.display(), state.step);
    }
    arena.load(&tensors).with_context(|| path.display().to_string())
}
