//! The registry of measures: every task, metric, unit and direction, and the report section that shows it.
//!
//! A new measure of a cell needs one line of [`MEASURES`], or a combination of the fields of [`R2Metric`].
//! Cells, reports, `compare` and imported results all take their names from here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The paper's table of linear transfer.
pub const TRANSFER_TABLE: u8 = 5;

/// The paper's table of segmentation.
pub const SEGMENTATION_TABLE: u8 = 6;

/// Suffix of retrieval metrics that are measured on the training objects.
pub const ON_TRAINING_OBJECTS: &str = "_train";

/// Prefix of transfer accuracies that are measured by nearest neighbours instead of the linear classifier.
pub const BY_NEIGHBOURS: &str = "knn_";

/// Prefix of transfer accuracies on a few training images of each class. A slash and their number follow.
pub const FEW_SHOT: &str = "few_shot_";

/// Prefix of transfer accuracies on shifted test images.
pub const SHIFTED: &str = "shifted_";

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Larger is better.
    Higher,
    /// Smaller is better.
    Lower,
}

/// A family of tasks with the same measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskFamily {
    /// Classes of the data set that the encoder was trained on.
    Classification,
    /// The transformation between two views: `rotation`, `color`, ... A task is named after its
    /// transformation.
    Transformation,
    /// Properties of y that need no probe.
    Representation,
    /// Error of the reconstruction.
    Reconstruction,
    /// Views of an object found by a predictor.
    Retrieval,
    /// Classes of another data set.
    LinearTransfer,
    /// Masks of another data set.
    Segmentation,
}

impl TaskFamily {
    const NAMED: [(TaskFamily, &'static str); 6] = [
        (TaskFamily::Classification, "classification"),
        (TaskFamily::Representation, "representation"),
        (TaskFamily::Reconstruction, "reconstruction"),
        (TaskFamily::Retrieval, "retrieval"),
        (TaskFamily::LinearTransfer, "linear transfer"),
        (TaskFamily::Segmentation, "segmentation"),
    ];

    /// The family of a task. Every task that is not the single task of another family is a transformation.
    pub fn of_task(task: &str) -> TaskFamily {
        Self::NAMED
            .iter()
            .find(|(_, name)| *name == task)
            .map_or(TaskFamily::Transformation, |(family, _)| *family)
    }

    /// The name of the family's task in `metrics.csv`. Transformations have their own names instead.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(family, _)| *family == self).map_or("transformation", |(_, name)| name)
    }

    /// The metric that represents the family's tasks where only one can be shown.
    pub fn headline(self) -> &'static Measure {
        let own = || MEASURES.iter().filter(|measure| measure.family == self);
        own()
            .find(|measure| measure.level == Level::Headline)
            .or_else(|| own().next())
            .expect("every family has measures")
    }

    /// The paper's table that shows only this family.
    pub fn paper_table(self) -> Option<u8> {
        match self {
            TaskFamily::LinearTransfer => Some(TRANSFER_TABLE),
            TaskFamily::Segmentation => Some(SEGMENTATION_TABLE),
            _ => None,
        }
    }
}

/// Importance of a measure among the measures of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Represents the task; `compare` judges it.
    Headline,
    /// Gives more detail.
    Detail,
}

/// A line of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Family of the tasks that it measures.
    pub family: TaskFamily,
    /// Name in `metrics.csv`. A name that ends with a slash is followed by what it is measured for: a class,
    /// or a number of images.
    pub metric: &'static str,
    /// `R2`, `fraction`, `MSE`, ...
    pub unit: &'static str,
    /// Which way it improves.
    pub better: Better,
    /// Whether it represents its task.
    pub level: Level,
    /// Heading of its column.
    pub heading: &'static str,
    /// The section of the report that shows it, if any.
    pub section: Option<&'static str>,
}

