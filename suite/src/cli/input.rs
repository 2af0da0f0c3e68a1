//! What `probe` and `transfer` measure: a file of features, or an encoder with a pack of images.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use eqr_datasets::Pack;
use tch::Device;

use crate::console::say;
use crate::encoder::file_format::is_torchscript;
use crate::encoder::frozen::FrozenEncoder;
use crate::suite_file::encoder_options::{ENCODER_HELP, EncoderOptions, Readout};

/// Help text of `--no-floor`.
pub const NO_FLOOR_HELP: &str = "Do not measure the floor: an encoder of the same architecture with random \
     weights. That of a module encoder.pt or encoder.onnx is encoder.random.pt or encoder.random.onnx, if there \
     is one";

/// Options of `probe` and `transfer` that select what is measured.
#[derive(Args)]
pub struct Input {
    /// HDF5 file of features from any encoder. For `probe`: `train/features_1`, `train/features_2` (N, D),
    /// `train/targets/<name>` (N, k), and the same under `test/`. For `transfer`: `train|val|test/features`
    /// (N, D) and `train|val|test/labels` (N), classes from 0.
    #[arg(long, required_unless_present = "encoder", conflicts_with = "encoder")]
    features: Option<PathBuf>,
    #[arg(long, requires = "data", help = ENCODER_HELP)]
    encoder: Option<PathBuf>,
    /// Pack of images to measure the encoder on, made by `data pack` or `data generate`.
    #[arg(long, requires = "encoder")]
    data: Option<PathBuf>,
    #[command(flatten)]
    options: EncoderOptions,
}

/// An opened input.
pub enum Source<'a> {
    /// A feature file.
    Features(&'a Path),
    /// A frozen encoder and a pack.
    Encoder(Box<FrozenEncoder>, Box<Pack>),
}

/// Warns if the encoder is TorchScript, which runs code.
pub fn warn_of_script(encoder: &Path) {
    if is_torchscript(encoder) {
        say(&format!("note: {} is TorchScript: it runs code of its author", encoder.display()));
    }
}

impl Input {
    /// The files and folders that are read.
    pub fn files(&self) -> Vec<&Path> {
        [&self.features, &self.encoder, &self.data].into_iter().flatten().map(PathBuf::as_path).collect()
    }

    /// Whether tokens are read, too, by what learns to pool them.
    pub fn is_attentive(&self) -> bool {
        self.options.readout == Some(Readout::Attentive)
    }

    /// Whether an option says what the features are read from, instead of the default.
    pub fn names_features(&self) -> bool {
        self.options.readout.is_some() && !self.is_attentive()
    }

    /// Refuses `option` unless tokens are read.
    ///
    /// # Errors
    /// Features are read alone, and the option is `given`.
    pub fn check_attentive(&self, option: &str, given: bool) -> Result<()> {
        ensure!(
            self.is_attentive() || !given,
            "{option}: it belongs to `--readout attentive`\nhint: leave it out, or give this readout"
        );
        Ok(())
    }

    /// Opens the encoder and the pack. A feature file is opened later, by its reader. The features beside an
    /// attentive readout are those of the default.
    ///
    /// # Errors
    /// An encoder or a pack that cannot be used.
    pub fn open(&self, device: Device) -> Result<Source<'_>> {
        let readout = self.options.readout.filter(|&readout| readout != Readout::Attentive);
        let options = &EncoderOptions { readout, ..self.options.clone() };
        match (&self.features, &self.encoder, &self.data) {
            (Some(features), ..) => Ok(Source::Features(features)),
            (None, Some(encoder), Some(data)) => {
                let pack = Pack::open(data)?;
                warn_of_script(encoder);
                let frozen = FrozenEncoder::open(encoder, options, None, device)?;
                Ok(Source::Encoder(Box::new(frozen), Box::new(pack)))
            }
            _ => unreachable!("clap requires one of them"),
        }
    }
}
