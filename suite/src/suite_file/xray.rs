//! `[xray]`: how an X-ray of an encoder is taken.

use eqr_probes::mlp::ProbeConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::suite_file::probe::Probe;

/// What predicts the transformations in an X-ray.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum XrayProbe {
    /// Ridge regression in closed form.
    #[default]
    Linear,
    /// The multilayer perceptron of `probe`, with a smaller budget.
    Mlp,
    /// Both, as measures of their own.
    Both,
}

/// The settings of an X-ray.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct XraySettings {
    /// What predicts the transformations.
    pub probe: XrayProbe,
    /// Training pairs.
    pub train_pairs: usize,
    /// Test pairs.
    pub test_pairs: usize,
    /// Seeds of the perceptrons: 0 .. seeds.
    pub seeds: u64,
    /// Passes of the perceptrons over the training pairs.
    pub epochs: usize,
    /// Width of the perceptrons' two hidden layers.
    pub hidden: usize,
}

impl Default for XraySettings {
    /// A tenth of the protocol's epochs, a quarter of its width, one seed: an encoder has dozens of places.
    fn default() -> XraySettings {
        XraySettings {
            probe: XrayProbe::Linear,
            train_pairs: 8_000,
            test_pairs: 2_000,
            seeds: 1,
            epochs: 30,
            hidden: 256,
        }
    }
}

impl XrayProbe {
    /// Whether there are ridge regressions.
    pub fn has_linear(self) -> bool {
        self != XrayProbe::Mlp
    }

    /// Whether there are perceptrons.
    pub fn has_mlp(self) -> bool {
        self != XrayProbe::Linear
    }
}

impl XraySettings {
    /// Whether the perceptrons are trained otherwise than by default.
    pub fn trains_otherwise(&self) -> bool {
        let defaults = XraySettings::default();
        (self.seeds, self.epochs, self.hidden) != (defaults.seeds, defaults.epochs, defaults.hidden)
    }

    /// The settings of the probes at one place.
    pub fn at_one_place(&self) -> Probe {
        let XraySettings { train_pairs, test_pairs, seeds, epochs, hidden, .. } = *self;
        let regression = ProbeConfig { hidden, epochs, ..ProbeConfig::default() };
        Probe { seeds, train_pairs, test_pairs, regression, ..Probe::default() }
    }
}