/// Defines every measure as a constant, and [`MEASURES`] as the list of all measures.
macro_rules! measures {
    ($($family:ident, $section:expr => {
        $($name:ident: $metric:literal, $unit:literal, $better:ident, $level:ident, $heading:literal;)*
    })*) => {
        $($(
            #[doc = concat!("`", $metric, "`, in ", $unit, ".")]
            pub const $name: Measure = Measure {
                family: TaskFamily::$family,
                metric: $metric,
                unit: $unit,
                better: Better::$better,
                level: Level::$level,
                heading: $heading,
                section: $section,
            };
        )*)*

        /// Every measure with a fixed name, in the order of the report's columns.
        pub const MEASURES: &[Measure] = &[$($($name),*),*];
    };
}

// family, section of the report => { constant: name in metrics.csv, unit, direction, level, heading; }
measures! {
    Classification, Some("main") => {
        TOP1: "top1", "fraction", Higher, Headline, "top-1";
    }
    Transformation, Some("main") => {
        R2: "r2_per_output", "R2", Higher, Headline, "R2";
    }
    Representation, Some("geometry") => {
        SIMILARITY_OWN: "similarity_own", "cosine", Higher, Detail, "similarity of the two views";
        SIMILARITY_OTHERS: "similarity_others", "cosine", Higher, Detail, "of different images";
        INVARIANCE: "invariance", "fraction", Higher, Detail, "invariance";
        EFFECTIVE_RANK: "effective_rank", "dimensions", Higher, Detail, "effective rank";
    }
    Reconstruction, Some("reconstruction") => {
        MSE_OWN: "mse_own", "MSE", Lower, Detail, "own pair";
        MSE_OTHER_VIEW1: "mse_other_view1", "MSE", Lower, Detail, "other view 1";
        MSE_OTHER_VIEW2: "mse_other_view2", "MSE", Lower, Detail, "other view 2";
        MSE_MEAN_IMAGE: "mse_mean_image", "MSE", Lower, Detail, "mean image";
        MSE_COPY_VIEW1: "mse_copy_view1", "MSE", Lower, Detail, "copy of view 1";
    }
    Retrieval, Some("retrieval") => {
        MRR: "mrr", "fraction", Higher, Detail, "MRR";
        HITS_1: "hits_1", "fraction", Higher, Detail, "H@1";
        HITS_2: "hits_2", "fraction", Higher, Detail, "H@2";
        HITS_5: "hits_5", "fraction", Higher, Detail, "H@5";
        HITS_10: "hits_10", "fraction", Higher, Detail, "H@10";
        PRE: "pre", "fraction", Lower, Detail, "PRE";
    }
    LinearTransfer, Some("transfer") => {
        TRANSFER_TOP1: "top1", "fraction", Higher, Headline, "top-1";
        TRANSFER_MEAN_PER_CLASS: "mean_per_class", "fraction", Higher, Detail, "mean per class";
    }
    LinearTransfer, Some("neighbours") => {
        KNN_TOP1: "knn_top1", "fraction", Higher, Detail, "top-1";
        KNN_MEAN_PER_CLASS: "knn_mean_per_class", "fraction", Higher, Detail, "mean per class";
    }
    LinearTransfer, Some("shifted transfer") => {
        SHIFTED_TOP1: "shifted_top1", "fraction", Higher, Detail, "top-1";
        SHIFTED_MEAN_PER_CLASS: "shifted_mean_per_class", "fraction", Higher, Detail, "mean per class";
    }
    LinearTransfer, Some("few shots") => {
        FEW_SHOT_TOP1: "few_shot_top1/", "fraction", Higher, Detail, "top-1";
        FEW_SHOT_MEAN_PER_CLASS: "few_shot_mean_per_class/", "fraction", Higher, Detail, "mean per class";
    }
    LinearTransfer, None => {
        LAMBDA: "lambda", "strength", Higher, Detail, "lambda";
    }
    Segmentation, Some("segmentation") => {
        MIOU: "mIoU", "fraction", Higher, Headline, "mIoU";
        MACC: "mAcc", "fraction", Higher, Detail, "mAcc";
        AACC: "aAcc", "fraction", Higher, Detail, "aAcc";
    }
    Segmentation, Some("classes") => {
        CLASS_IOU: "iou/", "fraction", Higher, Detail, "IoU";
    }
    Segmentation, None => {
        CLASS_ACCURACY: "accuracy/", "fraction", Higher, Detail, "accuracy";
    }
}

