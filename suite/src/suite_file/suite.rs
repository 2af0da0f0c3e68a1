//! Suite files: what is trained on what, and how it is measured. Every key has the protocol's value as its default where the
//! protocol gives one.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use eqr_datasets::solids::SolidsSpec;
use eqr_datasets::transforms::{Border, Ranges, Transform};
use eqr_models::MethodKind;
use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::LossConfig;
use eqr_models::vit::{Pool, Positions, Size};
use eqr_probes::classify::ClassifyConfig;
use eqr_probes::mlp::ProbeConfig;
use serde::{Deserialize, Serialize};

use crate::suite_file::compared_pairs::{self, ComparedPair};
use crate::suite_file::data_sets;
use crate::suite_file::downstream_sets::{self, SegmentationSet, TransferSet};
use crate::suite_file::external_rows::{self, ExternalRow};
use crate::suite_file::scale::Scale;
use crate::suite_file::suggestions::parse_method;

/// A suite file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Name of the suite.
    pub name: String,
    /// Heading of its report.
    pub title: String,
    /// The paper's table that it mirrors.
    #[serde(default)]
    pub table: Option<u8>,
    /// Size against the paper's.
    #[serde(default = "reduced")]
    pub scale: Scale,
    /// Lines that stand under every table: what is reduced against the paper.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Rows that are pretrained, by name.
    pub methods: Vec<String>,
    /// Rows that are not: encoders, features or results of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<ExternalRow>,
    /// Pairs of rows that the report tests beside those that it always tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<ComparedPair>,
    /// Pretraining seeds 0 .. seeds.
    pub seeds: u64,
    /// The data set.
    pub data: Data,
    /// Transforms of photographs; renders have rotation and color.
    #[serde(default)]
    pub transforms: Transforms,
    /// The network.
    pub model: Model,
    /// Pretraining.
    pub train: Train,
    /// Evaluation.
    pub probe: Probe,
    /// Sets that every row's encoder is transferred to (Table 5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfer: Vec<TransferSet>,
    /// Sets that every row's encoder segments (Table 6).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segmentation: Vec<SegmentationSet>,
}

/// A suite is reduced unless it says otherwise.
pub(crate) fn reduced() -> Scale {
    Scale::Reduced
}

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "source")]
pub enum Data {
    /// Rendered at the start of the run, kept in the run's folder.
    Solids {
        /// What is rendered.
        spec: SolidsSpec,
    },
    /// A pack of `data pack` or `data generate`, looked for in every data root.
    Pack {
        /// File name.
        file: String,
        /// The command that makes it, for the message when it is missing.
        made_by: String,
        /// Side to which the images are brought; default: their own, where they are squares of one size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        side: Option<usize>,
    },
}

/// Transforms between the two views of a photograph (protocol section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transforms {
    /// Which are drawn, in the order of the table's columns.
    pub active: Vec<Transform>,
    /// What stands beyond the image's border.
    pub border: Border,
    /// Ranges of the draws.
    pub ranges: Ranges,
}

impl Default for Transforms {
    fn default() -> Self {
        Transforms {
            active: vec![Transform::Rotation, Transform::Color, Transform::Blur, Transform::Translation],
            border: Border::default(),
            ranges: Ranges::default(),
        }
    }
}

/// The network; the image side is the data set's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Side of a patch in pixels.
    pub patch: i64,
    /// Name of a width, depth and number of heads, given in place of the three; [`Suite::completed`] writes them out.
    #[serde(default, skip_serializing)]
    pub size: Option<Size>,
    /// Width of the encoder's tokens.
    #[serde(default)]
    pub dim: i64,
    /// Blocks of the encoder.
    #[serde(default)]
    pub depth: i64,
    /// Attention heads of the encoder.
    #[serde(default)]
    pub heads: i64,
    /// Length of the representation y.
    #[serde(default = "paper_out")]
    pub out: i64,
    /// Where the two halves of y are read.
    #[serde(default)]
    pub pool: Pool,
    /// How the learned position embedding starts.
    #[serde(default)]
    pub positions: Positions,
    /// Heads between y and the losses.
    #[serde(default)]
    pub head: HeadConfig,
    /// The reconstruction decoder.
    #[serde(default)]
    pub decoder: DecoderConfig,
    /// Loss weights.
    #[serde(default)]
    pub loss: LossConfig,
    /// Constant 1 beside SIE's parameters; unset: on photographs yes, on renders no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sie_constant: Option<bool>,
}

