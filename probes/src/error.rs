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
    /// Features of the validation split.
    ValFeatures,
    /// Labels of the validation split.
    ValTargets,
    /// Features of the test split.
    TestFeatures,
    /// Targets or labels of the test split.
    TestTargets,
    /// Predictions of a probe.
    Predictions,
    /// Targets that the predictions are compared with.
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

/// An error in the input of a probe or a statistic.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor has the wrong shape.
    #[error("{name}: {role} have shape {found:?}, expected {expected}")]
    Shape {
        /// Name of the problem.
        name: String,
        /// The tensor.
        role: TensorRole,
        /// Its shape.
        found: Vec<i64>,
        /// The expected shape as text, for example `(N, k)`.
        expected: String,
    },
    /// A tensor contains NaN or infinite values.
    #[error(
        "{name}: {role} hold {count} NaN or infinite values\nhint: check the encoder and the file that the features came from"
    )]
    NonFinite {
        /// Name of the problem.
        name: String,
        /// The tensor.
        role: TensorRole,
        /// Number of values that are not finite.
        count: i64,
    },
    /// A probe's predictions are no longer finite after training.
    #[error(
        "{name}: the probe with seed {seed} diverged: its predictions are not finite\nhint: lower the probe's `lr`"
    )]
    Diverged {
        /// Name of the problem.
        name: String,
        /// The probe's seed.
        seed: u64,
    },
    /// LAPACK fails to solve a system that has a solution.
    #[error(
        "{name}: LAPACK failed: {what}\nhint: the BLAS library in use may not support this processor; try another one, or set OPENBLAS_CORETYPE=Haswell"
    )]
    Lapack {
        /// Name of the problem.
        name: String,
        /// What went wrong.
        what: String,
    },
    /// A label is outside the range of classes.
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
    /// Some classes have no sample.
    #[error(
        "{name}: {role} have no sample of class {found} (classes are 0..{classes})\nhint: number the classes without gaps, and make sure that every class has training samples"
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
    /// Some classes have fewer training images than a few-shot draw takes.
    #[error(
        "{name}: draws of {shots} training images of each class, but class {} has {}{}\nhint: ask for fewer images, or leave out small classes",
        found[0].0, found[0].1,
        if found.len() > 1 { format!(", and {} more classes have too few", found.len() - 1) } else { String::new() }
    )]
    FewImages {
        /// Name of the problem.
        name: String,
        /// Number of images of each class.
        shots: u64,
        /// The classes with fewer, at least one, and their numbers of images.
        found: Vec<(usize, u64)>,
    },
    /// Fewer samples than classes.
    #[error(
        "{name}: {samples} training samples for {classes} classes, expected at least one sample per class"
    )]
    FewSamples {
        /// Name of the problem.
        name: String,
        /// Number of training samples.
        samples: i64,
        /// Number of classes.
        classes: i64,
    },
    /// A configuration value is out of its range.
    #[error("probe configuration: {key} = {found}, expected {expected}")]
    Config {
        /// The key.
        key: &'static str,
        /// The value found, as text.
        found: String,
        /// The valid range, as text.
        expected: &'static str,
    },
    /// A scene cannot be read.
    #[error("scene {index}: {reason}")]
    Scene {
        /// Index of the scene, from 0.
        index: usize,
        /// Why it cannot be read.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An encoder cannot compute token maps.
    #[error("{reason}")]
    Encoder {
        /// Why it failed.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An encoder returns a different number of token maps than announced.
    #[error("the encoder returned {found} token maps, expected {expected}")]
    Maps {
        /// Number of maps announced.
        expected: usize,
        /// Number of maps returned.
        found: usize,
    },
    /// Something required is empty.
    #[error("no {what} given")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// Paired samples have different lengths.
    #[error("paired samples have {left} and {right} values, expected equal numbers")]
    Unpaired {
        /// Number of values in the first sample.
        left: usize,
        /// Number of values in the second sample.
        right: usize,
    },
    /// The looks of a sequential test are out of range.
    #[error("looks of a sequential test: {key} = {found}, expected {expected}")]
    Looks {
        /// The look.
        key: &'static str,
        /// Its number of pairs.
        found: usize,
        /// The valid range, as text.
        expected: String,
    },
    /// A sample contains NaN or an infinite value.
    #[error("value {index} of a sample is {value}, expected a finite number")]
    BadValue {
        /// Position in the sample, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
}
