//! The methods of the tables. One file a method, which reads like its equation; a new one is a file, a [`MethodKind`] variant with
//! its name, and a line in [`build`].

mod direct;
mod ours;
mod sie;
mod supervised;
mod vicreg;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::arena::{Arena, Registry};
use crate::decoder::DecoderConfig;
use crate::error::{Error, Result};
use crate::heads::HeadConfig;
use crate::vit::{Encoded, Vit, VitConfig};

pub use ours::ReconstructionPair;

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MethodKind {
    /// VICReg on the invariant half, cross-attention reconstruction on the equivariant tokens (the paper).
    Ours,
    /// The same with lambda_recon = 0: only the difference to it is the reconstruction's doing.
    OursNoReconstruction,
    /// Garrido et al. 2023 with a set of known transforms.
    Sie(Known),
    /// Bardes et al. 2022 on the whole y.
    Vicreg,
    /// Cross-entropy on both views.
    Supervised,
    /// The untrained encoder: the floor of every table.
    RandomInit,
    /// The encoder trained to regress the parameters: the ceiling of every equivariance table.
    Direct,
}

/// Transforms whose parameters a method is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Known {
    /// Every transform of the suite.
    All,
    /// These, by their short names in the order given.
    Some(Vec<Short>),
}

/// Short transform names of the paper's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Short {
    Rot,
    Color,
    Blur,
    Trans,
    Crop,
    Flip,
}

impl Short {
    const ALL: [(Short, &'static str, &'static str); 6] = [
        (Short::Rot, "rot", "rotation"),
        (Short::Color, "color", "color"),
        (Short::Blur, "blur", "blur"),
        (Short::Trans, "trans", "translation"),
        (Short::Crop, "crop", "crop"),
        (Short::Flip, "flip", "flip"),
    ];

    /// The transform's name in suites and tables.
    pub fn task(self) -> &'static str {
        Self::ALL[self as usize].2
    }
}

/// Names with a fixed spelling; `SIE(..)` is composed.
const FIXED: [(&str, MethodKind); 6] = [
    ("Ours", MethodKind::Ours),
    ("Ours, no reconstruction", MethodKind::OursNoReconstruction),
    ("VICReg", MethodKind::Vicreg),
    ("Supervised", MethodKind::Supervised),
    ("Random init", MethodKind::RandomInit),
    ("Direct regression", MethodKind::Direct),
];

/// Every name that a suite may hold, for messages.
pub fn known_names() -> Vec<String> {
    let fixed = FIXED.iter().map(|(name, _)| (*name).to_owned());
    let single = Short::ALL.iter().map(|(_, short, _)| format!("SIE({short})"));
    fixed.chain(single).chain(["SIE(rot+color)".to_owned(), "SIE(all)".to_owned()]).collect()
}

impl fmt::Display for MethodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MethodKind::Sie(Known::All) => f.write_str("SIE(all)"),
            MethodKind::Sie(Known::Some(shorts)) => {
                let names: Vec<_> = shorts.iter().map(|&short| Short::ALL[short as usize].1).collect();
                write!(f, "SIE({})", names.join("+"))
            }
            other => f.write_str(FIXED.iter().find(|(_, kind)| kind == other).expect("every other variant is fixed").0),
        }
    }
}

impl FromStr for MethodKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if let Some((_, kind)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
            return Ok(kind.clone());
        }
        let unknown = || Error::Invalid(format!("unknown method `{name}`"));
        let inner = name.strip_prefix("SIE(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(unknown)?;
        if inner == "all" {
            return Ok(MethodKind::Sie(Known::All));
        }
        let short = |part: &str| Short::ALL.iter().find(|(_, short, _)| *short == part).map(|(short, ..)| *short);
        let shorts = inner.split('+').map(short).collect::<Option<Vec<_>>>().ok_or_else(unknown)?;
        Ok(MethodKind::Sie(Known::Some(shorts)))
    }
}

impl MethodKind {
    /// Whether there is anything to train.
    pub fn trains(&self) -> bool {
        *self != MethodKind::RandomInit
    }
}

/// Weights and switches of the losses; the defaults are protocol section 2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of L_ssl in Ours.
    pub lambda_ssl: f64,
    /// Weight of the reconstruction in Ours.
    pub lambda_recon: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        LossConfig { lambda_ssl: 1.0, lambda_recon: 1.0 }
    }
}

