//! `[model]`: the network.

use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::LossConfig;
use eqr_models::vit::{Pool, PositionInit, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::suite_file::problem::Problem;

/// The network. The side of its images is that of the data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Side of a patch in pixels, a divisor of the images' side. The paper has 16 for images of 224 pixels.
    pub patch: i64,
    /// Name of a size, which gives width, depth and number of heads. Default: `small`, unless those are
    /// given.
    #[serde(default, skip_serializing)]
    pub size: Option<Size>,
    /// Width of the encoder's tokens; 0: that of `size`.
    #[serde(default)]
    pub dim: i64,
    /// Blocks of the encoder; 0: those of `size`.
    #[serde(default)]
    pub depth: i64,
    /// Attention heads of the encoder; 0: those of `size`.
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
    /// Replaces the name of a size with width, depth and heads. Without any of them, the size is the paper's.
    pub(crate) fn write_out_size(&mut self) -> Option<Problem> {
        let given = [("dim", self.dim), ("depth", self.depth), ("heads", self.heads)];
        let (set, missing): (Vec<_>, Vec<_>) = given.into_iter().partition(|(_, value)| *value != 0);
        match (self.size.take(), set.first(), missing.first()) {
            (Some(_), Some((key, value)), _) => {
                let message = format!("model.size and model.{key} = {value} are both given");
                Some(Problem::new("model.size", format!("{message}\nhint: leave one of them out")))
            }
            (None, Some(_), Some((key, _))) => {
                let hint = "hint: give model.size = \"tiny\", \"small\" or \"base\", or all of model.dim, depth and heads";
                let message = format!("model.{key} is missing or 0\n{hint}");
                Some(Problem::new(format!("model.{key}").as_str(), message))
            }
            (None, Some(_), None) => None,
            (size, None, _) => {
                [self.dim, self.depth, self.heads] = size.unwrap_or(Size::Small).shape();
                None
            }
        }
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
        assert_eq!(load("").unwrap(), load("size = \"small\"").unwrap());
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
