//! What `probe` and `transfer` measure: a file of features, or an encoder with a pack of images.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use eqr_datasets::Pack;
use tch::Device;

use crate::console::say;
use crate::encoder::file_format::is_torchscript;
use crate::encoder::frozen::FrozenEncoder;
use crate::suite_file::encoder_options::{ENCODER_HELP, EncoderOptions};

/// Help text of `--no-floor`.
pub const NO_FLOOR_HELP: &str = "Do not measure the floor: an encoder of the same architecture with random \
     weights. That of a TorchScript module encoder.pt is the file encoder.random.pt, if there is one";

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
        match (&self.features, &self.encoder, &self.data) {
            (Some(features), ..) => Ok(Source::Features(features)),
            (None, Some(encoder), Some(data)) => {
                let pack = Pack::open(data)?;
                warn_of_script(encoder);
                let frozen = FrozenEncoder::open(encoder, &self.options, None, device)?;
                Ok(Source::Encoder(Box::new(frozen), Box::new(pack)))
            }
            _ => unreachable!("clap requires one of them"),
        }
    }
}
