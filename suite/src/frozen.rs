//! A frozen encoder from a file: a checkpoint of ours, any ViT with timm's parameter names, or a TorchScript module.

use std::cell::OnceCell;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use eqr_models::arena::Compute;
use eqr_models::vit::{Encoded, Vit, VitConfig, grid_means};
use eqr_models::{Arena, Registry};
use eqr_probes::segment::{Encoder, Maps};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::import::{Parameters, overwrite};
use crate::script::{Output, Script};

/// Mean and standard deviation of a channel, of pixels in [0, 1], that images are normalised by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Mean of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, above 0.
    pub std: [f32; 3],
}

impl Normalisation {
    /// What torchvision's and most of timm's encoders were trained with.
    pub const IMAGENET: Normalisation = Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// Pixels (.., 3, H, W) in [0, 1] to mean 0 and deviation 1 a channel.
    pub fn apply(&self, pixels: &Tensor) -> Tensor {
        (pixels - channel_wise(&self.mean, pixels.device())) / channel_wise(&self.std, pixels.device())
    }

    /// The inverse of [`Normalisation::apply`].
    pub fn undo(&self, images: &Tensor) -> Tensor {
        images * channel_wise(&self.std, images.device()) + channel_wise(&self.mean, images.device())
    }
}

fn channel_wise(values: &[f32; 3], device: Device) -> Tensor {
    Tensor::from_slice(values).view([3, 1, 1]).to_device(device)
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f32; 3]| values.map(|value| value.to_string()).join(",");
        write!(f, "mean {} std {}", list(&self.mean), list(&self.std))
    }
}

/// What `--encoder` takes.
pub const ENCODER_HELP: &str = "A checkpoint (`checkpoints/<training>/step-<n>`, or the training's folder for its newest), a .safetensors file with the names of \
timm's ViTs or of `eqr-bench export`, or a TorchScript module that takes an image batch (N, 3, S, S) and returns features (N, D), a token map \
(N, D, h, w), tokens (N, T, D), or a tuple of maps. A TorchScript file is a program: it runs with your rights, so take it from people you trust.";

/// How an encoder takes images.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderOptions {
    /// Side of the images in pixels; default: what the encoder was trained on, of a TorchScript module 224. Position embeddings are resized.
    #[arg(long, requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Mean of red, green and blue that images are normalised by, of pixels in [0, 1]; default: what our checkpoints were trained with, of other
    /// encoders ImageNet's.
    #[arg(long, value_parser = channels, value_name = "R,G,B", requires_all = ["std", "encoder"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Their standard deviation.
    #[arg(long, value_parser = channels, value_name = "R,G,B", requires = "mean")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
    /// What of a timm ViT, or of tokens that are no map, is the feature; our encoders have y, maps are averaged.
    #[arg(long, value_enum, default_value = "cls")]
    pub pool: Pooling,
    /// Attention heads of a timm ViT, which its shapes do not tell; default: width / 64.
    #[arg(long, requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<i64>,
}

/// The feature that is read of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The class token, which is the first.
    #[default]
    Cls,
    /// The mean over the patch tokens.
    Mean,
}

fn channels(text: &str) -> Result<[f32; 3], String> {
    let values: Result<Vec<f32>, _> = text.split(',').map(|value| value.trim().parse::<f32>()).collect();
    let values = values.ok().filter(|values| values.iter().all(|value| value.is_finite()));
    values.and_then(|values| values.try_into().ok()).ok_or_else(|| "expected three numbers with commas between".into())
}

/// An encoder that does not change. Images go in normalised; features come out in float32.
pub struct Frozen {
    network: Network,
    name: String,
    side: usize,
    /// What images are normalised by.
    pub normalisation: Normalisation,
    device: Device,
    /// Of the token maps, once they were asked for.
    channels: OnceCell<Vec<i64>>,
}

enum Network {
    /// With the map to y, or `Some` reading where it is a plain one.
    Vit {
        vit: Box<Vit>,
        arena: Arena,
        plain: Option<Pooling>,
    },
    Script(Script),
}

/// What an encoder says of a batch, float32.
pub struct Representation {
    /// (B, D): the representation, y of our encoders.
    pub y: Tensor,
    /// (B, D + 4 D'): y and the quadrant means of the token map, where there is one of 2 x 2 at least.
    pub grid: Option<Tensor>,
}

/// Anything whose representation can be measured.
pub trait Represents {
    /// Normalised images (B, 3, S, S) of float32 -> what is read.
    ///
    /// # Errors
    /// A TorchScript module's.
    fn represent(&self, images: &Tensor) -> Result<Representation>;
}

