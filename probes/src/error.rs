//! The error type of the crate.

use std::fmt;

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Which tensor of a problem an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorRole {
    /// Features of the training split.
    TrainFeatures,
    /// Targets or labels of the training split.
    TrainTargets,
    /// Features of the validation part.
    ValFeatures,
    /// Labels of the validation part.
    ValTargets,
    /// Features of the test split.
    TestFeatures,
    /// Targets or labels of the test split.
    TestTargets,
    /// Predictions of a probe.
    Predictions,
    /// What the predictions are compared with.
    Targets,
    /// Token maps of an encoder, for a segmentation head.
    TokenMaps,
}

impl fmt::Display for TensorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TensorRole::TrainFeatures => "training features",
            TensorRole::TrainTargets => "training targets",
            TensorRole::ValFeatures => "validation features",
            TensorRole::ValTargets => "validation labels",
            TensorRole::TestFeatures => "test features",
            TensorRole::TestTargets => "test targets",
            TensorRole::Predictions => "predictions",
            TensorRole::Targets => "targets",
            TensorRole::TokenMaps => "token maps",
        })
    }
}

/// What can be wrong with the input of a probe or of a statistic.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor has another shape than the problem needs.
    #[error("{name}: {role} have shape {found:?}, expected {expected}")]
    Shape {
        /// Name of the problem.
        name: String,
        /// The tensor.
        role: TensorRole,
        /// Its shape.
        found: Vec<i64>,
        /// The shape in words, for example `(N, k)`.
        expected: String,
    },
    /// A tensor holds NaN or an infinite value.
    #[error(
        "{name}: {role} hold {count} NaN or infinite values\nhint: check the encoder and the file that the features came from"
    )]
    NonFinite {
        /// Name of the problem.
        name: String,
        /// The tensor.
        role: TensorRole,
        /// How many values are not finite.
        count: i64,
    },
    /// A probe's predictions are no longer finite after training.
    #[error(
        "{name}: the probe of seed {seed} diverged: its predictions are not finite\nhint: lower the probe's `lr`"
    )]
    Diverged {
        /// Name of the problem.
        name: String,
        /// The probe's seed.
        seed: u64,
    },
    /// The linear algebra library cannot solve a system that has a solution.
    #[error(
        "{name}: LAPACK failed: {what}\nhint: the BLAS in use may not know this processor; try another one, or OPENBLAS_CORETYPE=Haswell"
    )]
    Lapack {
        /// Name of the problem.
        name: String,
        /// What went wrong.
        what: String,
    },
    /// A label is not a class.
    #[error("{name}: {role} lie in {min}..={max}, expected 0..{classes}")]
    Labels {
        /// Name of the problem.
        name: String,
        /// The labels.
        role: TensorRole,
        /// Smallest label found.
        min: i64,
        /// Largest label found.
        max: i64,
        /// Number of classes.
        classes: i64,
    },
    /// Classes that do not occur.
    #[error(
        "{name}: {role} hold no sample of class {found} (of 0..{classes})\nhint: number the classes without gaps, and split so that each has samples"
    )]
    EmptyClasses {
        /// Name of the problem.
        name: String,
        /// The labels.
        role: TensorRole,
        /// The classes.
        found: String,
        /// Number of classes.
        classes: usize,
    },
    /// Fewer samples than classes.
    #[error("{name}: {samples} training samples for {classes} classes, expected at least one of each")]
    FewSamples {
        /// Name of the problem.
        name: String,
        /// Training samples.
        samples: i64,
        /// Number of classes.
        classes: i64,
    },
    /// A configuration value is out of its range.
    #[error("probe configuration: {key} = {found}, expected {expected}")]
    Config {
        /// The key.
        key: &'static str,
        /// The configured value, as text.
        found: String,
        /// The range in words.
        expected: &'static str,
    },
    /// A scene cannot be read.
    #[error("scene {index}: {reason}")]
    Scene {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An encoder cannot give token maps.
    #[error("{reason}")]
    Encoder {
        /// Why not.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An encoder gives another number of token maps than it announced.
    #[error("the encoder gives {found} token maps, expected {expected}")]
    Maps {
        /// Announced maps.
        expected: usize,
        /// Maps it gives.
        found: usize,
    },
    /// Something required is empty.
    #[error("no {what} given")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// Paired samples have different lengths.
    #[error("paired samples have {left} and {right} values, expected as many on both sides")]
    Unpaired {
        /// Values of the first sample.
        left: usize,
        /// Values of the second sample.
        right: usize,
    },
    /// A sample holds NaN or an infinite value.
    #[error("value {index} of a sample is {value}, expected a finite number")]
    BadValue {
        /// Position in the sample, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
}
