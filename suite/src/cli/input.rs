//! What `probe` and `transfer` measure: a file of features, or an encoder with a pack of images.

use std::path::{Path, PathBuf};

use anyhow::Result;
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

    /// Opens the encoder and the pack. A feature file is opened later, by its reader.
    ///
    /// # Errors
    /// An encoder or a pack that cannot be used.
    pub fn open(&self, device: Device) -> Result<Source<'_>> {
        self.open_with(&self.options, device)
    }

    /// Whether features are read from all tokens, by a probe that learns to pool them.
    pub fn is_attentive(&self) -> bool {
        self.options.readout == Some(Readout::Attentive)
    }

    /// Whether an option says what the features are read from, instead of the default.
    pub fn names_features(&self) -> bool {
        self.options.readout.is_some() && !self.is_attentive()
    }

    /// Like [`Input::open`], for a probe that may be attentive: the other probes beside it read the default.
    ///
    /// # Errors
    /// As [`Input::open`].
    pub fn open_for_probes(&self, device: Device) -> Result<Source<'_>> {
        let readout = self.options.readout.filter(|&readout| readout != Readout::Attentive);
        self.open_with(&EncoderOptions { readout, ..self.options.clone() }, device)
    }

    fn open_with(&self, options: &EncoderOptions, device: Device) -> Result<Source<'_>> {
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