/// Everything a method is built from.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// The encoder.
    pub encoder: VitConfig,
    /// Heads between y and the losses.
    pub heads: HeadConfig,
    /// The reconstruction decoder.
    pub decoder: DecoderConfig,
    /// Loss weights.
    pub loss: LossConfig,
    /// Classes of the data set.
    pub classes: i64,
    /// Transforms of a pair: task name and length of its parameter vector.
    pub transforms: Vec<(String, i64)>,
    /// Whether SIE's predictor sees a constant 1 beside the parameters.
    pub sie_constant: bool,
}

/// What the losses may know of a batch beside its images.
pub struct Targets {
    /// (N), i64.
    pub labels: Tensor,
    /// (N, sum of lengths) in the order of [`ModelConfig::transforms`].
    pub parameters: Tensor,
}

/// A named, weighted term of a loss; a method's loss is the sum of its terms.
pub type Term = (&'static str, Tensor);

/// A pretraining method. Its loss is cut at y (design decision "The batch is cut at y").
pub trait Method {
    /// Terms on the representations of the whole batch: y1, y2 are (N, out), N the global batch.
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, targets: &Targets) -> Vec<Term>;

    /// Term that is a mean over pairs, on the pairs at hand: view 2 is (n, 3, H, W), normalised.
    fn pair_term(&self, _p: &Arena, _view1: &Encoded, _view2: &Encoded, _images2: &Tensor) -> Option<Term> {
        None
    }

    /// Pixels of view 2 from the two views' tokens, for methods that reconstruct.
    fn reconstruct(&self, _p: &Arena, _pair: ReconstructionPair<'_>) -> Option<Tensor> {
        None
    }

    /// Multiplications and additions of the heads' and the decoder's matrix products in one forward pass of one pair.
    fn forward_flops(&self) -> f64;
}

/// An encoder with the method that trains it, both registered.
pub struct Model {
    /// The encoder.
    pub encoder: Vit,
    /// `None` for the untrained floor.
    pub method: Option<Box<dyn Method>>,
}

/// Registers encoder and method. A method registers only the parameters that it uses.
///
/// # Errors
/// A shape that cannot be built, or a transform that the suite does not have.
pub fn build(kind: &MethodKind, config: &ModelConfig, reg: &mut Registry) -> Result<Model> {
    let encoder = Vit::new(reg, config.encoder)?;
    let method: Option<Box<dyn Method>> = match kind {
        MethodKind::Ours => Some(Box::new(ours::Ours::new(reg, config, ours::Reconstruction::On)?)),
        MethodKind::OursNoReconstruction => Some(Box::new(ours::Ours::new(reg, config, ours::Reconstruction::Off)?)),
        MethodKind::Sie(known) => Some(Box::new(sie::Sie::new(reg, config, known)?)),
        MethodKind::Vicreg => Some(Box::new(vicreg::Vicreg::new(reg, config))),
        MethodKind::Supervised => Some(Box::new(supervised::Supervised::new(reg, config))),
        MethodKind::Direct => Some(Box::new(direct::Direct::new(reg, config))),
        MethodKind::RandomInit => None,
    };
    Ok(Model { encoder, method })
}

/// Columns of [`Targets::parameters`] that belong to `known`: (first column, length) each.
///
/// # Errors
/// A transform that the suite does not have.
fn columns(config: &ModelConfig, known: &Known) -> Result<Vec<(i64, i64)>> {
    let mut start = 0;
    let mut all = Vec::new();
    for (name, length) in &config.transforms {
        all.push((name.as_str(), (start, *length)));
        start += length;
    }
    let find = |short: &Short| {
        all.iter().find(|(name, _)| *name == short.task()).map(|(_, range)| *range).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            Error::Invalid(format!("SIE needs the transform `{}`; the suite has {}", short.task(), names.join(", ")))
        })
    };
    match known {
        Known::All => Ok(all.iter().map(|(_, range)| *range).collect()),
        Known::Some(shorts) => shorts.iter().map(find).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_prints_as_itself() {
        for name in known_names() {
            assert_eq!(name.parse::<MethodKind>().unwrap().to_string(), name);
        }
        for name in ["SIE()", "SIE(rot+)", "ours", "SIE(rotation)", ""] {
            assert!(name.parse::<MethodKind>().is_err(), "{name}");
        }
    }
}