/// The shares of ranks up to 1, 2, 5 and 10, in the order of [`eqr_probes::retrieval::HITS`].
pub const HITS: [Measure; eqr_probes::retrieval::HITS.len()] = [HITS_1, HITS_2, HITS_5, HITS_10];

impl Measure {
    /// Whether `metric` of `task` is this measure.
    fn is(&self, task: &str, metric: &str) -> bool {
        let metric = match self.family {
            TaskFamily::Retrieval => metric.strip_suffix(ON_TRAINING_OBJECTS).unwrap_or(metric),
            _ => metric,
        };
        let named =
            if self.metric.ends_with('/') { metric.starts_with(self.metric) } else { metric == self.metric };
        named && TaskFamily::of_task(task) == self.family
    }
}

/// The measure with this name, if it is one of [`MEASURES`].
pub fn find(task: &str, metric: &str) -> Option<&'static Measure> {
    MEASURES.iter().find(|measure| measure.is(task, metric))
}

/// The measures that a section of the report shows, in the order of its columns.
pub fn shown_in(section: &str) -> impl Iterator<Item = &'static Measure> {
    MEASURES.iter().filter(move |measure| measure.section == Some(section))
}

/// Whether a metric represents its task.
pub fn is_headline(task: &str, metric: &str) -> bool {
    find(task, metric).is_some_and(|measure| measure.level == Level::Headline)
}

/// Which way a metric improves. Errors that are not in the registry are recognised by their name. For all
/// other metrics, larger is better.
pub fn better(task: &str, metric: &str) -> Better {
    match find(task, metric) {
        Some(measure) => measure.better,
        None if metric.starts_with("mse") => Better::Lower,
        None => Better::Higher,
    }
}

/// The meaning of a transformation's metric. The metric's name is composed from these fields, as in
/// `r2_per_output_linear_combined_grid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2Metric {
    /// How R2 is taken over the outputs of a target.
    pub definition: R2Definition,
    /// What predicts the target.
    pub predictor: Predictor,
    /// Whether quaternion signs are chosen such that w >= 0, since q and -q are the same rotation.
    pub canonical: bool,
    /// Whether the pairs differ by all transforms at once.
    pub combined: bool,
    /// Whether the test pairs are from shifted ranges, which the predictor was not trained on.
    pub shifted: bool,
    /// What the predictor reads.
    pub readout: Readout,
}

/// How R2 is taken over the outputs of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum R2Definition {
    /// Mean of every output's R2: the headline.
    PerOutput,
    /// The same on the training pairs.
    PerOutputTrain,
    /// Over all outputs together, as SIE defines it.
    Pooled,
    /// Not an R2, but the number of outputs whose R2 is undefined because they do not vary on the test split.
    UndefinedOutputs,
}

/// What predicts a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predictor {
    /// A multilayer perceptron: the headline.
    Mlp,
    /// Ridge regression.
    Linear,
    /// A multilayer perceptron on tokens that are pooled by a learned query.
    Attentive,
    /// The mean of the training targets.
    Constant,
    /// A multilayer perceptron that was trained on permuted targets.
    Shuffled,
    /// The best prediction from the exact affine map between the views.
    ExactMap,
}

/// What a predictor reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readout {
    /// y.
    Y,
    /// The invariant half of y.
    Invariant,
    /// The equivariant half of y.
    Equivariant,
    /// y and the quadrant means of the equivariant token map.
    Grid,
}

impl R2Metric {
    /// The headline: per-output R2 of a multilayer perceptron that reads y.
    pub const PER_OUTPUT: R2Metric = R2Metric {
        definition: R2Definition::PerOutput,
        predictor: Predictor::Mlp,
        canonical: false,
        combined: false,
        shifted: false,
        readout: Readout::Y,
    };

    /// Per-output R2 of ridge regression.
    pub const LINEAR: R2Metric = R2Metric { predictor: Predictor::Linear, ..R2Metric::PER_OUTPUT };

