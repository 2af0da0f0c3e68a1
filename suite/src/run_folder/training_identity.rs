//! Which training a checkpoint belongs to: number type, schedule and architecture.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use eqr_models::schedule::Schedule;
use eqr_models::vit::VitConfig;
use eqr_models::{Arena, Normalisation};
use serde::{Deserialize, Serialize};

/// Shape of every parameter, by name.
pub(crate) type Shapes = BTreeMap<String, Vec<i64>>;

/// Identifies the training of a checkpoint. A training refuses checkpoints with another identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingIdentity {
    /// `fp32`, `bf16`.
    pub precision: String,
    /// Learning rates of the whole training.
    pub schedule: Schedule,
    /// The encoder, so that it can be rebuilt without the suite.
    pub encoder: VitConfig,
    /// The normalisation of its images; absent in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// Shape of every parameter.
    pub shapes: BTreeMap<String, Vec<i64>>,
}

impl TrainingIdentity {
    /// The identity of a training of `arena`.
    pub fn new(arena: &Arena, encoder: &VitConfig, schedule: Schedule, normalisation: Normalisation) -> Self {
        TrainingIdentity {
            precision: arena.compute().name().to_owned(),
            schedule,
            encoder: *encoder,
            normalisation: Some(normalisation),
            shapes: shapes(arena),
        }
    }

    /// Whether a checkpoint of this identity belongs to the training `wanted`.
    ///
    /// # Errors
    /// The first difference, or all differences if shapes differ.
    pub(crate) fn ensure_matches(&self, wanted: &TrainingIdentity) -> Result<()> {
        ensure_same_shapes(&self.shapes, &wanted.shapes)?;
        let (found, precision) = (&self.precision, &wanted.precision);
        ensure!(
            found == precision,
            "the checkpoint is of precision {found}, this run of {precision}\nhint: --precision {found}"
        );
        let (found, schedule) = (&self.schedule, &wanted.schedule);
        ensure!(found == schedule, "the checkpoint follows {found:?}, this run {schedule:?}");
        Ok(())
    }
}

/// Shapes of the parameters of `arena`.
pub(crate) fn shapes(arena: &Arena) -> Shapes {
    arena.names().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect()
}

/// # Errors
/// Every parameter whose shape differs, with both shapes.
pub(crate) fn ensure_same_shapes(found: &Shapes, wanted: &Shapes) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_that_differs_is_named_with_both() {
        let shapes =
            |list: &[(&str, i64)]| list.iter().map(|(name, n)| ((*name).to_owned(), vec![*n])).collect();
        let found = shapes(&[("a", 1), ("b", 2), ("c", 3)]);
        assert!(ensure_same_shapes(&found, &found).is_ok());
        let text = ensure_same_shapes(&found, &shapes(&[("a", 1), ("b", 4)])).unwrap_err().to_string();
        assert!(text.contains("b: the checkpoint has [2], this run [4]"), "{text}");
        assert!(
            text.contains("c: the checkpoint has [3], this run nothing") && !text.contains("a:"),
            "{text}"
        );
    }
}
