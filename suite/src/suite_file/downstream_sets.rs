//! `[[transfer]]` and `[[segmentation]]`: data sets for transfer and segmentation with frozen encoders.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use eqr_datasets::transforms::Shift;
use eqr_probes::few_shot::FewShotConfig;
use eqr_probes::segmentation_head::SegmentConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::registry;
use crate::suite_file::key_path::KeyPath;
use crate::suite_file::names::file_name;
use crate::suite_file::problem::Problems;

/// How images are prepared for the encoder, and what is set aside for validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preparation {
    /// Side of the central square that is kept, as a fraction of the shorter side that images are resized to
    /// (bicubic): 224 of 256.
    pub crop_pct: f64,
    /// Fraction of every class of the training split that is set aside if there is no validation split.
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
        ensure!(
            val_fraction > 0.0 && val_fraction < 1.0,
            "val_fraction = {val_fraction}: must be between 0 and 1"
        );
        Ok(())
    }
}

/// A data set of linear transfer (protocol section 5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferSet {
    /// File name of the pack, searched in every data root.
    pub file: String,
    /// The command that makes it, for the error message when it is missing.
    #[serde(default)]
    pub made_by: String,
    /// The metric that the table shows.
    #[serde(default)]
    pub metric: Headline,
    /// How images are prepared.
    #[serde(default)]
    pub preparation: Preparation,
    /// Also classify after a few training images of each class, drawn at random several times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_shot: Option<FewShotConfig>,
    /// Also classify the test images after changes from these ranges, which the classifier was not trained
    /// on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
}

/// The accuracy that a table shows for a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Headline {
    /// Fraction of the test images that are classified correctly.
    #[default]
    Top1,
    /// Mean of that fraction over the classes, for Pets and Aircraft.
    MeanPerClass,
}

impl Headline {
    /// Name of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Headline::Top1 => registry::TRANSFER_TOP1.metric,
            Headline::MeanPerClass => registry::TRANSFER_MEAN_PER_CLASS.metric,
        }
    }
}

/// A data set with masks (protocol section 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentationSet {
    /// File name of the pack, searched in every data root.
    pub file: String,
    /// The command that makes it, for the error message when it is missing.
    #[serde(default)]
    pub made_by: String,
    /// Seeds 0 .. seeds of the head.
    #[serde(default = "three_seeds")]
    pub seeds: u64,
    /// The head and its training.
    #[serde(default)]
    pub head: SegmentConfig,
}

fn three_seeds() -> u64 {
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

/// Checks what can be checked without the data: values out of range, and sets that are listed twice.
pub(super) fn check(problems: &mut Problems, transfer: &[TransferSet], segmentation: &[SegmentationSet]) {
    for (index, set) in transfer.iter().enumerate() {
        let key = KeyPath::from("transfer").join(index);
        let place = format!("transfer, {}: ", set.file);
        problems.check(set.preparation.validate(), key.clone(), &place);
        problems.check(set.few_shot.iter().try_for_each(FewShotConfig::validate), key.clone(), &place);
        problems.check(set.shift.iter().try_for_each(Shift::validate), key, format!("{place}shift: "));
    }
    for (index, set) in segmentation.iter().enumerate() {
        let key = KeyPath::from("segmentation").join(index);
        problems.check(set.head.validate(), key, format!("segmentation, {}: ", set.file));
    }
    ensure_distinct(problems, "transfer", transfer.iter().map(TransferSet::slug));
    ensure_distinct(problems, "segmentation", segmentation.iter().map(SegmentationSet::slug));
}

fn ensure_distinct(problems: &mut Problems, key: &str, slugs: impl Iterator<Item = String>) {
    let mut seen = BTreeSet::new();
    for (index, slug) in slugs.enumerate() {
        let message = format!("{key}: {slug} is listed twice");
        problems.ensure(seen.insert(slug), KeyPath::from(key).join(index), || message);
    }
}
