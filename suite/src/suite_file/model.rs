//! `[model]`: the network.

use anyhow::{Result, bail};
use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::LossConfig;
use eqr_models::vit::{Pool, PositionInit, Size};
use serde::{Deserialize, Serialize};

/// The network. The side of its images is that of the data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Side of a patch in pixels.
    pub patch: i64,
    /// Name of a size, which replaces width, depth and number of heads. Expanded when the suite is read.
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
    /// Where the two halves of y are read from.
    #[serde(default)]
    pub pool: Pool,
    /// How the learned position embedding is initialised.
    #[serde(default)]
    pub positions: PositionInit,
    /// Heads between y and the losses.
    #[serde(default)]
    pub head: HeadConfig,
    /// The reconstruction decoder.
    #[serde(default)]
    pub decoder: DecoderConfig,
    /// Loss weights.
    #[serde(default)]
    pub loss: LossConfig,
    /// Whether SIE's parameters get a constant 1 appended; if unset, yes for photographs and no for renders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sie_constant: Option<bool>,
}

fn paper_out() -> i64 {
    512
}

impl Model {
    /// Replaces the name of a size with width, depth and heads.
    ///
    /// # Errors
    /// A name together with any of the three, or neither a name nor all three.
    pub(crate) fn write_out_size(&mut self) -> Result<()> {
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
                    let hint = "hint: give model.size = \"tiny\", \"small\" or \"base\", or all of model.dim, depth and heads";
                    bail!("model.{key} is missing or 0\n{hint}");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::suite_file::suite::Suite;

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
        // the suite in a manifest can be read again
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
}