fn paper_out() -> i64 {
    512
}

impl Model {
    /// Writes the encoder's width, depth and heads in place of a size's name.
    ///
    /// # Errors
    /// A name beside one of the three, or neither the name nor all of the three.
    fn write_out_size(&mut self) -> Result<()> {
        let given = [("dim", self.dim), ("depth", self.depth), ("heads", self.heads)];
        match self.size.take() {
            Some(size) => {
                if let Some((key, value)) = given.iter().find(|(_, value)| *value != 0) {
                    bail!("model.size and model.{key} = {value} are both given\nhint: leave one of them out");
                }
                [self.dim, self.depth, self.heads] = size.shape();
            }
            None => {
                if let Some((key, _)) = given.iter().find(|(_, value)| *value == 0) {
                    let hint =
                        "hint: give model.size = \"tiny\", \"small\" or \"base\", or all of model.dim, depth and heads";
                    bail!("model.{key} is missing or 0\n{hint}");
                }
            }
        }
        Ok(())
    }
}

/// Pretraining (protocol section 2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Pairs of a step, over all ranks.
    pub batch: usize,
    /// Passes over the objects (renders) or images (photographs).
    pub epochs: u64,
    /// Learning rate at batch 256; scaled linearly with the batch.
    #[serde(default = "paper_lr")]
    pub lr: f64,
    /// L2 term in the gradient.
    #[serde(default = "paper_decay")]
    pub weight_decay: f64,
    /// Part of the training units, above 0 to 1, whose transforms and labels are known (protocol section 7): methods that need either
    /// train on these alone, and so do the probes of all methods. Each of these methods is then trained a second time, for as many steps as
    /// the others take. Unset: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_fraction: Option<f64>,
    /// Epochs between points of the probe curve; unset: only the end is probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_every: Option<u64>,
    /// Encoder that every training starts from: a safetensors file of `eqr-bench export`, or of any ViT with timm's names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
}

fn paper_lr() -> f64 {
    1e-4
}

fn paper_decay() -> f64 {
    1e-6
}

/// Evaluation of a frozen encoder (protocol section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Probe seeds 0 .. seeds; 0: encoders are not probed, only transferred or made to segment.
    pub seeds: u64,
    /// Training pairs.
    pub train_pairs: usize,
    /// Test pairs.
    pub test_pairs: usize,
    /// The regression probe.
    #[serde(default)]
    pub regression: ProbeConfig,
    /// The classification probe.
    #[serde(default)]
    pub classification: ClassifyConfig,
    /// Parts of y that are probed by themselves.
    #[serde(default = "all_of_y")]
    pub parts: Vec<ReadoutHalf>,
    /// Also measure pairs that differ by all transforms at once (photographs).
    #[serde(default)]
    pub combined: bool,
}

impl Default for Probe {
    /// The protocol's.
    fn default() -> Self {
        Probe {
            seeds: 3,
            train_pairs: 40_000,
            test_pairs: 10_000,
            regression: ProbeConfig::default(),
            classification: ClassifyConfig::default(),
            parts: all_of_y(),
            combined: false,
        }
    }
}

/// A part of y.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ReadoutHalf {
    /// All of it: the headline.
    All,
    /// The invariant half.
    Inv,
    /// The equivariant half.
    Equi,
}

fn all_of_y() -> Vec<ReadoutHalf> {
    vec![ReadoutHalf::All]
}

impl Suite {
    /// The suite of a preset or TOML file with one data set ([`parts::load`] reads every file).
    ///
    /// # Errors
    /// As [`parts::load`], and several data sets.
    pub fn load(name: &str, overrides: &[String]) -> Result<Self> {
        let mut parts = data_sets::load(name, overrides, &[])?;
        match (parts.pop(), parts.is_empty()) {
            (Some(only), true) => Ok(only.suite),
            _ => bail!("{name} has several data sets, and one is needed here"),
        }
    }

    /// The suite as it was written, with names written out and checked.
    ///
    /// # Errors
    /// As [`Suite::validate`], and a network that is named and described at once.
    pub fn completed(mut self) -> Result<Self> {
        self.model.write_out_size()?;
        self.validate()?;
        Ok(self)
    }

    /// The methods, parsed.
    ///
    /// # Errors
    /// An unknown name, with the nearest valid one.
    pub fn method_kinds(&self) -> Result<Vec<MethodKind>> {
        self.methods.iter().map(|name| parse_method(name)).collect()
    }

