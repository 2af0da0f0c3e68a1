//! How an encoder from a file takes images, in suite files and on the command line.

use anyhow::Result;
use clap::{Args, ValueEnum};
use eqr_models::layers::Activation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Help text of `--encoder`.
pub const ENCODER_HELP: &str = "A checkpoint (`checkpoints/<training>/step-<n>`, or the training's folder \
     for its newest) or a file of `eqr-bench export`; the weights of a ViT, a ResNet or a ConvNeXt as timm, \
     transformers, torchvision, open_clip and others publish them (.safetensors, an index of shards, .pth, \
     .bin, or a folder of these with config.json); or a TorchScript module or an ONNX model that takes an image \
     batch (N, 3, S, S) and returns features (N, D), a token map (N, D, h, w), tokens (N, T, D), or a tuple or dictionary \
     of these. A TorchScript file is a program: it runs with your rights, so use only files from people you trust. Nothing of a file of weights is run.";

/// How an encoder takes images.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderOptions {
    /// Side of the images in pixels; default: the side that the encoder was trained on, or 224 for a
    /// module that takes any. Position embeddings are resized.
    #[arg(long, requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Mean of red, green and blue used to normalise images, for pixels in [0, 1]; default: the training
    /// value for our checkpoints, ImageNet's for other encoders.
    #[arg(long, value_parser = channels, value_name = "R,G,B", requires_all = ["std", "encoder"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of red, green and blue.
    #[arg(long, value_parser = channels, value_name = "R,G,B", requires = "mean")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
    /// What the features are read from: the class token, the mean of the map, both one after the other, or
    /// both and the means of the map's quadrants; default: what the model's configuration says, else the
    /// class token, or the mean where there is none. Our encoders have y. `attentive`, of `probe` and
    /// `transfer` alone, adds a probe that learns to pool the tokens to those of the default.
    #[arg(long, value_enum, requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readout: Option<Readout>,
    /// Which encoder of a file of weights, where it holds several: the keys that lead to it, joined with
    /// dots (`teacher.backbone`). Of a module: which entry of a dictionary, or which output.
    #[arg(long, value_name = "NAME", requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Attention heads of a ViT, which its shapes do not show; needed where neither its configuration nor its
    /// width says the number.
    #[arg(long, requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<i64>,
    /// Activation of a ViT: gelu, gelu_tanh, quick_gelu (OpenAI's CLIP), relu or silu; default: what the
    /// model's configuration says, else that of models with such parameter names.
    #[arg(long, value_parser = activation, requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Activation>,
    /// Eps of the layer normalisations; default: what the model's configuration says, else that of models
    /// with such parameter names.
    #[arg(long, requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// Order of the axes of what a module returns; needed where the shape does not show it.
    #[arg(long, value_enum, requires = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Read no configuration file beside the weights (config.json, preprocessor_config.json,
    /// open_clip_config.json).
    #[arg(long, requires = "encoder")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_config: bool,
}

/// Order of the axes of a map or of tokens: images n, channels c, rows h, columns w, tokens t.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// A map (N, D, h, w).
    Nchw,
    /// A map (N, h, w, D).
    Nhwc,
    /// Tokens (N, T, D).
    Ntc,
    /// Tokens (N, D, T).
    Nct,
}

/// What features are read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Readout {
    /// The class token.
    #[default]
    Cls,
    /// The mean of the map of patch tokens.
    Mean,
    /// The class token, then the mean.
    #[serde(rename = "cls+mean")]
    #[value(name = "cls+mean")]
    ClsMean,
    /// The class token, or the mean where there is none, then the means of the map's quadrants.
    Grid,
    /// All tokens, pooled by a query that `probe` learns for each target, `transfer` for the classes.
    Attentive,
}

fn activation(text: &str) -> Result<Activation, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "expected gelu, gelu_tanh, quick_gelu, relu or silu".into())
}

fn channels(text: &str) -> Result<[f32; 3], String> {
    let values: Result<Vec<f32>, _> = text.split(',').map(|value| value.trim().parse::<f32>()).collect();
    let values = values.ok().filter(|values| values.iter().all(|value| value.is_finite()));
    values
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| "expected three numbers separated by commas".into())
}