    /// Pooled R2 of the same probe as the headline.
    pub const POOLED: R2Metric = R2Metric { definition: R2Definition::Pooled, ..R2Metric::PER_OUTPUT };

    /// Pooled R2 of the constant predictor.
    pub const CONSTANT: R2Metric = R2Metric { predictor: Predictor::Constant, ..R2Metric::POOLED };

    /// R2 of a probe trained on permuted targets: a value above zero is an artefact of the protocol.
    pub const SHUFFLED: R2Metric = R2Metric { predictor: Predictor::Shuffled, ..R2Metric::PER_OUTPUT };

    /// R2 of pairs that differ by all transforms at once.
    pub const COMBINED: R2Metric = R2Metric { combined: true, ..R2Metric::PER_OUTPUT };

    /// The ceiling for such pairs.
    pub const EXACT_MAP: R2Metric = R2Metric { predictor: Predictor::ExactMap, ..R2Metric::COMBINED };

    /// Number of outputs without an R2.
    pub const UNDEFINED_OUTPUTS: R2Metric =
        R2Metric { definition: R2Definition::UndefinedOutputs, ..R2Metric::PER_OUTPUT };

    /// `R2`, or the name of what is counted.
    pub fn unit(self) -> &'static str {
        if self.definition == R2Definition::UndefinedOutputs { "outputs" } else { R2.unit }
    }
}

impl fmt::Display for R2Metric {
    /// Definition, predictor, signs, pairs, ranges, readout. The exact map reads no features and comes after
    /// the pairs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let definition = match self.definition {
            R2Definition::PerOutput => "r2_per_output",
            R2Definition::PerOutputTrain => "r2_per_output_train",
            R2Definition::Pooled => "r2_pooled",
            R2Definition::UndefinedOutputs => "undefined_outputs",
        };
        let (predictor, exact) = match self.predictor {
            Predictor::Mlp => ("", ""),
            Predictor::Linear => ("_linear", ""),
            Predictor::Attentive => ("_attentive", ""),
            Predictor::Constant => ("_constant", ""),
            Predictor::Shuffled => ("_shuffled", ""),
            Predictor::ExactMap => ("", "_exact"),
        };
        let canonical = if self.canonical { "_canonical" } else { "" };
        let combined = if self.combined { "_combined" } else { "" };
        let shifted = if self.shifted { "_shifted" } else { "" };
        let readout = match self.readout {
            Readout::Y => "",
            Readout::Invariant => "_inv",
            Readout::Equivariant => "_equi",
            Readout::Grid => "_grid",
        };
        write!(f, "{definition}{predictor}{canonical}{combined}{exact}{shifted}{readout}")
    }
}

/// The metrics of transformations that the report shows, by section.
pub const R2_SECTIONS: [(&str, R2Metric); 11] = [
    ("main", R2Metric::PER_OUTPUT),
    ("grid", R2Metric { readout: Readout::Grid, ..R2Metric::PER_OUTPUT }),
    ("inv", R2Metric { readout: Readout::Invariant, ..R2Metric::PER_OUTPUT }),
    ("equi", R2Metric { readout: Readout::Equivariant, ..R2Metric::PER_OUTPUT }),
    ("linear", R2Metric::LINEAR),
    ("attentive", R2Metric { predictor: Predictor::Attentive, ..R2Metric::PER_OUTPUT }),
    ("canonical", R2Metric { canonical: true, ..R2Metric::PER_OUTPUT }),
    ("combined", R2Metric::COMBINED),
    ("shifted", R2Metric { shifted: true, ..R2Metric::PER_OUTPUT }),
    ("pooled", R2Metric::POOLED),
    ("shuffled", R2Metric::SHUFFLED),
];

/// The metric of transformations that a section of the report shows.
pub fn r2_shown_in(section: &str) -> Option<R2Metric> {
    R2_SECTIONS.iter().find(|(name, _)| *name == section).map(|(_, metric)| *metric)
}