impl Frozen {
    /// Opens the encoder at `path` for images of `side` pixels, where that is not left to `--size` and the encoder, and makes sure that it is
    /// frozen: the same images have the same features whatever stands beside them, again and again.
    ///
    /// # Errors
    /// A file that cannot be read or is none of the three; parameters whose names or shapes do not fit, listed; a module that fails, returns
    /// something else or is not frozen.
    pub fn open(path: &Path, options: &EncoderOptions, side: Option<usize>, device: Device) -> Result<Frozen> {
        let place = || format!("encoder {}", path.display());
        if let Some(std) = options.std.filter(|std| std.iter().any(|&std| std <= 0.0)) {
            bail!("--std {std:?}: must be above 0");
        }
        let given = options.mean.zip(options.std).map(|(mean, std)| Normalisation { mean, std });
        let side = side.or(options.size);
        if side == Some(0) {
            bail!("size = 0: must be at least 1");
        }
        let read = || match Form::of(path)? {
            Form::Checkpoint(folder) => Self::from_checkpoint(&folder, given, side, device),
            Form::Safetensors => Self::from_safetensors(path, options, given, side, device),
            Form::Script => {
                let network = Network::Script(Script::load(path, options.pool, device)?);
                let (side, normalisation) = (side.unwrap_or(224), given.unwrap_or(Normalisation::IMAGENET));
                Ok(Frozen { network, name: String::new(), side, normalisation, device, channels: OnceCell::new() })
            }
        };
        let frozen = Frozen { name: place(), ..read().with_context(place)? };
        frozen.check()?;
        Ok(frozen)
    }

    /// As [`Frozen::open`], for the token maps of images of `side` pixels, whatever the options say of it.
    ///
    /// # Errors
    /// As [`Frozen::open`], and an encoder that gives no maps.
    pub fn open_for_maps(path: &Path, options: &EncoderOptions, side: usize, device: Device) -> Result<Frozen> {
        let frozen = Self::open(path, options, Some(side), device)?;
        frozen.token_maps(&frozen.blank()).with_context(|| frozen.name.clone())?;
        Ok(frozen)
    }

    /// An image of zeros, (1, 3, S, S).
    fn blank(&self) -> Tensor {
        let side = self.side as i64;
        Tensor::zeros([1, 3, side, side], (Kind::Float, self.device))
    }

    /// A network of ours, from its parameters, for images of `side` pixels.
    ///
    /// # Errors
    /// Parameters that do not fit `config`, a side that the patches do not divide.
    pub fn ours(
        parameters: &Parameters,
        config: VitConfig,
        side: usize,
        normalisation: Normalisation,
        compute: Compute,
        device: Device,
    ) -> Result<Frozen> {
        let config = VitConfig { image: side as i64, ..config };
        let plain = (!parameters.has_out()).then_some(Pooling::Cls);
        let network = vit(parameters, config, plain, compute, device)?;
        Ok(Frozen { network, name: "encoder".into(), side, normalisation, device, channels: OnceCell::new() })
    }

    fn from_checkpoint(
        folder: &Path,
        given: Option<Normalisation>,
        side: Option<usize>,
        device: Device,
    ) -> Result<Frozen> {
        let checkpoint = Checkpoint::open(folder)?;
        let identity = &checkpoint.manifest.identity;
        let hint = "hint: the checkpoint is of an earlier version and does not say what its images were normalised by: give --mean and --std";
        let normalisation = given.or(identity.normalisation).ok_or_else(|| anyhow!("no normalisation\n{hint}"))?;
        let side = side.unwrap_or(identity.encoder.image as usize);
        let parameters = Parameters::of_network(folder, &checkpoint.parameters()?, &identity.encoder)?;
        Self::ours(&parameters, identity.encoder, side, normalisation, Compute::F32, device)
    }

    fn from_safetensors(
        path: &Path,
        options: &EncoderOptions,
        given: Option<Normalisation>,
        side: Option<usize>,
        device: Device,
    ) -> Result<Frozen> {
        let parameters = Parameters::read(path)?;
        let config = parameters.config(options.heads)?;
        let normalisation = given.or(parameters.normalisation).unwrap_or(Normalisation::IMAGENET);
        let side = side.unwrap_or(config.image as usize);
        let config = VitConfig { image: side as i64, ..config };
        let plain = (!parameters.has_out()).then_some(options.pool);
        let network = vit(&parameters, config, plain, Compute::F32, device)?;
        Ok(Frozen { network, name: String::new(), side, normalisation, device, channels: OnceCell::new() })
    }

