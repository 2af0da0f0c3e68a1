//! An X-ray of an encoder: every value with its place, as cells and `xray --json` have it.

use serde::{Deserialize, Serialize};

use crate::registry::{BY_NEIGHBOURS, EFFECTIVE_RANK, R2Metric, TOP1};

/// What is measured at every place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum XrayMeasure {
    /// R2 of ridge regression that predicts a transformation.
    LinearR2,
    /// R2 of a multilayer perceptron that predicts a transformation.
    MlpR2,
    /// How far a transformation moves the features.
    Sensitivity,
    /// Top-1 of nearest neighbours.
    Neighbours,
    /// Effective rank.
    EffectiveRank,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Where in the encoder: embedding, block 1, .., output.
    pub layer: String,
    /// Which tokens were read there: class, mean, grid or features.
    pub tokens: String,
    /// What was measured.
    pub measure: XrayMeasure,
    /// The transformation, if the measure is of one.
    pub task: Option<String>,
    /// The output of the transformation, from 0; `None` for all of them together.
    pub output: Option<usize>,
    /// The value; `None` where it is undefined.
    pub value: Option<f64>,
    /// 95% interval over test objects; `None` if there are too few, or if the measure has none.
    pub ci95: Option<(f64, f64)>,
}

/// All readings of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Xray {
    /// Number of training pairs of each transformation.
    pub train_pairs: usize,
    /// Number of test pairs of each transformation.
    pub test_pairs: usize,
    /// Number of test objects or photographs, which intervals are over.
    pub test_objects: usize,
    /// Measure by measure, each from the first layer to the last.
    pub readings: Vec<Reading>,
}

impl XrayMeasure {
    /// All measures, in the order of an X-ray.
    pub const ALL: [XrayMeasure; 5] = [
        XrayMeasure::LinearR2,
        XrayMeasure::MlpR2,
        XrayMeasure::Sensitivity,
        XrayMeasure::Neighbours,
        XrayMeasure::EffectiveRank,
    ];

    /// Name in CSV and JSON: that of the metric in metrics.csv, if there is one.
    pub fn name(self) -> String {
        match self {
            XrayMeasure::LinearR2 => R2Metric::LINEAR.to_string(),
            XrayMeasure::MlpR2 => R2Metric::PER_OUTPUT.to_string(),
            XrayMeasure::Sensitivity => "sensitivity".to_owned(),
            XrayMeasure::Neighbours => format!("{BY_NEIGHBOURS}{}", TOP1.metric),
            XrayMeasure::EffectiveRank => EFFECTIVE_RANK.metric.to_owned(),
        }
    }

    /// What it is, for people.
    pub fn title(self) -> &'static str {
        match self {
            XrayMeasure::LinearR2 => "R2 of each transformation (ridge regression)",
            XrayMeasure::MlpR2 => "R2 of each transformation (MLP probe)",
            XrayMeasure::Sensitivity => {
                "Sensitivity to each transformation (1: as far as between two images)"
            }
            XrayMeasure::Neighbours => "Top-1 of the 20 nearest neighbours",
            XrayMeasure::EffectiveRank => "Effective rank",
        }
    }
}

impl From<XrayMeasure> for String {
    fn from(measure: XrayMeasure) -> String {
        measure.name()
    }
}

impl TryFrom<String> for XrayMeasure {
    type Error = String;

    fn try_from(name: String) -> Result<XrayMeasure, String> {
        let found = XrayMeasure::ALL.into_iter().find(|measure| measure.name() == name);
        found.ok_or_else(|| format!("`{name}` is no measure of an X-ray"))
    }
}

impl Xray {
    /// The numbers of pairs and objects, in words.
    pub fn counts(&self) -> String {
        let Xray { train_pairs, test_pairs, test_objects, .. } = self;
        format!("{train_pairs} training pairs, {test_pairs} test pairs of {test_objects} objects")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_stored_under_the_names_of_their_measures() {
        for measure in XrayMeasure::ALL {
            let stored = serde_json::to_value(measure).unwrap();
            assert_eq!(stored, measure.name());
            assert_eq!(serde_json::from_value::<XrayMeasure>(stored).unwrap(), measure);
        }
        let unknown = serde_json::from_value::<XrayMeasure>("r2".into()).unwrap_err().to_string();
        assert!(unknown.contains("`r2` is no measure of an X-ray"), "{unknown}");
    }
}
