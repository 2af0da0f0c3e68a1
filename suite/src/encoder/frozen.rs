//! A frozen encoder, and what it computes from images.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use eqr_models::encoders::{Architecture, Form, random_weights};
use eqr_models::vit::{Vit, VitConfig};
use eqr_models::{Arena, Compute, LayerTokens, Normalisation, Registry};
use eqr_probes::segmentation_head::{Encoder, Maps};
use tch::{Device, Kind, Tensor};

use crate::encoder::layer::{Layer, LayeredEncoder};
use crate::encoder::module::Module;
use crate::encoder::network::Network;
use crate::encoder::readout::as_tokens;
use crate::encoder::representation::{FeatureEncoder, Representation};
use crate::encoder::untrained_module::UntrainedModule;
use crate::encoder::vit_file::{VitParameters, overwrite};
use crate::run_folder::encoder_description::EncoderDescription;
use crate::suite_file::encoder_options::Readout;

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
    /// One of ours, which has a map to y.
    Own { vit: Box<Vit>, arena: Arena },
    /// One that was trained elsewhere.
    Published {
        architecture: Box<Architecture>,
        blueprint: Blueprint,
        /// Names and shapes of its parameters.
        shapes: BTreeMap<String, Vec<i64>>,
    },
    Module {
        module: Module,
        /// The same module with random weights, if its author wrote one.
        untrained: Option<UntrainedModule>,
    },
}

/// What the parameters of a published encoder do not show.
#[derive(Clone, Copy)]
pub(super) struct Blueprint {
    pub form: Form,
    /// Side of the images in pixels.
    pub side: usize,
    pub readout: Readout,
    pub normalisation: Normalisation,
}

impl FrozenEncoder {
    /// One of our encoders, of shape `config`.
    ///
    /// # Errors
    /// Parameters that do not fit `config`, an image side that is not a multiple of the patch size.
    pub fn from_vit(
        parameters: &VitParameters,
        config: VitConfig,
        normalisation: Normalisation,
        compute: Compute,
        device: Device,
    ) -> Result<FrozenEncoder> {
        let fitted = parameters.fitted(&config)?;
        let mut registry = Registry::default();
        let vit = Box::new(Vit::new(&mut registry, config)?);
        let mut arena = Arena::new(registry, 0, compute, device);
        overwrite(&mut arena, fitted)?;
        Ok(Self::new(Backbone::Own { vit, arena }, config.image as usize, normalisation, device))
    }

    /// An encoder of published parameters, under the names that eqr-models reads.
    ///
    /// # Errors
    /// A form or parameters that do not fit; a readout that the encoder does not have.
    pub(super) fn from_weights(
        tensors: BTreeMap<String, Tensor>,
        blueprint: Blueprint,
        device: Device,
    ) -> Result<FrozenEncoder> {
        let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect();
        let architecture = Box::new(Architecture::read(tensors, &blueprint.form, device)?);
        let backbone = Backbone::Published { architecture, blueprint, shapes };
        Ok(Self::new(backbone, blueprint.side, blueprint.normalisation, device))
    }

