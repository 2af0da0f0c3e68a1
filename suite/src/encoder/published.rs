//! An encoder from published weights: what its parameters, the configuration beside them and the options say
//! how it computes.

use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use eqr_models::Normalisation;
use eqr_models::encoders::{Form, VitForm};
use eqr_models::layers::Activation;
use tch::Device;

use crate::encoder::found_weights::{FoundWeights, WAY_OUT};
use crate::encoder::frozen::{Blueprint, FrozenEncoder};
use crate::encoder::layout::Family;
use crate::encoder::neighbours::Neighbours;
use crate::encoder::properties::{known, normalisation, same, told};
use crate::run_folder::encoder_description::{EncoderDescription, Known, Origin, Transformer};
use crate::suite_file::encoder_options::{EncoderOptions, Readout};

/// Side of the images where neither the parameters nor a configuration say it, in pixels.
const DEFAULT_SIDE: usize = 224;

/// Base of DINOv3's rotary positions.
const ROTARY_BASE: f64 = 100.0;

/// Opens the encoder in the file of weights at `path`.
///
/// # Errors
/// A file that cannot be read; no or several encoders; parameters that do not fit (the message lists them);
/// a property that models with such names do not agree on (the message names the option).
pub(super) fn open(
    path: &Path,
    neighbours: &Neighbours,
    options: &EncoderOptions,
    side: Option<usize>,
    device: Device,
) -> Result<(FrozenEncoder, EncoderDescription)> {
    ensure!(options.layout.is_none(), "--layout: it is for TorchScript modules, and these are weights");
    let weights = FoundWeights::read(path, options.key.as_deref())?;
    neighbours.expect_known_arguments()?;
    let (form, transformer, size) = match weights.layout.family {
        Family::Vit => vit(&weights, neighbours, options, side)?,
        family => {
            let of_a_vit = options.heads.is_some() || options.act.is_some() || options.eps.is_some();
            ensure!(
                !of_a_vit,
                "--heads, --act, --eps: these are properties of ViTs, and this is a {}",
                name(family)
            );
            (in_stages(&weights, neighbours)?, None, known(side, || neighbours.size(), DEFAULT_SIDE)?)
        }
    };
    let readout = readout(&weights, neighbours, options)?;
    let [mean, std] = normalisation(None, options, neighbours)?;
    let described = Known::new(name(weights.layout.family).to_owned(), Origin::File);
    let description = EncoderDescription {
        architecture: neighbours.architecture()?.unwrap_or(described),
        found: Some(Known::new(weights.found.clone(), Origin::File)),
        transformer,
        readout: readout.clone().map(|readout| readout.text().to_owned()),
        layout: None,
        features: Known::new(0, Origin::File),
        mean,
        std,
        size,
    };
    let normalisation = Normalisation { mean: description.mean.value, std: description.std.value };
    let blueprint = Blueprint { form, side: description.size.value, readout: readout.value, normalisation };
    let names = weights.found.names;
    let encoder = FrozenEncoder::from_weights(weights.tensors, blueprint, device).map_err(|error| {
        anyhow!(
            "the parameters with the names of {names} do not fit; by timm's and torchvision's \
             names:\n{error:#}\n{WAY_OUT}"
        )
    })?;
    Ok((encoder, description))
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Vit => "ViT",
        Family::ResNet => "ResNet",
        Family::ConvNext => "ConvNeXt",
    }
}

/// A ResNet or a ConvNeXt.
fn in_stages(weights: &FoundWeights, neighbours: &Neighbours) -> Result<Form> {
    if weights.layout.family == Family::ResNet {
        return Ok(Form::ResNet);
    }
    if let Some(activation) = neighbours.activation()?.filter(|stated| stated.value != Activation::Gelu) {
        bail!(
            "{}: activation {:?}, and ConvNeXts have gelu\n{WAY_OUT}",
            activation.source(),
            activation.value
        );
    }
    let eps = neighbours.eps()?.map(|eps| eps.value).or(weights.layout.usual.eps);
    Ok(Form::ConvNext { eps: eps.expect("every layout of ConvNeXts has an eps") })
}

type Described = (Form, Option<Transformer>, Known<usize>);

