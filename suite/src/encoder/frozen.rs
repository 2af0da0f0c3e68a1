//! A frozen encoder, and what it computes from images.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use eqr_models::layers::BlockForm;
use eqr_models::vit::{Vit, VitConfig, grid_means};
use eqr_models::{Arena, Compute, Normalisation, Registry};
use eqr_probes::segmentation_head::{Encoder, Maps};
use tch::{Device, Kind, Tensor};

use crate::encoder::network::Network;
use crate::encoder::representation::{FeatureEncoder, Representation};
use crate::encoder::torchscript::{ModuleOutput, TorchScriptModule};
use crate::encoder::vit_file::{VitParameters, overwrite};
use crate::run_folder::encoder_description::EncoderDescription;
use crate::suite_file::encoder_options::Pooling;

/// A frozen encoder. It takes normalised images and returns float32 features.
pub struct FrozenEncoder {
    backbone: Backbone,
    /// Name in messages.
    name: String,
    side: usize,
    /// Mean and standard deviation used to normalise its images.
    pub normalisation: Normalisation,
    device: Device,
    /// Widths of the token maps, once computed.
    channels: OnceCell<Vec<i64>>,
    /// What is known of an encoder from a file.
    opened: Option<Opened>,
}

/// What opening an encoder from a file has shown.
pub struct Opened {
    /// What it is and how it is read.
    pub description: EncoderDescription,
    /// Time that it takes for one image.
    pub seconds_per_image: f64,
}

enum Backbone {
    Vit {
        vit: Box<Vit>,
        form: BlockForm,
        arena: Arena,
        /// How the representation is read from the tokens; `None` if the ViT has a map to y.
        pooling: Option<Pooling>,
    },
    Module(TorchScriptModule),
}

impl FrozenEncoder {
    /// A ViT of shape `config`; `pooling` says how the representation is read if it has no map to y.
    ///
    /// # Errors
    /// Parameters that do not fit `config`, an image side that is not a multiple of the patch size.
    pub fn from_vit(
        parameters: &VitParameters,
        (config, form): (VitConfig, BlockForm),
        pooling: Pooling,
        normalisation: Normalisation,
        compute: Compute,
        device: Device,
    ) -> Result<FrozenEncoder> {
        let fitted = parameters.fitted(&config)?;
        let mut registry = Registry::default();
        let vit = Box::new(Vit::of_form(&mut registry, config, form)?);
        let mut arena = Arena::new(registry, 0, compute, device);
        overwrite(&mut arena, fitted)?;
        let pooling = (!parameters.has_out()).then_some(pooling);
        Ok(Self::new(
            Backbone::Vit { vit, form, arena, pooling },
            config.image as usize,
            normalisation,
            device,
        ))
    }

    /// An encoder of the same architecture with random weights; `None` for a module, which this program
    /// cannot build anew.
    ///
    /// # Errors
    /// None for an encoder that was opened.
    pub fn untrained(&self) -> Result<Option<FrozenEncoder>> {
        let Backbone::Vit { vit, form, arena, pooling } = &self.backbone else { return Ok(None) };
        let (config, form, pooling) = (*vit.config(), *form, *pooling);
        let mut registry = Registry::default();
        let vit = Box::new(Vit::of_form(&mut registry, config, form)?);
        let arena = Arena::new(registry, 0, arena.compute(), self.device);
        let backbone = Backbone::Vit { vit, form, arena, pooling };
        let encoder = Self::new(backbone, self.side, self.normalisation, self.device);
        Ok(Some(encoder.named(format!("{} with random weights", self.name))))
    }

    /// A copy of a trained network's encoder, for images of `side` pixels.
    ///
    /// # Errors
    /// A side that is not a multiple of the patch size.
    pub fn from_network(
        network: &Network,
        side: usize,
        normalisation: Normalisation,
    ) -> Result<FrozenEncoder> {
        let (arena, config) = (&network.arena, *network.model.encoder.config());
        let named = arena.named(arena.master()).into_iter().map(|(name, tensor)| (name.into(), tensor));
        let parameters = VitParameters::select(Path::new("the trained network"), &named.collect(), &config)?;
        let config = VitConfig { image: side as i64, ..config };
        Self::from_vit(
            &parameters,
            (config, BlockForm::default()),
            Pooling::Cls,
            normalisation,
            arena.compute(),
            arena.master().device(),
        )
    }

