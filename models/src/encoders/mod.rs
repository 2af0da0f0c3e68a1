//! Frozen encoders of published architectures, each file of one reading. They are built from named tensors;
//! what is optional in an architecture is there if its parameters are.
//!
//! `Parameters` hands the tensors out and lists what does not fit. [`VisionTransformer`] has timm's names,
//! [`ResNet`] torchvision's, and [`ConvNext`] timm's. [`random_weights`] is the floor of any of them.

mod convnext;
mod linear;
mod parameters;
pub mod random_weights;
mod resnet;
mod rotary;
mod transformer_block;
mod vision_transformer;

use std::collections::BTreeMap;

use tch::{Device, Tensor};

use crate::error::Result;
use crate::layer_tokens::{LayerTokens, Place, of_stages};
use parameters::Parameters;
use random_weights::Scheme;

pub use convnext::ConvNext;
pub use resnet::ResNet;
pub use vision_transformer::{VisionTransformer, VitForm};

/// A frozen encoder.
pub enum Architecture {
    /// A vision transformer.
    Vit(VisionTransformer),
    /// A residual network.
    ResNet(ResNet),
    /// A ConvNeXt.
    ConvNext(ConvNext),
}

/// What the parameters of an architecture do not show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Of a vision transformer.
    Vit(VitForm),
    /// Of a residual network: nothing.
    ResNet,
    /// Of a ConvNeXt: eps of the last normalisation.
    ConvNext {
        /// Added to the variance.
        eps: f64,
    },
}

impl Form {
    /// How weights of the architecture are drawn.
    pub fn scheme(&self) -> Scheme {
        match self {
            Form::Vit(_) | Form::ConvNext { .. } => Scheme::Transformer,
            Form::ResNet => Scheme::Residual,
        }
    }
}

impl Architecture {
    /// Builds the encoder from its parameters, as float32 on `device`.
    ///
    /// # Errors
    /// A form or parameters that do not fit; the parameters are listed.
    pub fn read(tensors: BTreeMap<String, Tensor>, form: &Form, device: Device) -> Result<Architecture> {
        let parameters = Parameters::new(tensors, device);
        Ok(match form {
            Form::Vit(form) => Architecture::Vit(VisionTransformer::read(parameters, form, device)?),
            Form::ResNet => Architecture::ResNet(ResNet::read(parameters)?),
            Form::ConvNext { eps } => Architecture::ConvNext(ConvNext::read(parameters, *eps)?),
        })
    }

    /// Normalised images (B, 3, S, S), float32 -> the output, before any normalisation of pooled features.
    pub fn features(&self, images: &Tensor) -> LayerTokens {
        let output = |map| LayerTokens { place: Place::Output, class: None, map };
        match self {
            Architecture::Vit(vit) => vit.features(images),
            Architecture::ResNet(net) => output(net.last_map(images)),
            Architecture::ConvNext(net) => output(net.last_map(images)),
        }
    }

    /// Normalised images (B, 3, S, S), float32 -> the tokens after the embedding and after every block of a
    /// transformer, or after every stage of a network in stages; last the output.
    pub fn layers(&self, images: &Tensor) -> Vec<LayerTokens> {
        match self {
            Architecture::Vit(vit) => vit.layers(images),
            Architecture::ResNet(net) => of_stages(net.maps(images)),
            Architecture::ConvNext(net) => of_stages(net.maps(images)),
        }
    }

    /// The normalisation that some architectures apply after pooling: (B, D) -> (B, D).
    pub fn after_pooling(&self, pooled: &Tensor) -> Tensor {
        match self {
            Architecture::Vit(vit) => vit.after_pooling(pooled),
            Architecture::ResNet(_) => pooled.shallow_clone(),
            Architecture::ConvNext(net) => net.after_pooling(pooled),
        }
    }

    /// Normalised images (B, 3, S, S), float32 -> maps (B, D_i, h_i, w_i): after each quarter of the blocks
    /// of a transformer, or of each stage of a network in stages.
    pub fn maps(&self, images: &Tensor) -> Vec<Tensor> {
        match self {
            Architecture::Vit(vit) => vit.maps(images),
            Architecture::ResNet(net) => net.maps(images),
            Architecture::ConvNext(net) => net.maps(images),
        }
    }
}
