//! Opening a frozen encoder from a file: a checkpoint of this program, any ViT with timm's parameter names,
//! or a TorchScript module.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use eqr_models::vit::VitConfig;
use eqr_models::{Compute, Normalisation};
use tch::{Device, Kind, Tensor};

use crate::encoder::file_format::FileFormat;
use crate::encoder::frozen::FrozenEncoder;
use crate::encoder::representation::FeatureEncoder;
use crate::encoder::torchscript::TorchScriptModule;
use crate::encoder::vit_file::VitParameters;
use crate::run_folder::checkpoint::Checkpoint;
use crate::suite_file::encoder_options::{EncoderOptions, Pooling};

/// Image side for a TorchScript module, which does not record its own.
const DEFAULT_SIDE: usize = 224;

/// Largest allowed difference between features that should be equal, as a fraction of the largest feature.
/// Rounding differs between batch sizes.
const TOLERANCE: f64 = 1e-2;

impl FrozenEncoder {
    /// Opens the encoder at `path` for images of `side` pixels. Without `side`, uses `--size`, or else the
    /// encoder's own side. Checks that the features of an image depend only on that image.
    ///
    /// # Errors
    /// A file that cannot be read or has another format; parameters whose names or shapes do not fit (the
    /// message lists them); a module that fails, returns something unsupported or is not frozen.
    pub fn open(
        path: &Path,
        options: &EncoderOptions,
        side: Option<usize>,
        device: Device,
    ) -> Result<FrozenEncoder> {
        if let Some(std) = options.std.filter(|std| std.iter().any(|&std| std <= 0.0)) {
            bail!("--std {std:?}: must be above 0");
        }
        let side = side.or(options.size);
        if side == Some(0) {
            bail!("size = 0: must be at least 1");
        }
        let name = format!("encoder {}", path.display());
        let encoder = read(path, options, side, device).with_context(|| name.clone())?.named(name);
        check_frozen(&encoder, device)?;
        Ok(encoder)
    }

    /// Like [`FrozenEncoder::open`], for the token maps of images of `side` pixels.
    ///
    /// # Errors
    /// Same as [`FrozenEncoder::open`], and an encoder without token maps.
    pub fn open_for_maps(
        path: &Path,
        options: &EncoderOptions,
        side: usize,
        device: Device,
    ) -> Result<FrozenEncoder> {
        let encoder = Self::open(path, options, Some(side), device)?;
        encoder.check_maps()?;
        Ok(encoder)
    }
}

fn read(path: &Path, options: &EncoderOptions, side: Option<usize>, device: Device) -> Result<FrozenEncoder> {
    let given = options.mean.zip(options.std).map(|(mean, std)| Normalisation { mean, std });
    match FileFormat::detect(path)? {
        FileFormat::Checkpoint(folder) => from_checkpoint(&folder, given, side, device),
        FileFormat::Safetensors => {
            let parameters = VitParameters::read(path)?;
            let config = parameters.config(options.heads)?;
            let normalisation = given.or(parameters.normalisation).unwrap_or(Normalisation::IMAGENET);
            let config = VitConfig { image: side.map_or(config.image, |side| side as i64), ..config };
            FrozenEncoder::from_vit(&parameters, config, options.pool, normalisation, Compute::F32, device)
        }
        FileFormat::TorchScript => {
            let module = TorchScriptModule::load(path, options.pool, device)?;
            let normalisation = given.unwrap_or(Normalisation::IMAGENET);
            Ok(FrozenEncoder::from_module(module, side.unwrap_or(DEFAULT_SIDE), normalisation, device))
        }
    }
}

fn from_checkpoint(
    folder: &Path,
    given: Option<Normalisation>,
    side: Option<usize>,
    device: Device,
) -> Result<FrozenEncoder> {
    let checkpoint = Checkpoint::open(folder)?;
    let identity = &checkpoint.manifest.identity;
    let normalisation = given.or(identity.normalisation).context(
        "no normalisation\nhint: the checkpoint was written by an earlier version, which did not record the \
         normalisation of its images: give --mean and --std",
    )?;
    let parameters = VitParameters::select(folder, &checkpoint.parameters()?, &identity.encoder)?;
    let config =
        VitConfig { image: side.map_or(identity.encoder.image, |side| side as i64), ..identity.encoder };
    FrozenEncoder::from_vit(&parameters, config, Pooling::Cls, normalisation, Compute::F32, device)
}

/// Fails if the features of an image depend on anything other than that image.
fn check_frozen(encoder: &FrozenEncoder, device: Device) -> Result<()> {
    let side = encoder.side() as i64;
    let count = 4 * 3 * side * side;
    // noise without a random generator: this check must not change later draws
    let pixels = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898).sin() * 43_758.545_3;
    let pixels = (&pixels - pixels.floor()).to_kind(Kind::Float).view([4, 3, side, side]).to_device(device);
    let images = encoder.normalise(&pixels);
    let first = encoder.represent(&images)?.y;
    ensure!(
        first.isfinite().all().int64_value(&[]) == 1,
        "{}: its features of random images are NaN or infinite\nhint: check the file, and --mean and --std",
        encoder.name()
    );
    let again = encoder.represent(&images)?.y;
    let half = encoder.represent(&images.narrow(0, 0, 2))?.y;
    let scale = first.abs().max().double_value(&[]).max(1e-6);
    for (other, change) in [(&again, "a second pass over the same images"), (&half, "a smaller batch")] {
        let difference = (first.narrow(0, 0, other.size()[0]) - other).abs().max().double_value(&[]) / scale;
        ensure!(
            difference < TOLERANCE,
            "{}: it is not frozen: with {change} its features differ by {difference:.2e} of their largest \
             value\nhint: put the module into eval mode before it is scripted",
            encoder.name()
        );
    }
    Ok(())
}
