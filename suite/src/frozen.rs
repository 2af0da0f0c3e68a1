//! A frozen encoder from a file: a TorchScript module that makes token maps.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use eqr_probes::segment::Encoder;
use tch::{CModule, Device, Kind, Tensor};

/// Which encoder.
#[derive(Args)]
pub struct EncoderArgs {
    /// A TorchScript module: images (N, 3, S, S) in, a token map (N, D, h, w) out.
    #[arg(long)]
    pub encoder: PathBuf,
}

/// An encoder that does not change.
pub struct Frozen {
    module: CModule,
    side: usize,
    channels: i64,
}

impl Frozen {
    /// Opens the encoder of `args` for images of `side` pixels.
    ///
    /// # Errors
    /// A file that is no module, a module that fails or makes no map.
    pub fn open(args: &EncoderArgs, side: Option<usize>, device: Device) -> Result<Frozen> {
        let place = || format!("encoder {}", args.encoder.display());
        let side = side.unwrap_or(224);
        let said =
            |error: tch::TchError| anyhow!("{}: {}", place(), error.to_string().lines().next().unwrap_or_default());
        let mut module = CModule::load_on_device(&args.encoder, device).map_err(said)?;
        module.set_eval();
        let images = Tensor::zeros([1, 3, side as i64, side as i64], (Kind::Float, device));
        let map = tch::no_grad(|| module.forward_ts(&[images])).map_err(said)?.size();
        ensure!(map.len() == 4, "{}: the module returns {map:?}, expected a token map (N, D, h, w)", place());
        Ok(Frozen { module, side, channels: map[1] })
    }

    /// Side of the images it takes, in pixels.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Pixels (.., 3, H, W) in [0, 1] as the encoder takes them.
    pub fn normalise(&self, pixels: &Tensor) -> Tensor {
        (pixels - 0.45) / 0.225
    }
}

impl Encoder for Frozen {
    fn channels(&self) -> Vec<i64> {
        vec![self.channels]
    }

    fn maps(&self, images: &Tensor) -> Vec<Tensor> {
        vec![self.module.forward_ts(&[images]).expect("it took such images before")]
    }
}
