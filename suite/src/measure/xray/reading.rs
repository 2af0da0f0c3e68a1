//! One value of an X-ray: what was measured, and where in the encoder.

use eqr_models::Place;

use crate::encoder::layer::TokenKind;
use crate::registry::{BY_NEIGHBOURS, EFFECTIVE_RANK, R2Metric, TOP1};

/// What is measured at every place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Where in the encoder.
    pub place: Place,
    /// Which tokens were read there.
    pub tokens: TokenKind,
    /// What was measured.
    pub measure: XrayMeasure,
    /// The transformation, if the measure is of one.
    pub task: Option<String>,
    /// The output of the transformation, from 0; `None` for all of them together.
    pub output: Option<usize>,
    /// The value; `None` where it is undefined.
    pub value: Option<f64>,
    /// 95% interval over test objects; `None` if there are too few, or if the measure has none.
    pub interval: Option<(f64, f64)>,
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

/// All readings of an encoder.
pub struct Xray {
    /// Numbers of training and test pairs of each transformation.
    pub pairs: [usize; 2],
    /// Number of test objects or photographs, which intervals are over.
    pub objects: usize,
    /// Measure by measure, each from the first layer to the last.
    pub readings: Vec<Reading>,
}
