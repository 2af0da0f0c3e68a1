//! Sets that a frozen encoder is transferred to, and sets that it segments, as a suite file names them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use eqr_probes::segmentation_head::SegmentConfig;
use serde::{Deserialize, Serialize};

use crate::suite_file::names::file_name;

/// How images are brought to the encoder, and what is set aside for validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preparation {
    /// Side of the central square that is kept, as a part of the shorter side that images are resized to (bicubic): 224 of 256.
    pub crop_pct: f64,
    /// Part of every class of the training split that is set aside where the set has no validation split.
    pub val_fraction: f64,
}

impl Default for Preparation {
    fn default() -> Self {
        Preparation { crop_pct: 0.875, val_fraction: 0.1 }
    }
}

impl Preparation {
    /// # Errors
    /// A value out of range.
    pub fn validate(&self) -> Result<()> {
        let Preparation { crop_pct, val_fraction } = *self;
        ensure!(crop_pct > 0.0 && crop_pct <= 1.0, "crop_pct = {crop_pct}: must be above 0 and at most 1");
        ensure!(val_fraction > 0.0 && val_fraction < 1.0, "val_fraction = {val_fraction}: must be between 0 and 1");
        Ok(())
    }
}

/// A set of linear transfer (protocol section 5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferSet {
    /// File name of the pack, looked for in every data root.
    pub file: String,
    /// The command that makes it, for the message when it is missing.
    pub made_by: String,
    /// What the table shows of it.
    #[serde(default)]
    pub metric: Headline,
    /// How images are brought to the encoder, and what is set aside.
    #[serde(default)]
    pub preparation: Preparation,
}

/// The accuracy that stands for a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Headline {
    /// Share of the test images that are right.
    #[default]
    Top1,
    /// Mean of this over the classes: Pets and Aircraft.
    MeanPerClass,
}

impl Headline {
    /// Name of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Headline::Top1 => "top1",
            Headline::MeanPerClass => "mean_per_class",
        }
    }
}

/// A set with masks (protocol section 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentationSet {
    /// File name of the pack, looked for in every data root.
    pub file: String,
    /// The command that makes it, for the message when it is missing.
    pub made_by: String,
    /// Seeds 0 .. seeds of the head.
    #[serde(default = "three")]
    pub seeds: u64,
    /// The head and its training.
    #[serde(default)]
    pub head: SegmentConfig,
}

fn three() -> u64 {
    3
}

impl TransferSet {
    /// Name in cell ids.
    pub fn slug(&self) -> String {
        slug(&self.file)
    }
}

impl SegmentationSet {
    /// Name in cell ids.
    pub fn slug(&self) -> String {
        slug(&self.file)
    }
}

fn slug(file: &str) -> String {
    file_name(file.strip_suffix(".h5").unwrap_or(file))
}

/// Checks what can be checked without the data.
///
/// # Errors
/// A value out of range, a set that stands twice.
pub fn validate(transfer: &[TransferSet], segmentation: &[SegmentationSet]) -> Result<()> {
    for set in transfer {
        set.preparation.validate().with_context(|| format!("transfer, {}", set.file))?;
    }
    for set in segmentation {
        set.head.validate().with_context(|| format!("segmentation, {}", set.file))?;
        ensure!(set.seeds > 0, "segmentation, {}: seeds = 0: must be at least 1", set.file);
    }
    twice("transfer", transfer.iter().map(TransferSet::slug))?;
    twice("segmentation", segmentation.iter().map(SegmentationSet::slug))
}

fn twice(key: &str, mut slugs: impl Iterator<Item = String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    match slugs.find(|slug| !seen.insert(slug.clone())) {
        Some(slug) => bail!("{key}: {slug} stands twice"),
        None => Ok(()),
    }
}