fn vit(
    weights: &FoundWeights,
    neighbours: &Neighbours,
    options: &EncoderOptions,
    side: Option<usize>,
) -> Result<Described> {
    let [width, _, patch, _] = weights.shape("patch_embed.proj.weight")[..] else {
        bail!("the convolution of the patches has not the shape (D, 3, p, p)\n{WAY_OUT}");
    };
    let has = |index: &i64| weights.tensors.keys().any(|name| name.starts_with(&format!("blocks.{index}.")));
    let depth = (0..).take_while(has).count() as i64;
    same("width", width, neighbours.width()?)?;
    same("depth", depth, neighbours.depth()?)?;
    let usual = &weights.layout.usual;
    let heads = heads(weights, width, options, neighbours)?;
    let activation = told(options.act, || neighbours.activation())?;
    let Some(activation) = activation.or(usual.activation.map(|act| Known::new(act, Origin::Default))) else {
        bail!(
            "models with the names of {} have one of several activations; neither the file nor a config.json \
             beside it says which, and another one gives other features\nhint: give --act quick_gelu \
             (OpenAI's CLIP), --act gelu (most other CLIPs, some SigLIPs) or --act gelu_tanh (other SigLIPs)",
            weights.found.names
        );
    };
    let eps = told(options.eps, || neighbours.eps())?;
    let Some(eps) = eps.or(usual.eps.map(|eps| Known::new(eps, Origin::Default))) else {
        bail!(
            "models with the names of {} differ in the eps of their normalisations, and neither the file nor \
             a config.json beside it says it\nhint: give --eps 1e-12 (ViT, DeiT, MAE), --eps 1e-6 (DINOv2, \
             SigLIP) or --eps 1e-5 (CLIP)",
            weights.found.names
        );
    };
    ensure!(eps.value > 0.0 && eps.value.is_finite(), "--eps {}: must be above 0", eps.value);
    let rotary = if usual.rotary { Some(neighbours.rotary_base()?.unwrap_or(ROTARY_BASE)) } else { None };
    let size = match told(side, || neighbours.size())? {
        Some(size) => size,
        None => side_in_file(weights, patch, usual.rotary)?,
    };
    let form = VitForm {
        image: i64::try_from(size.value)?,
        heads: heads.value,
        activation: activation.value,
        // DINOv3 names the gate's function as its activation; all others have SwiGLU
        gate: if usual.rotary { activation.value } else { Activation::Silu },
        eps: eps.value,
        rotary,
    };
    let [width, depth] = [width, depth].map(|value| Known::new(value, Origin::File));
    Ok((Form::Vit(form), Some(Transformer { width, depth, heads, activation, eps }), size))
}

/// The side that the position embedding shows, in pixels.
fn side_in_file(weights: &FoundWeights, patch: i64, rotary: bool) -> Result<Known<usize>> {
    if rotary {
        return Ok(Known::new(DEFAULT_SIDE, Origin::Default));
    }
    let positions = weights.shape("pos_embed");
    // a class token is one more than a square, registers are a few more
    let count = positions.iter().rev().nth(1).copied().unwrap_or(0);
    let grid = (count as f64).sqrt().floor() as i64;
    ensure!(grid > 0, "pos_embed: expected positions (1, T, D), found {positions:?}\n{WAY_OUT}");
    Ok(Known::new(usize::try_from(grid * patch)?, Origin::File))
}

/// Attention heads, which shapes do not show unless queries are normalised.
fn heads(
    weights: &FoundWeights,
    width: i64,
    options: &EncoderOptions,
    neighbours: &Neighbours,
) -> Result<Known<i64>> {
    let shown = weights.shape("blocks.0.attn.q_norm.weight").first().copied();
    let shown = shown.filter(|&depth| depth > 0).map(|depth| Known::new(width / depth, Origin::File));
    let listed = weights.layout.usual.heads.iter().find(|(of, _)| *of == width);
    let usual = listed.map(|&(_, heads)| Known::new(heads, Origin::Default));
    let Some(heads) = told(options.heads, || neighbours.heads())?.or(shown).or(usual) else {
        let examples = match width {
            192 => ": 3 (DeiT-Ti) or 12 (MAE's small models)",
            384 => ": 6 (timm, DeiT, DINO) or 12 (MoCo v3)",
            _ => "",
        };
        bail!(
            "a ViT of width {width} may have several numbers of attention heads{examples}; neither the file \
             nor a config.json beside it says which, and another number gives other features\nhint: give --heads"
        );
    };
    ensure!(
        heads.value > 0 && width % heads.value == 0,
        "{} attention heads ({}) do not divide the width {width}",
        heads.value,
        heads.source()
    );
    Ok(heads)
}

/// What the features are read from: the mean where there is no class token, or where a normalisation of
/// pooled features shows it.
fn readout(
    weights: &FoundWeights,
    neighbours: &Neighbours,
    options: &EncoderOptions,
) -> Result<Known<Readout>> {
    let has_class = weights.tensors.contains_key("cls_token");
    let told = told(options.readout, || neighbours.readout())?;
    let readout = told.unwrap_or_else(|| match weights.tensors.contains_key("fc_norm.weight") {
        true => Known::new(Readout::Mean, Origin::File),
        false => Known::new(if has_class { Readout::Cls } else { Readout::Mean }, Origin::Default),
    });
    let of_class = matches!(readout.value, Readout::Cls | Readout::ClsMean);
    ensure!(
        has_class || !of_class,
        "read from {} ({}): this encoder has no class token\nhint: give --readout mean or --readout grid",
        readout.value.text(),
        readout.source()
    );
    Ok(readout)
}