/// The metrics of a family of which a row may be claimed to read more than another.
pub fn claimable_metrics(family: TaskFamily) -> Vec<String> {
    match family {
        TaskFamily::Transformation => {
            let shown = R2_SECTIONS.iter().map(|(_, metric)| *metric);
            shown.filter(|metric| *metric != R2Metric::SHUFFLED).map(|metric| metric.to_string()).collect()
        }
        family => {
            let own = MEASURES.iter().filter(|measure| measure.family == family);
            let shown = own.filter(|measure| measure.section.is_some() && !measure.metric.ends_with('/'));
            shown.map(|measure| measure.metric.to_owned()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_a_family_and_every_family_has_one_headline_at_most() {
        for (i, measure) in MEASURES.iter().enumerate() {
            let same = |other: &&Measure| (other.family, other.metric) == (measure.family, measure.metric);
            assert_eq!(MEASURES.iter().position(|other| same(&other)), Some(i), "{measure:?}");
        }
        for (family, _) in TaskFamily::NAMED {
            let headlines = MEASURES
                .iter()
                .filter(|measure| measure.family == family && measure.level == Level::Headline);
            assert!(headlines.count() <= 1, "{family:?}");
            assert_eq!(TaskFamily::of_task(family.name()), family);
        }
        assert_eq!(TaskFamily::of_task("rotation").headline(), &R2);
        assert_eq!(TaskFamily::Segmentation.headline(), &MIOU);
    }

    #[test]
    fn composed_names_agree_with_the_fixed_ones() {
        assert_eq!(R2Metric::PER_OUTPUT.to_string(), R2.metric);
        assert_eq!(KNN_TOP1.metric, format!("{BY_NEIGHBOURS}{}", TRANSFER_TOP1.metric));
        assert_eq!(KNN_MEAN_PER_CLASS.metric, format!("{BY_NEIGHBOURS}{}", TRANSFER_MEAN_PER_CLASS.metric));
        assert_eq!(SHIFTED_TOP1.metric, format!("{SHIFTED}{}", TRANSFER_TOP1.metric));
        assert_eq!(SHIFTED_MEAN_PER_CLASS.metric, format!("{SHIFTED}{}", TRANSFER_MEAN_PER_CLASS.metric));
        assert_eq!(FEW_SHOT_TOP1.metric, format!("{FEW_SHOT}{}/", TRANSFER_TOP1.metric));
        assert_eq!(FEW_SHOT_MEAN_PER_CLASS.metric, format!("{FEW_SHOT}{}/", TRANSFER_MEAN_PER_CLASS.metric));
        for (k, measure) in eqr_probes::retrieval::HITS.iter().zip(HITS) {
            assert_eq!(measure.metric, format!("hits_{k}"));
        }
    }

    #[test]
    fn the_order_of_a_composed_name_is_that_of_recorded_runs() {
        let all = R2Metric {
            definition: R2Definition::PerOutputTrain,
            predictor: Predictor::Linear,
            canonical: true,
            combined: true,
            shifted: true,
            readout: Readout::Grid,
        };
        assert_eq!(all.to_string(), "r2_per_output_train_linear_canonical_combined_shifted_grid");
        assert_eq!(R2Metric::EXACT_MAP.to_string(), "r2_per_output_combined_exact");
        assert_eq!(
            R2Metric { combined: true, ..R2Metric::CONSTANT }.to_string(),
            "r2_pooled_constant_combined"
        );
        assert_eq!(R2Metric { combined: true, ..R2Metric::UNDEFINED_OUTPUTS }.unit(), "outputs");
    }

    #[test]
    fn directions_of_imported_metrics() {
        for (task, metric, lower) in [
            ("reconstruction", "mse_own", true),
            ("reconstruction", "mse_median_image", true),
            ("retrieval", "pre", true),
            ("retrieval", "pre_train", true),
            ("retrieval", "mrr_train", false),
            ("rotation", "precision", false),
            ("segmentation", "iou/wall", false),
        ] {
            assert_eq!(better(task, metric) == Better::Lower, lower, "{task}, {metric}");
        }
        assert_eq!(find("segmentation", "iou/wall"), Some(&CLASS_IOU));
        assert_eq!(find("rotation", "top1"), None);
    }
}
