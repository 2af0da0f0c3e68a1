//! Opening a frozen encoder from a file: a checkpoint of this program, any ViT with timm's parameter names,
//! or a TorchScript module.

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
use crate::encoder::torchscript::TorchScriptModule;
use crate::encoder::vit_file::VitParameters;
use crate::run_folder::checkpoint::Checkpoint;
use crate::run_folder::encoder_description::{EncoderDescription, Known, Origin, Transformer};
use crate::suite_file::encoder_options::{EncoderOptions, Pooling};

/// Image side for a TorchScript module, which does not record its own.
const DEFAULT_SIDE: usize = 224;

/// Attention heads of the widths that all published plain ViTs give the same number; at other widths, they
/// differ.
const USUAL_HEADS: [(i64, i64); 3] = [(768, 12), (1024, 16), (1280, 16)];

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
                "no normalisation\nhint: the checkpoint was written by an earlier version, which did not record the \
                 normalisation of its images: give --mean and --std"
            );
            vit(&parameters, identity.normalisation, &Neighbours::none(), options, side, device)
        }
        FileFormat::Safetensors => {
            let parameters = VitParameters::read(path)?;
            let neighbours = match parameters.recorded() {
                Some(_) => Neighbours::none(),
                None => neighbours(path, options)?,
            };
            vit(&parameters, parameters.normalisation, &neighbours, options, side, device)
        }
        FileFormat::TorchScript => {
            let module = TorchScriptModule::load(path, device)?;
            torchscript(module, &neighbours(path, options)?, options, side, device)
        }
    }
}

fn neighbours(path: &Path, options: &EncoderOptions) -> Result<Neighbours> {
    if options.no_config { Ok(Neighbours::none()) } else { Neighbours::beside(path) }
}

/// A ViT: what its file records, its options and its neighbours say how it computes.
fn vit(
    parameters: &VitParameters,
    recorded: Option<Normalisation>,
    neighbours: &Neighbours,
    options: &EncoderOptions,
    side: Option<usize>,
    device: Device,
) -> Result<(FrozenEncoder, EncoderDescription)> {
    ensure!(options.layout.is_none(), "--layout: it is for TorchScript modules, and this is a ViT");
    let own = parameters.recorded();
    let shape = own.map_or_else(|| parameters.shape(), Ok)?;
    if let Some(side) = options.size {
        VitConfig { image: i64::try_from(side)?, ..shape }.validate()?;
    }
    // parameters that do not fit are named before anything is asked for
    parameters.fitted(&shape)?;
    neighbours.expect_plain_blocks()?;
    same("width", shape.dim, neighbours.width()?)?;
    same("depth", shape.depth, neighbours.depth()?)?;
    let heads = heads(&shape, own, options, neighbours)?;
    let usual = BlockForm::default();
    let (activation, eps) = match own {
        Some(_) => {
            let other = options.act.is_some_and(|act| act != usual.activation)
                || options.eps.is_some_and(|eps| eps != usual.eps);
            ensure!(!other, "--act, --eps: encoders of eqr-bench have gelu and {:e}", usual.eps);
            (Known::new(usual.activation, Origin::File), Known::new(usual.eps, Origin::File))
        }
        None => (
            known(options.act, || neighbours.activation(), usual.activation)?,
            known(options.eps, || neighbours.eps(), usual.eps)?,
        ),
    };
    ensure!(eps.value > 0.0 && eps.value.is_finite(), "--eps {}: must be above 0", eps.value);
    let (pooling, readout) = match parameters.has_out() {
        true => {
            ensure!(
                options.pool.is_none(),
                "--pool: encoders of eqr-bench have a representation y of their own"
            );
            (Pooling::default(), Known::new("y".to_owned(), Origin::File))
        }
        false => {
            let pooling = known(options.pool, || neighbours.pooling(), Pooling::default())?;
            (pooling.value, pooling.map(|pooling| pooling.readout().to_owned()))
        }
    };
    let size = match side {
        Some(side) => Known::new(side, Origin::Option),
        None => Known::new(usize::try_from(shape.image)?, Origin::File),
    };
    let [mean, std] = normalisation(recorded, options, neighbours)?;
    let description = EncoderDescription {
        architecture: match own {
            Some(_) => Known::new("ViT of eqr-bench".to_owned(), Origin::File),
            None => neighbours
                .architecture()?
                .unwrap_or_else(|| Known::new("ViT with timm's names".to_owned(), Origin::File)),
        },
        transformer: Some(Transformer {
            width: Known::new(shape.dim, Origin::File),
            depth: Known::new(shape.depth, Origin::File),
            heads: heads.clone(),
            activation: activation.clone(),
            eps: eps.clone(),
        }),
        readout,
        layout: None,
        features: Known::new(0, Origin::File),
        mean,
        std,
        size,
    };
    let config = VitConfig { image: description.size.value as i64, heads: heads.value, ..shape };
    let form = BlockForm { activation: activation.value, eps: eps.value };
    let normalisation = Normalisation { mean: description.mean.value, std: description.std.value };
    let encoder =
        FrozenEncoder::from_vit(parameters, (config, form), pooling, normalisation, Compute::F32, device)?;
    Ok((encoder, description))
}