    /// Checks everything that can be checked without the data.
    ///
    /// # Errors
    /// The first value out of range, with what is allowed.
    pub fn validate(&self) -> Result<()> {
        self.method_kinds()?;
        external_rows::validate(&self.rows, &self.methods)?;
        compared_pairs::validate(&self.compare, &self.rows)?;
        downstream_sets::validate(&self.transfer, &self.segmentation)?;
        for (i, method) in self.methods.iter().enumerate() {
            if self.methods[..i].contains(method) {
                bail!("methods: `{method}` stands twice");
            }
        }
        let at_least_one = [
            ("seeds", self.seeds),
            ("train.epochs", self.train.epochs),
            ("train.probe_every", self.train.probe_every.unwrap_or(1)),
            ("model.head.hidden", self.model.head.hidden.max(0) as u64),
            ("model.head.embed", self.model.head.embed.max(0) as u64),
            ("number of active transforms", self.transforms.active.len() as u64),
        ];
        for (key, value) in at_least_one {
            if value < 1 {
                bail!("{key} = {value}: must be at least 1");
            }
        }
        if self.probe.seeds == 0 && self.transfer.is_empty() && self.segmentation.is_empty() {
            bail!("probe.seeds = 0, and there is neither `transfer` nor `segmentation`: nothing would be measured");
        }
        let at_least_two = [
            ("train.batch", self.train.batch),
            ("probe.train_pairs", self.probe.train_pairs),
            ("probe.test_pairs", self.probe.test_pairs),
        ];
        for (key, value) in at_least_two {
            if value < 2 {
                bail!("{key} = {value}: must be at least 2");
            }
        }
        if !(self.train.lr > 0.0 && self.train.lr.is_finite()) {
            bail!("train.lr = {}: must be above 0", self.train.lr);
        }
        if !(self.train.weight_decay >= 0.0 && self.train.weight_decay.is_finite()) {
            bail!("train.weight_decay = {}: must be 0 or above", self.train.weight_decay);
        }
        self.model.loss.validate()?;
        if let Some(fraction) = self.train.known_fraction
            && !(fraction > 0.0 && fraction <= 1.0)
        {
            bail!("train.known_fraction = {fraction}: must be above 0 and at most 1");
        }
        for (i, transform) in self.transforms.active.iter().enumerate() {
            if self.transforms.active[..i].contains(transform) {
                bail!("transforms.active: `{transform}` stands twice");
            }
        }
        for (i, part) in self.probe.parts.iter().enumerate() {
            if self.probe.parts[..i].contains(part) {
                bail!("probe.parts: {part:?} stands twice");
            }
        }
        if !self.probe.parts.contains(&ReadoutHalf::All) {
            bail!("probe.parts: `all` is missing, and the tables show it\nhint: parts = [\"all\", \"inv\", \"equi\"]");
        }
        self.probe.regression.validate().context("probe.regression")?;
        self.probe.classification.validate().context("probe.classification")?;
        self.transforms.ranges.validate()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite_file::presets::PRESETS;

    /// The parts of a preset.
    fn preset(name: &str) -> Vec<Suite> {
        data_sets::load(name, &[], &[]).unwrap().into_iter().map(|part| part.suite).collect()
    }

    /// (table, method) of every line of the paper's tables.
    fn paper() -> std::collections::BTreeSet<(u8, String)> {
        let mut lines = csv::Reader::from_reader(include_str!("../../../results/paper/tables.csv").as_bytes());
        lines.records().map(Result::unwrap).map(|line| (line[0].parse().unwrap(), line[3].to_owned())).collect()
    }

    #[test]
    fn presets_load_and_are_of_the_scale_that_their_names_say() {
        for (name, _) in PRESETS {
            for suite in preset(name) {
                assert_eq!(suite.name, name);
                let small = name.ends_with("-reduced") || ["quickstart", "weekly"].contains(&name);
                assert_eq!(suite.scale == Scale::Reduced, small, "{name}");
            }
        }
    }

    #[test]
    fn presets_have_every_row_of_the_papers_tables() {
        let tables =
            [("3diebench", 1), ("imagenet", 2), ("cifar10-unknown", 3), ("cifar10", 4), ("transfer", 5), ("ade20k", 6)];
        for (name, table) in tables {
            let suite = &preset(name)[0];
            assert_eq!(suite.table, Some(table));
            for (_, method) in paper().iter().filter(|(number, _)| *number == table) {
                assert!(suite.methods.contains(method), "{name}: {method}");
            }
        }
        let all = preset("paper");
        assert_eq!(all.iter().map(|suite| suite.table.unwrap()).collect::<Vec<_>>(), [1, 2, 4, 3]);
        for (table, method) in paper() {
            // Tables 5 and 6 are of the encoders of Table 2
            let table = if table > 4 { 2 } else { table };
            let part = all.iter().find(|suite| suite.table == Some(table)).unwrap();
            assert!(part.methods.contains(&method), "paper, table {table}: {method}");
        }
    }

    /// So that `--pretrained` takes the trainings of one over into the other.
    #[test]
    fn presets_of_one_pretraining_share_it() {
        let training =
            |suite: &Suite| (suite.data.clone(), suite.transforms.clone(), suite.model.clone(), suite.train.clone());
        let one = |name: &str| training(&preset(name)[0]);
        for (name, other) in [("transfer", "imagenet"), ("ade20k", "imagenet")] {
            assert_eq!(one(name), one(other), "{name}");
            assert_eq!(one(&format!("{name}-reduced")), one(&format!("{other}-reduced")), "{name}-reduced");
        }
        let all = preset("paper");
        for (part, name) in all.iter().zip(["3diebench", "imagenet", "cifar10", "cifar10-unknown"]) {
            assert_eq!(training(part), one(name), "{name}");
            let own = &preset(name)[0];
            let measured =
                |suite: &Suite| (suite.seeds, suite.methods.clone(), suite.probe.clone(), suite.transfer.clone());
            assert_eq!((measured(part), &part.segmentation), (measured(own), &own.segmentation), "{name}");
        }
    }

    #[test]
    fn overrides_reach_nested_keys_and_unknown_keys_are_refused_with_the_nearest() {
        let suite = Suite::load("quickstart", &["train.epochs=7".into(), "methods=[\"VICReg\"]".into()]).unwrap();
        assert_eq!((suite.train.epochs, suite.methods.len()), (7, 1));
        let message = format!("{:#}", Suite::load("quickstart", &["train.epoch=7".into()]).unwrap_err());
        assert!(message.contains("did you mean `epochs`"), "{message}");
        let message = format!("{:#}", Suite::load("quickstart", &["methods=[\"VICRge\"]".into()]).unwrap_err());
        assert!(message.contains("did you mean `VICReg`"), "{message}");
        let message = format!("{:#}", Suite::load("quickstrat", &[]).unwrap_err());
        assert!(message.contains("did you mean `quickstart`"), "{message}");
        let message = format!("{:#}", Suite::load("quickstart", &["train.batch=0".into()]).unwrap_err());
        assert!(message.contains("train.batch = 0: must be at least 2"), "{message}");
    }

    #[test]
    fn a_size_is_written_out_and_stands_alone() {
        let text = |model: &str| {
            let suite = include_str!("../../presets/cifar10.toml");
            let (before, rest) = suite.split_once("[model]\n").unwrap();
            format!("{before}[model]\npatch = 4\n{model}\n{}", &rest[rest.find("[train]").unwrap()..])
        };
        let load = |model: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("suite.toml");
            std::fs::write(&path, text(model)).unwrap();
            Suite::load(path.to_str().unwrap(), &[]).map_err(|error| format!("{error:#}"))
        };
        let named = load("size = \"tiny\"").unwrap();
        assert_eq!(named, load("dim = 192\ndepth = 12\nheads = 3").unwrap());
        // what a manifest holds can be read again
        assert_eq!(toml::from_str::<Suite>(&toml::to_string(&named).unwrap()).unwrap(), named);
        for (model, part) in [
            ("size = \"tiny\"\ndepth = 3", "model.size and model.depth = 3 are both given"),
            ("dim = 192\nheads = 3", "model.depth is missing"),
            ("size = \"smal\"", "did you mean `small`"),
        ] {
            let message = load(model).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn losses_and_fractions_out_of_range_are_refused() {
        for (entry, part) in [
            ("model.loss.temperature=0", "model.loss.temperature = 0: must be above 0"),
            ("model.loss.barlow_lambda=-1", "model.loss.barlow_lambda = -1: must be 0 or above"),
            ("model.loss.ssl=\"simclrr\"", "did you mean `simclr`"),
            ("train.known_fraction=0", "train.known_fraction = 0: must be above 0 and at most 1"),
            ("train.known_fraction=1.5", "at most 1"),
        ] {
            let message = format!("{:#}", Suite::load("quickstart", &[entry.into()]).unwrap_err());
            assert!(message.contains(part), "{message}");
        }
    }
}
