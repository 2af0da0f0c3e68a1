//! A module of another library as an encoder: what its answer, the configuration beside it and the options
//! say.

use std::path::Path;

use anyhow::{Result, ensure};
use eqr_models::Normalisation;
use tch::{Device, Kind, Tensor};

use crate::encoder::frozen::FrozenEncoder;
use crate::encoder::module::{Module, ModuleKind};
use crate::encoder::module_file::load;
use crate::encoder::neighbours::Neighbours;
use crate::encoder::properties::{known, normalisation, told};
use crate::encoder::untrained_module::UntrainedModule;
use crate::run_folder::encoder_description::{EncoderDescription, Known, Origin};
use crate::suite_file::encoder_options::{EncoderOptions, Readout};

/// Side of the images for a module, which does not record its own.
const DEFAULT_SIDE: usize = 224;

/// Opens the module at `path`.
///
/// # Errors
/// A module that fails or returns something unsupported.
pub(super) fn open(
    path: &Path,
    neighbours: &Neighbours,
    options: &EncoderOptions,
    side: Option<usize>,
    device: Device,
) -> Result<(FrozenEncoder, EncoderDescription)> {
    let engine = load(path, device)?;
    let of_a_vit = options.heads.is_some() || options.act.is_some() || options.eps.is_some();
    ensure!(!of_a_vit, "--heads, --act, --eps: the {} has its own inside", engine.name());
    let size = match (side, engine.side()) {
        (None, Some(only)) => Known::new(only, Origin::File),
        _ => known(side, || neighbours.size(), DEFAULT_SIDE)?,
    };
    if let Some(config) = &size.config {
        ensure!(size.value > 0, "{config}: images of 0 pixels\nhint: give --size");
    }
    let side = size.value as i64;
    let images = Tensor::zeros([4, 3, side, side], (Kind::Float, device));
    let mut module = Module::new(engine, options.key.clone());
    let layout = tch::no_grad(|| module.learn(&images, options.layout))?;
    let readout = readout(&module, neighbours, options)?;
    module.read_by(readout.value);
    let [mean, std] = normalisation(None, options, neighbours)?;
    let normalisation = Normalisation { mean: mean.value, std: std.value };
    let text = module.readout().to_owned();
    let architecture = module.description();
    let untrained = UntrainedModule::beside(path, options, readout.value);
    let encoder = FrozenEncoder::from_module(module, untrained, size.value, normalisation, device);
    let description = EncoderDescription {
        architecture: Known::new(architecture, Origin::File),
        found: None,
        transformer: None,
        size,
        mean,
        std,
        readout: readout.map(|_| text),
        layout,
        features: Known::new(0, Origin::File),
    };
    Ok((encoder, description))
}

/// What the features are read from: of a module that returns features, these; otherwise its class token, or
/// the mean where there is none.
fn readout(module: &Module, neighbours: &Neighbours, options: &EncoderOptions) -> Result<Known<Readout>> {
    let usual = match module.kind() {
        ModuleKind::Features => {
            ensure!(
                options.readout.is_none(),
                "--readout: the module returns features, which are read as they are\nhint: give a module \
                 that returns tokens or a map"
            );
            return Ok(Known::new(Readout::Mean, Origin::File));
        }
        ModuleKind::Maps => {
            return Ok(told(options.readout, || Ok(None))?.unwrap_or(Known::new(Readout::Mean, Origin::File)));
        }
        ModuleKind::Tokens { class: true } => Readout::Cls,
        ModuleKind::Tokens { class: false } => Readout::Mean,
    };
    let stated =
        || Ok(neighbours.readout()?.filter(|stated| stated.value != Readout::Cls || usual == Readout::Cls));
    known(options.readout, stated, usual)
}