    /// Whether the representation has an invariant and an equivariant half: ours has.
    pub fn has_halves(&self) -> bool {
        matches!(self.network, Network::Vit { plain: None, .. })
    }

    /// Side of the images it takes, in pixels.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Pixels (.., 3, H, W) in [0, 1] as the encoder takes them.
    pub fn normalise(&self, pixels: &Tensor) -> Tensor {
        self.normalisation.apply(pixels)
    }

    /// Token maps (B, D_i, h_i, w_i), float32, of normalised images (B, 3, S, S): of a ViT after each quarter of its blocks (protocol
    /// section 6), of a module what it returns.
    ///
    /// # Errors
    /// A module that fails or returns no map.
    pub fn token_maps(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        tch::no_grad(|| match &self.network {
            Network::Vit { vit, arena, .. } => {
                let images = images.to_kind(arena.compute().kind());
                let maps = vit.maps(arena, &images, &vit.quarters());
                Ok(maps.into_iter().map(|map| map.to_kind(Kind::Float)).collect())
            }
            Network::Script(script) => {
                let Output { y, maps } = script.run(images)?;
                ensure!(
                    !maps.is_empty(),
                    "the module returns features {:?}, and segmentation reads a token map (N, D, h, w)\nhint: script a module that returns one, or a tuple of several",
                    y.size()
                );
                Ok(maps)
            }
        })
    }

    /// Fails where the features of an image depend on anything but the image.
    fn check(&self) -> Result<()> {
        let side = self.side as i64;
        let count = 4 * 3 * side * side;
        // noise of no generator: nothing else may draw differently for it
        let pixels = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898).sin() * 43_758.545_3;
        let pixels = (&pixels - pixels.floor()).to_kind(Kind::Float).view([4, 3, side, side]).to_device(self.device);
        let images = self.normalise(&pixels);
        let first = self.represent(&images)?.y;
        ensure!(
            first.isfinite().all().int64_value(&[]) == 1,
            "{}: its features of random images are NaN or infinite\nhint: check the file, and --mean and --std",
            self.name
        );
        let again = self.represent(&images)?.y;
        let half = self.represent(&images.narrow(0, 0, 2))?.y;
        let scale = first.abs().max().double_value(&[]).max(1e-6);
        let apart =
            |other: &Tensor| (first.narrow(0, 0, other.size()[0]) - other).abs().max().double_value(&[]) / scale;
        for (other, what) in [(&again, "a second pass over the same images"), (&half, "fewer images beside them")] {
            let apart = apart(other);
            ensure!(
                apart < 1e-2,
                "{}: it is not frozen: with {what} its features differ by {apart:.2e} of their largest value\nhint: put the module into eval mode before it is scripted",
                self.name
            );
        }
        Ok(())
    }
}

impl Represents for Frozen {
    fn represent(&self, images: &Tensor) -> Result<Representation> {
        tch::no_grad(|| match &self.network {
            Network::Vit { vit, arena, plain } => {
                let images = images.to_kind(arena.compute().kind());
                Ok(match plain {
                    None => Representation::of(&vit.forward(arena, &images)),
                    Some(pooling) => plain_representation(&vit.tokens(arena, &images).to_kind(Kind::Float), *pooling),
                })
            }
            Network::Script(script) => {
                let Output { y, maps } = script.run(images).with_context(|| self.name.clone())?;
                let grid = maps.last().and_then(|map| map_grid(&y, map));
                Ok(Representation { y, grid })
            }
        })
    }
}

impl Encoder for Frozen {
    fn channels(&self) -> Vec<i64> {
        let widths = || {
            // one that fails says so when it is asked for its maps
            self.token_maps(&self.blank())
                .map_or_else(|_| vec![0], |maps| maps.iter().map(|map| map.size()[1]).collect())
        };
        self.channels.get_or_init(widths).clone()
    }

    fn maps(&self, images: &Tensor) -> Maps {
        Ok(self.token_maps(images).with_context(|| self.name.clone())?)
    }
}

impl Representation {
    /// Of our encoder.
    pub fn of(encoded: &Encoded) -> Representation {
        let float = Encoded { y: encoded.y.to_kind(Kind::Float), tokens: encoded.tokens.to_kind(Kind::Float) };
        let grid = Some(float.grid_readout());
        Representation { y: float.y, grid }
    }