fn torchscript(
    mut module: TorchScriptModule,
    neighbours: &Neighbours,
    options: &EncoderOptions,
    side: Option<usize>,
    device: Device,
) -> Result<(FrozenEncoder, EncoderDescription)> {
    let of_a_vit = options.heads.is_some() || options.act.is_some() || options.eps.is_some();
    ensure!(!of_a_vit, "--heads, --act, --eps: a TorchScript module has its own, in its code");
    let size = known(side, || neighbours.size(), DEFAULT_SIDE)?;
    if let Some(config) = &size.config {
        ensure!(size.value > 0, "{config}: images of 0 pixels\nhint: give --size");
    }
    let side = size.value as i64;
    let images = Tensor::zeros([4, 3, side, side], (Kind::Float, device));
    let layout = tch::no_grad(|| module.find_layout(&images, options.layout))?;
    // a module that returns features has pooled its tokens itself
    let pooling_beside = || if layout.is_some() { neighbours.pooling() } else { Ok(None) };
    let pooling = known(options.pool, pooling_beside, Pooling::default())?;
    let module = module.read_by(pooling.value);
    let [mean, std] = normalisation(None, options, neighbours)?;
    let normalisation = Normalisation { mean: mean.value, std: std.value };
    let encoder = FrozenEncoder::from_module(module, size.value, normalisation, device);
    let readout = encoder.module_readout()?.unwrap_or_default().to_owned();
    let readout = match layout {
        Some(_) => pooling.map(|_| readout),
        None => Known::new(readout, Origin::File),
    };
    let architecture = Known::new("TorchScript module".to_owned(), Origin::File);
    let features = Known::new(0, Origin::File);
    let description =
        EncoderDescription { architecture, transformer: None, size, mean, std, readout, layout, features };
    Ok((encoder, description))
}

/// The option, or else what `stated` finds, or else the usual value.
fn known<T>(
    option: Option<T>,
    stated: impl FnOnce() -> Result<Option<Known<T>>>,
    usual: T,
) -> Result<Known<T>> {
    match option {
        Some(value) => Ok(Known::new(value, Origin::Option)),
        None => Ok(stated()?.unwrap_or_else(|| Known::new(usual, Origin::Default))),
    }
}

/// Fails if a configuration file beside the weights belongs to another model.
fn same(what: &str, found: i64, stated: Option<Known<i64>>) -> Result<()> {
    match stated {
        Some(Known { value, config, .. }) if value != found => bail!(
            "the {what} is {found}, and {} beside the file says {value}: it belongs to another model\nhint: \
             give --no-config to read no configuration file",
            config.unwrap_or_default()
        ),
        _ => Ok(()),
    }
}

/// Attention heads, which shapes do not show.
fn heads(
    shape: &VitConfig,
    own: Option<VitConfig>,
    options: &EncoderOptions,
    neighbours: &Neighbours,
) -> Result<Known<i64>> {
    if let Some(config) = own {
        let fits = options.heads.is_none_or(|heads| heads == config.heads);
        ensure!(fits, "--heads {}: the file says {}", options.heads.unwrap_or_default(), config.heads);
        return Ok(Known::new(config.heads, Origin::File));
    }
    let usual = USUAL_HEADS.into_iter().find(|(width, _)| *width == shape.dim).map(|(_, heads)| heads);
    let heads =
        known(options.heads.map(Some), || Ok(neighbours.heads()?.map(|heads| heads.map(Some))), usual)?;
    let Some(value) = heads.value else {
        let examples = match shape.dim {
            192 => ": 3 (DeiT-Ti) or 12 (MAE's small models)",
            384 => ": 6 (timm, DeiT, DINO) or 12 (MoCo v3)",
            _ => "",
        };
        bail!(
            "a ViT of width {} may have several numbers of attention heads{examples}; neither the file nor a \
             config.json beside it says which, and another number gives other features\nhint: give --heads",
            shape.dim
        );
    };
    ensure!(
        value > 0 && shape.dim % value == 0,
        "{value} attention heads ({}) do not divide the width {}",
        heads.source(),
        shape.dim
    );
    Ok(heads.map(|_| value))
}

/// Mean and standard deviation of the images: options, or else those of the training, or else those of the
/// configuration, or else ImageNet's.
fn normalisation(
    recorded: Option<Normalisation>,
    options: &EncoderOptions,
    neighbours: &Neighbours,
) -> Result<[Known<[f32; 3]>; 2]> {
    let usual = Normalisation::IMAGENET;
    match recorded.filter(|_| options.mean.is_none()) {
        Some(Normalisation { mean, std }) => {
            Ok([Known::new(mean, Origin::File), Known::new(std, Origin::File)])
        }
        None => Ok([
            known(options.mean, || neighbours.mean(), usual.mean)?,
            known(options.std, || neighbours.std(), usual.std)?,
        ]),
    }
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
