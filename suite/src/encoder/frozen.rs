//! A frozen encoder from a file: a checkpoint of ours, any ViT with timm's parameter names, or a TorchScript module.

use std::cell::OnceCell;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use eqr_models::Compute;
use eqr_models::vit::{Vit, VitConfig, grid_means};
use eqr_models::{Arena, Registry};
use eqr_probes::segmentation_head::{Encoder, Maps};
use tch::{Device, Kind, Tensor};

use crate::encoder::representation::{FeatureEncoder, Representation};
use crate::encoder::torchscript::{Output, Script};
use crate::encoder::vit_file::{Parameters, overwrite};
use eqr_models::Normalisation;
use crate::run_folder::checkpoint::{Checkpoint, Checkpoints};
use crate::suite_file::encoder_options::{EncoderOptions, Pooling};

/// An encoder that does not change. Images go in normalised; features come out in float32.
pub struct FrozenEncoder {
    network: Network,
    name: String,
    side: usize,
    /// What images are normalised by.
    pub normalisation: Normalisation,
    device: Device,
    /// Of the token maps, once they were asked for.
    channels: OnceCell<Vec<i64>>,
}

pub(crate) enum Network {
    /// With the map to y, or `Some` reading where it is a plain one.
    Vit {
        vit: Box<Vit>,
        arena: Arena,
        plain: Option<Pooling>,
    },
    Script(Script),
}

impl FrozenEncoder {
    /// Opens the encoder at `path` for images of `side` pixels, where that is not left to `--size` and the encoder, and makes sure that it is
    /// frozen: the same images have the same features whatever stands beside them, again and again.
    ///
    /// # Errors
    /// A file that cannot be read or is none of the three; parameters whose names or shapes do not fit, listed; a module that fails, returns
    /// something else or is not frozen.
    pub fn open(path: &Path, options: &EncoderOptions, side: Option<usize>, device: Device) -> Result<FrozenEncoder> {
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
                Ok(FrozenEncoder {
                    network,
                    name: String::new(),
                    side,
                    normalisation,
                    device,
                    channels: OnceCell::new(),
                })
            }
        };
        let frozen = FrozenEncoder { name: place(), ..read().with_context(place)? };
        frozen.check()?;
        Ok(frozen)
    }

    /// As [`FrozenEncoder::open`], for the token maps of images of `side` pixels, whatever the options say of it.
    ///
    /// # Errors
    /// As [`FrozenEncoder::open`], and an encoder that gives no maps.
    pub fn open_for_maps(path: &Path, options: &EncoderOptions, side: usize, device: Device) -> Result<FrozenEncoder> {
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
    ) -> Result<FrozenEncoder> {
        let config = VitConfig { image: side as i64, ..config };
        let plain = (!parameters.has_out()).then_some(Pooling::Cls);
        let network = vit(parameters, config, plain, compute, device)?;
        Ok(FrozenEncoder { network, name: "encoder".into(), side, normalisation, device, channels: OnceCell::new() })
    }

    fn from_checkpoint(
        folder: &Path,
        given: Option<Normalisation>,
        side: Option<usize>,
        device: Device,
    ) -> Result<FrozenEncoder> {
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
    ) -> Result<FrozenEncoder> {
        let parameters = Parameters::read(path)?;
        let config = parameters.config(options.heads)?;
        let normalisation = given.or(parameters.normalisation).unwrap_or(Normalisation::IMAGENET);
        let side = side.unwrap_or(config.image as usize);
        let config = VitConfig { image: side as i64, ..config };
        let plain = (!parameters.has_out()).then_some(options.pool);
        let network = vit(&parameters, config, plain, Compute::F32, device)?;
        Ok(FrozenEncoder { network, name: String::new(), side, normalisation, device, channels: OnceCell::new() })
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

impl FeatureEncoder for FrozenEncoder {
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

impl Encoder for FrozenEncoder {
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