    /// Batches one after the other.
    pub fn concatenated(parts: &[Representation]) -> Representation {
        let grids: Option<Vec<&Tensor>> = parts.iter().map(|part| part.grid.as_ref()).collect();
        let y: Vec<&Tensor> = parts.iter().map(|part| &part.y).collect();
        Representation { y: Tensor::cat(&y, 0), grid: grids.map(|grids| Tensor::cat(&grids, 0)) }
    }

    /// Rows `indices`, int64.
    pub fn select(&self, indices: &Tensor) -> Representation {
        let rows = |t: &Tensor| t.index_select(0, indices);
        Representation { y: rows(&self.y), grid: self.grid.as_ref().map(rows) }
    }
}

impl Represents for crate::train::Network {
    fn represent(&self, images: &Tensor) -> Result<Representation> {
        let images = images.to_kind(self.arena.compute().kind());
        Ok(Representation::of(&tch::no_grad(|| self.model.encoder.forward(&self.arena, &images))))
    }
}

/// Tokens (B, 1 + T, D), the class token first.
fn plain_representation(tokens: &Tensor, pooling: Pooling) -> Representation {
    let patches = tokens.narrow(1, 1, tokens.size()[1] - 1);
    let y = match pooling {
        Pooling::Cls => tokens.select(1, 0),
        Pooling::Mean => patches.mean_dim([1i64].as_slice(), false, None),
    };
    let grid = Some(Tensor::cat(&[&y, &grid_means(&patches)], 1));
    Representation { y, grid }
}

/// y and the quadrant means of a map (B, D, h, w), of 2 x 2 at least.
fn map_grid(y: &Tensor, map: &Tensor) -> Option<Tensor> {
    let (batch, width, rows, columns) = map.size4().expect("a map is (B, D, h, w)");
    let quadrants = || map.adaptive_avg_pool2d([2, 2]).reshape([batch, 4 * width]);
    (rows > 1 && columns > 1).then(|| Tensor::cat(&[y, &quadrants()], 1))
}

fn vit(
    parameters: &Parameters,
    config: VitConfig,
    plain: Option<Pooling>,
    compute: Compute,
    device: Device,
) -> Result<Network> {
    let fitted = parameters.fitted(&config)?;
    let mut registry = Registry::default();
    let vit = Vit::new(&mut registry, config)?;
    let mut arena = Arena::new(registry, 0, compute, device);
    overwrite(&mut arena, fitted)?;
    Ok(Network::Vit { vit: Box::new(vit), arena, plain })
}

/// What a path holds.
enum Form {
    Checkpoint(PathBuf),
    Safetensors,
    Script,
}

impl Form {
    /// By what stands in it, whatever its name.
    fn of(path: &Path) -> Result<Form> {
        if path.is_dir() {
            return Ok(Form::Checkpoint(checkpoint_in(path)?));
        }
        let mut start = Vec::new();
        std::fs::File::open(path)?.take(9).read_to_end(&mut start)?;
        match start[..] {
            // TorchScript archives are zip files
            [b'P', b'K', 3, 4, ..] => Ok(Form::Script),
            // the length of a header, and the header, which is JSON
            [_, _, _, _, _, _, _, _, b'{'] => Ok(Form::Safetensors),
            _ => bail!(
                "neither a safetensors file nor TorchScript\nhint: write one with safetensors.torch.save_file or torch.jit.trace(..).save; `--help` says what is taken"
            ),
        }
    }
}

/// Whether the file at `path` is TorchScript.
pub fn is_script(path: &Path) -> bool {
    matches!(Form::of(path), Ok(Form::Script))
}

/// The folder itself, or the newest checkpoint in it.
///
/// # Errors
/// A folder without one.
pub fn checkpoint_in(folder: &Path) -> Result<PathBuf> {
    if folder.join("manifest.json").is_file() && !folder.join("cells").is_dir() {
        return Ok(folder.to_owned());
    }
    let checkpoints = Checkpoints { folder: folder.to_owned() };
    if let Some(&newest) = checkpoints.steps()?.first() {
        return Ok(checkpoints.at_step(newest));
    }
    let trainings = folder.join("checkpoints");
    let names = std::fs::read_dir(&trainings).map_or_else(
        |_| Vec::new(),
        |found| found.flatten().map(|entry| entry.path().display().to_string()).collect::<Vec<_>>(),
    );
    match names[..] {
        [] => bail!("the folder holds no checkpoint"),
        _ => bail!("the folder is a run with several trainings\nhint: name one of {}", names.join(", ")),
    }
}