    /// A TorchScript module for images of `side` pixels.
    pub fn from_module(
        module: TorchScriptModule,
        side: usize,
        normalisation: Normalisation,
        device: Device,
    ) -> FrozenEncoder {
        Self::new(Backbone::Module(module), side, normalisation, device)
    }

    fn new(backbone: Backbone, side: usize, normalisation: Normalisation, device: Device) -> FrozenEncoder {
        FrozenEncoder {
            backbone,
            name: "encoder".into(),
            side,
            normalisation,
            device,
            channels: OnceCell::new(),
            opened: None,
        }
    }

    /// The same encoder, with what opening it has shown.
    pub(super) fn with_opened(self, opened: Opened) -> FrozenEncoder {
        FrozenEncoder { opened: Some(opened), ..self }
    }

    /// What opening it has shown, if it is from a file.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// What the features of a module are read from.
    ///
    /// # Errors
    /// A module that fails.
    pub(super) fn module_readout(&self) -> Result<Option<&'static str>> {
        match &self.backbone {
            Backbone::Vit { .. } => Ok(None),
            Backbone::Module(module) => Ok(Some(tch::no_grad(|| {
                Ok::<_, anyhow::Error>(module.readout(&module.run(&self.blank())?))
            })?)),
        }
    }

    /// The same encoder, called `name` in messages.
    pub(super) fn named(self, name: String) -> FrozenEncoder {
        FrozenEncoder { name, ..self }
    }

    /// Name in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the representation has an invariant and an equivariant half. Only our encoders have them.
    pub fn has_halves(&self) -> bool {
        matches!(self.backbone, Backbone::Vit { pooling: None, .. })
    }

    /// Side of the images it takes, in pixels.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Normalises pixels (.., 3, H, W) in [0, 1] for the encoder.
    pub fn normalise(&self, pixels: &Tensor) -> Tensor {
        self.normalisation.apply(pixels)
    }

    /// Token maps (B, D_i, h_i, w_i), float32, of normalised images (B, 3, S, S). A ViT gives one after each
    /// quarter of its blocks (protocol section 6). A module gives the maps that it returns.
    ///
    /// # Errors
    /// A module that fails or returns no map.
    pub fn token_maps(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        tch::no_grad(|| match &self.backbone {
            Backbone::Vit { vit, arena, .. } => {
                let images = images.to_kind(arena.compute().kind());
                let maps = vit.maps(arena, &images, &vit.quarters());
                Ok(maps.into_iter().map(|map| map.to_kind(Kind::Float)).collect())
            }
            Backbone::Module(module) => {
                let ModuleOutput { y, maps, .. } = module.run(images)?;
                ensure!(
                    !maps.is_empty(),
                    "the module returns features {:?}, and segmentation reads a token map (N, D, h, \
                     w)\nhint: script a module that returns one, or a tuple of several",
                    y.size()
                );
                Ok(maps)
            }
        })
    }

    /// # Errors
    /// Same as [`FrozenEncoder::token_maps`].
    pub(super) fn check_maps(&self) -> Result<()> {
        self.token_maps(&self.blank()).with_context(|| self.name.clone()).map(|_| ())
    }

    /// An image of zeros, (1, 3, S, S).
    fn blank(&self) -> Tensor {
        let side = self.side as i64;
        Tensor::zeros([1, 3, side, side], (Kind::Float, self.device))
    }
}

impl FeatureEncoder for FrozenEncoder {
    fn represent(&self, images: &Tensor) -> Result<Representation> {
        let pieces = images.split(images_at_a_time(self.device, images), 0);
        let each: Vec<Representation> =
            pieces.iter().map(|piece| self.represent_at_once(piece)).collect::<Result<_>>()?;
        Ok(Representation::concatenated(&each))
    }
}

impl FrozenEncoder {
    fn represent_at_once(&self, images: &Tensor) -> Result<Representation> {
        tch::no_grad(|| match &self.backbone {
            Backbone::Vit { vit, arena, pooling, .. } => {
                let images = images.to_kind(arena.compute().kind());
                Ok(match pooling {
                    None => Representation::from_encoded(&vit.forward(arena, &images)),
                    Some(pooling) => pooled(&vit.tokens(arena, &images).to_kind(Kind::Float), *pooling),
                })
            }
            Backbone::Module(module) => {
                let ModuleOutput { y, maps, .. } = module.run(images).with_context(|| self.name.clone())?;
                let grid = maps.last().and_then(|map| map_grid(&y, map));
                Ok(Representation { y, grid })
            }
        })
    }
}