    /// An encoder of the same architecture with random weights; `None` for a module without a file of such
    /// weights, since this program cannot build it anew.
    ///
    /// # Errors
    /// A file of random weights that is another module.
    pub fn untrained(&self) -> Result<Option<FrozenEncoder>> {
        let encoder = match &self.backbone {
            Backbone::Own { vit, arena } => {
                let mut registry = Registry::default();
                let vit = Box::new(Vit::new(&mut registry, *vit.config())?);
                let arena = Arena::new(registry, 0, arena.compute(), self.device);
                Self::new(Backbone::Own { vit, arena }, self.side, self.normalisation, self.device)
            }
            Backbone::Published { blueprint, shapes, .. } => {
                let shapes = shapes.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()));
                let drawn = random_weights::draw(shapes, blueprint.form.scheme(), 0);
                Self::from_weights(drawn, *blueprint, self.device)?
            }
            Backbone::Module { untrained: None, .. } => return Ok(None),
            Backbone::Module { untrained: Some(untrained), .. } => {
                let module = untrained.open(self.side, self.device)?;
                Self::from_module(module, None, self.side, self.normalisation, self.device)
            }
        };
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
        Self::from_vit(&parameters, config, normalisation, arena.compute(), arena.master().device())
    }

    /// A module of another library for images of `side` pixels.
    pub(super) fn from_module(
        module: Module,
        untrained: Option<UntrainedModule>,
        side: usize,
        normalisation: Normalisation,
        device: Device,
    ) -> FrozenEncoder {
        Self::new(Backbone::Module { module, untrained }, side, normalisation, device)
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
        matches!(self.backbone, Backbone::Own { .. })
    }

    /// Whether its layers can be seen. A module shows its output, and the maps that it returns before that.
    pub fn has_layers(&self) -> bool {
        match &self.backbone {
            Backbone::Own { .. } | Backbone::Published { .. } => true,
            Backbone::Module { module, .. } => module.has_layers(),
        }
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
    /// quarter of its blocks (protocol section 6), a network in stages one after each stage. A module gives
    /// the maps that it returns.
    ///
    /// # Errors
    /// A module that fails or returns no map.
    pub fn token_maps(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        tch::no_grad(|| match &self.backbone {
            Backbone::Own { vit, arena } => {
                let images = images.to_kind(arena.compute().kind());
                let maps = vit.maps(arena, &images, &vit.quarters());
                Ok(maps.into_iter().map(|map| map.to_kind(Kind::Float)).collect())
            }
            Backbone::Published { architecture, .. } => Ok(architecture.maps(images)),
            Backbone::Module { module, .. } => module.maps(images),
        })
    }

    /// All tokens (B, T, D), float32, of normalised images (B, 3, S, S), after the last normalisation of
    /// tokens: a class token first if there is one, then those of the map. Of our encoders, they are what y
    /// is mapped from.
    ///
    /// # Errors
    /// A module that fails or returns features.
    pub fn tokens(&self, images: &Tensor) -> Result<Tensor> {
        let pieces = images.split(images_at_a_time(self.device, images), 0);
        let each: Vec<Tensor> =
            pieces.iter().map(|piece| self.tokens_at_once(piece)).collect::<Result<_>>()?;
        Ok(Tensor::cat(&each, 0))
    }

    fn tokens_at_once(&self, images: &Tensor) -> Result<Tensor> {
        tch::no_grad(|| match &self.backbone {
            Backbone::Own { vit, arena } => {
                Ok(vit.tokens(arena, &images.to_kind(arena.compute().kind())).to_kind(Kind::Float))
            }
            Backbone::Published { architecture, .. } => {
                let LayerTokens { class, map, .. } = architecture.features(images);
                Ok(as_tokens(class.as_ref(), &map))
            }
            Backbone::Module { module, .. } => module.tokens(images).with_context(|| self.name.clone()),
        })
    }

    /// The tokens of an image of zeros, (1, T, D).
    ///
    /// # Errors
    /// Same as [`FrozenEncoder::tokens`].
    pub fn tokens_of_blank(&self) -> Result<Tensor> {
        self.tokens(&self.blank())
    }

    /// # Errors
    /// Same as [`FrozenEncoder::token_maps`].
    pub fn check_maps(&self) -> Result<()> {
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
            Backbone::Own { vit, arena } => {
                let images = images.to_kind(arena.compute().kind());
                Ok(Representation::from_encoded(&vit.forward(arena, &images)))
            }
            Backbone::Published { architecture, blueprint, .. } => {
                read_output(architecture, blueprint.readout, &architecture.features(images))
            }
            Backbone::Module { module, .. } => module.represent(images).with_context(|| self.name.clone()),
        })
    }

    fn layers_at_once(&self, images: &Tensor) -> Result<Vec<Layer>> {
        let (mut layers, output) = tch::no_grad(|| match &self.backbone {
            Backbone::Own { vit, arena } => {
                let (layers, encoded) = vit.layers(arena, &images.to_kind(arena.compute().kind()));
                Ok((read_layers(&layers), Representation::from_encoded(&encoded)))
            }
            Backbone::Published { architecture, blueprint, .. } => {
                let layers = architecture.layers(images);
                let (last, before) = layers.split_last().expect("every architecture has an output");
                Ok((read_layers(before), read_output(architecture, blueprint.readout, last)?))
            }
            Backbone::Module { module, .. } => {
                let (layers, output) = module.layers(images).with_context(|| self.name.clone())?;
                Ok::<_, anyhow::Error>((read_layers(&layers), output))
            }
        })?;
        layers.push(Layer::of_output(&output));
        Ok(layers)
    }
}

impl LayeredEncoder for FrozenEncoder {
    fn layers(&self, images: &Tensor) -> Result<Vec<Layer>> {
        let pieces = images.split(images_at_a_time(self.device, images), 0);
        let each: Vec<Vec<Layer>> =
            pieces.iter().map(|piece| self.layers_at_once(piece)).collect::<Result<_>>()?;
        Ok(Layer::concatenated(&each))
    }
}

fn read_layers(layers: &[LayerTokens]) -> Vec<Layer> {
    layers.iter().map(Layer::of_tokens).collect()
}

fn read_output(
    architecture: &Architecture,
    readout: Readout,
    output: &LayerTokens,
) -> Result<Representation> {
    readout.read(output.class.as_ref(), &output.map, |pooled| architecture.after_pooling(pooled))
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

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::images_at_a_time;

    #[test]
    fn large_images_are_encoded_in_smaller_pieces_on_a_cpu() {
        let images = |side: i64| Tensor::empty([4, 3, side, side], (Kind::Float, Device::Cpu));
        let pieces = |side: i64| images_at_a_time(Device::Cpu, &images(side));
        assert_eq!([32, 64, 224, 2048].map(pieces), [1568, 392, 32, 1]);
        assert_eq!(images_at_a_time(Device::Cuda(0), &images(224)), 4);
    }
}
