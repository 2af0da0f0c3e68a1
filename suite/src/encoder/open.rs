//! Opening a frozen encoder from a file: a checkpoint of this program, published weights, a TorchScript
//! module or an ONNX model.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use eqr_models::layers::BlockForm;
use eqr_models::vit::VitConfig;
use eqr_models::{Compute, Normalisation};
use tch::{Device, Kind, Tensor};

use crate::console::{say, with_progress};
use crate::encoder::file_format::FileFormat;
use crate::encoder::frozen::{FrozenEncoder, Opened};
use crate::encoder::neighbours::Neighbours;
use crate::encoder::representation::FeatureEncoder;
use crate::encoder::vit_file::VitParameters;
use crate::encoder::{module_encoder, properties, published};
use crate::run_folder::checkpoint::Checkpoint;
use crate::run_folder::encoder_description::{EncoderDescription, Known, Origin, Transformer};
use crate::suite_file::encoder_options::EncoderOptions;

/// Largest allowed difference between features that should be equal, as a fraction of the largest feature.
/// Rounding differs between batch sizes.
const TOLERANCE: f64 = 1e-2;

impl FrozenEncoder {
    /// Opens the encoder at `path` for images of `side` pixels. Without `side`, uses `--size`, or else the
    /// encoder's own side. Checks that the features of an image depend only on that image, and says in one
    /// line what the encoder is.
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
        let opened = || {
            let (encoder, description) = read(path, options, side, device).with_context(|| name.clone())?;
            let encoder = encoder.named(name.clone());
            let (features, seconds_per_image) = check_frozen(&encoder, device)?;
            Ok::<_, anyhow::Error>((encoder, description, features, seconds_per_image))
        };
        let (encoder, mut description, features, seconds_per_image) =
            with_progress("opening the encoder", |_| opened())?;
        description.features = Known::new(features, Origin::File);
        say(&format!("{name}: {}", description.line()));
        Ok(encoder.with_opened(Opened { description, seconds_per_image }))
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

fn read(
    path: &Path,
    options: &EncoderOptions,
    side: Option<usize>,
    device: Device,
) -> Result<(FrozenEncoder, EncoderDescription)> {
    match FileFormat::detect(path)? {
        FileFormat::Checkpoint(folder) => {
            let checkpoint = Checkpoint::open(&folder)?;
            let identity = &checkpoint.manifest.identity;
            let parameters = VitParameters::select(&folder, &checkpoint.parameters()?, &identity.encoder)?;
            ensure!(
                options.mean.is_some() || identity.normalisation.is_some(),
                "no normalisation\nhint: the checkpoint was written by an earlier version, which did not \
                 record the normalisation of its images: give --mean and --std"
            );
            own(&parameters, identity.encoder, identity.normalisation, options, side, device)
        }
        FileFormat::Weights(path) => match VitParameters::read_own(&path)? {
            Some((parameters, config)) => {
                own(&parameters, config, parameters.normalisation, options, side, device)
            }
            None => published::open(&path, &neighbours(&path, options)?, options, side, device),
        },
        FileFormat::TorchScript | FileFormat::Onnx => {
            module_encoder::open(path, &neighbours(path, options)?, options, side, device)
        }
    }
}

fn neighbours(path: &Path, options: &EncoderOptions) -> Result<Neighbours> {
    if options.no_config { Ok(Neighbours::none()) } else { Neighbours::beside(path) }
}

/// One of our encoders: its file says how it computes.
fn own(
    parameters: &VitParameters,
    shape: VitConfig,
    recorded: Option<Normalisation>,
    options: &EncoderOptions,
    side: Option<usize>,
    device: Device,
) -> Result<(FrozenEncoder, EncoderDescription)> {
    let EncoderOptions { layout, readout, key, heads, act, eps, .. } = options;
    let BlockForm { activation, eps: usual_eps } = BlockForm::default();
    let same = heads.is_none_or(|heads| heads == shape.heads)
        && act.is_none_or(|act| act == activation)
        && eps.is_none_or(|eps| eps == usual_eps);
    ensure!(
        same,
        "--heads, --act, --eps: this encoder of eqr-bench has {} heads, gelu and {usual_eps:e}",
        shape.heads
    );
    ensure!(
        layout.is_none() && readout.is_none() && key.is_none(),
        "--layout, --readout, --key: encoders of eqr-bench have a representation y of their own"
    );
    let size = match side {
        Some(side) => Known::new(side, Origin::Option),
        None => Known::new(usize::try_from(shape.image)?, Origin::File),
    };
    let config = VitConfig { image: i64::try_from(size.value)?, ..shape };
    config.validate()?;
    let [mean, std] = properties::normalisation(recorded, options, &Neighbours::none())?;
    let normalisation = Normalisation { mean: mean.value, std: std.value };
    let encoder = FrozenEncoder::from_vit(parameters, config, normalisation, Compute::F32, device)?;
    let of_file = |value| Known::new(value, Origin::File);
    let description = EncoderDescription {
        architecture: Known::new("ViT of eqr-bench".to_owned(), Origin::File),
        found: None,
        transformer: Some(Transformer {
            width: of_file(shape.dim),
            depth: of_file(shape.depth),
            heads: of_file(shape.heads),
            activation: Known::new(activation, Origin::File),
            eps: Known::new(usual_eps, Origin::File),
        }),
        readout: Known::new("y".to_owned(), Origin::File),
        layout: None,
        features: of_file(0),
        mean,
        std,
        size,
    };
    Ok((encoder, description))
}

/// Fails if the features of an image depend on anything other than that image. Returns their number, and the
/// time that one image takes.
fn check_frozen(encoder: &FrozenEncoder, device: Device) -> Result<(i64, f64)> {
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
    let start = Instant::now();
    let again = encoder.represent(&images)?.y;
    // the sum waits for the device
    let finite = again.sum(Kind::Double).double_value(&[]).is_finite();
    ensure!(finite, "{}: its features of random images are NaN or infinite in a second pass", encoder.name());
    let seconds_per_image = start.elapsed().as_secs_f64() / 4.0;
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
    Ok((first.size()[1], seconds_per_image))
}