impl Encoder for FrozenEncoder {
    fn channels(&self) -> Vec<i64> {
        let widths = || {
            // an encoder without maps reports that when its maps are requested
            self.token_maps(&self.blank())
                .map_or_else(|_| vec![0], |maps| maps.iter().map(|map| map.size()[1]).collect())
        };
        self.channels.get_or_init(widths).clone()
    }

    fn maps(&self, images: &Tensor) -> Maps {
        Ok(self.token_maps(images).with_context(|| self.name.clone())?)
    }
}

/// Pixels that a CPU encodes at a time: 32 images of 224 px. Activations grow with the pixels; those of 256
/// such images in an EfficientNet took 8 GB, most of it pages that the system cleared anew for each batch.
const PIXELS_ON_CPU: i64 = 32 * 224 * 224;

/// Number of the images (B, 3, S, S) that are encoded at a time.
fn images_at_a_time(device: Device, images: &Tensor) -> i64 {
    let [batch, _, height, width] = images.size()[..] else { unreachable!("images are (B, 3, S, S)") };
    if device == Device::Cpu { (PIXELS_ON_CPU / (height * width)).max(1) } else { batch.max(1) }
}

/// The representation of tokens (B, 1 + T, D), the class token first.
fn pooled(tokens: &Tensor, pooling: Pooling) -> Representation {
    let patches = tokens.narrow(1, 1, tokens.size()[1] - 1);
    let y = match pooling {
        Pooling::Cls => tokens.select(1, 0),
        Pooling::Mean => patches.mean_dim([1i64].as_slice(), false, None),
    };
    let grid = Some(Tensor::cat(&[&y, &grid_means(&patches)], 1));
    Representation { y, grid }
}

/// y and the quadrant means of a map (B, D, h, w), if it is at least 2 x 2.
fn map_grid(y: &Tensor, map: &Tensor) -> Option<Tensor> {
    let (batch, width, rows, columns) = map.size4().expect("a map is (B, D, h, w)");
    let quadrants = || map.adaptive_avg_pool2d([2, 2]).reshape([batch, 4 * width]);
    (rows > 1 && columns > 1).then(|| Tensor::cat(&[y, &quadrants()], 1))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{Pooling, images_at_a_time, map_grid, pooled};

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.flatten(0, -1).to_kind(tch::Kind::Double)).unwrap()
    }

    #[test]
    fn large_images_are_encoded_in_smaller_pieces_on_a_cpu() {
        let images = |side: i64| Tensor::empty([4, 3, side, side], (Kind::Float, Device::Cpu));
        let pieces = |side: i64| images_at_a_time(Device::Cpu, &images(side));
        assert_eq!([32, 64, 224, 2048].map(pieces), [1568, 392, 32, 1]);
        assert_eq!(images_at_a_time(Device::Cuda(0), &images(224)), 4);
    }

    #[test]
    fn plain_tokens_are_read_by_the_class_token_or_the_mean_of_the_patches() {
        // one image, a class token of 9 and 2 x 2 patches of one channel
        let tokens = Tensor::from_slice(&[9f32, 1.0, 2.0, 3.0, 4.0]).view([1, 5, 1]);
        let class = pooled(&tokens, Pooling::Cls);
        assert_eq!(
            (numbers(&class.y), numbers(&class.grid.unwrap())),
            (vec![9.0], vec![9.0, 1.0, 2.0, 3.0, 4.0])
        );
        assert_eq!(numbers(&pooled(&tokens, Pooling::Mean).y), [2.5]);
    }

    #[test]
    fn a_map_of_one_row_has_no_quadrants() {
        let y = Tensor::from_slice(&[7f32]).view([1, 1]);
        let map = Tensor::from_slice(&[1f32, 3.0, 5.0, 7.0]);
        assert!(map_grid(&y, &map.view([1, 1, 1, 4])).is_none());
        assert_eq!(numbers(&map_grid(&y, &map.view([1, 1, 2, 2])).unwrap()), [7.0, 1.0, 3.0, 5.0, 7.0]);
    }
}
