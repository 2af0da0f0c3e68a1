//! What an encoder is and how it was read, each property with where it is known from.

use serde::{Deserialize, Serialize};

use crate::suite_file::encoder_options::Layout;
use eqr_models::layers::Activation;

/// Where a property is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The file of the encoder, its shapes or its metadata.
    File,
    /// A configuration file beside it.
    Config,
    /// An option of the command or of the row.
    Option,
    /// Nothing says it: the usual value.
    Default,
}

/// A property and where it is known from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known<T> {
    /// The property.
    pub value: T,
    /// Where it is known from.
    pub from: Origin,
    /// Name of the configuration file that says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

impl<T> Known<T> {
    /// A property that is not from a configuration file.
    pub fn new(value: T, from: Origin) -> Known<T> {
        Known { value, from, config: None }
    }

    /// A property that the configuration file `name` states.
    pub fn configured(value: T, name: &str) -> Known<T> {
        Known { value, from: Origin::Config, config: Some(name.to_owned()) }
    }

    /// The same property, `change`d.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Known<U> {
        Known { value: change(self.value), from: self.from, config: self.config }
    }

    /// Where it is known from, for people.
    pub fn source(&self) -> &str {
        match (self.from, &self.config) {
            (_, Some(config)) => config,
            (Origin::File, None) => "file",
            (Origin::Config, None) => "config",
            (Origin::Option, None) => "option",
            (Origin::Default, None) => "default",
        }
    }
}

/// Properties of a ViT that this program builds. A TorchScript module has its own inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transformer {
    /// Width of a token.
    pub width: Known<i64>,
    /// Number of blocks.
    pub depth: Known<i64>,
    /// Attention heads.
    pub heads: Known<i64>,
    /// Activation of the blocks.
    pub activation: Known<Activation>,
    /// Eps of the layer normalisations.
    pub eps: Known<f64>,
}

/// Which parameters of a file of weights an encoder was built from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Whose names they have.
    pub names: String,
    /// The keys that lead to them, with a dot at the end; empty at the top of the file.
    pub under: String,
    /// What of them is not part of the encoder: a classifier, a decoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

impl Found {
    fn text(&self) -> String {
        let under = match self.under.as_str() {
            "" => String::new(),
            under => format!(" under `{under}`"),
        };
        let left_out = match self.left_out.join(", ").as_str() {
            "" => String::new(),
            names => format!(", left out {names}"),
        };
        format!("names of {}{under}{left_out}", self.names)
    }
}

/// Description of a frozen encoder from a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderDescription {
    /// What kind of network it is.
    pub architecture: Known<String>,
    /// Which parameters it was built from, if it was not trained here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Known<Found>>,
    /// Its blocks, if it is a ViT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformer: Option<Transformer>,
    /// Side of its images in pixels.
    pub size: Known<usize>,
    /// Mean of red, green and blue used to normalise them.
    pub mean: Known<[f32; 3]>,
    /// Standard deviation of red, green and blue.
    pub std: Known<[f32; 3]>,
    /// What its features are read from.
    pub readout: Known<String>,
    /// Order of the axes of what a module returns, if that is more than features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Known<Layout>>,
    /// Number of features.
    pub features: Known<i64>,
}

impl EncoderDescription {
    /// All properties in one line.
    pub fn line(&self) -> String {
        let EncoderDescription { architecture, found, transformer, .. } = self;
        let EncoderDescription { size, mean, std, readout, layout, features, .. } = self;
        let mut parts = vec![told(&architecture.value, architecture)];
        parts.extend(found.as_ref().map(|found| told(found.value.text(), found)));
        match transformer {
            Some(Transformer { width, depth, heads, activation, eps }) => parts.extend([
                told(format!("width {} x depth {}", width.value, depth.value), width),
                told(format!("{} heads", heads.value), heads),
                told(format!("activation {}", name(&activation.value)), activation),
                told(format!("eps {:e}", eps.value), eps),
            ]),
            None if found.is_some() => {}
            None => parts.push("width, depth, heads, activation, eps as in its code (file)".to_owned()),
        }
        parts.extend([
            told(format!("size {}", size.value), size),
            told(format!("mean {:?}", mean.value), mean),
            told(format!("std {:?}", std.value), std),
            told(format!("read from {}", readout.value), readout),
        ]);
        parts.extend(layout.as_ref().map(|layout| told(format!("layout {}", name(&layout.value)), layout)));
        parts.push(told(format!("{} features", features.value), features));
        parts.join(", ")
    }
}

fn told<T>(text: impl std::fmt::Display, known: &Known<T>) -> String {
    format!("{text} ({})", known.source())
}

/// The name that files and options use.
fn name(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_says_where_it_is_known_from() {
        let description = EncoderDescription {
            architecture: Known::new("ViT".into(), Origin::File),
            found: Some(Known::new(
                Found { names: "timm".into(), under: "teacher.".into(), left_out: vec!["head".into()] },
                Origin::File,
            )),
            transformer: Some(Transformer {
                width: Known::new(384, Origin::File),
                depth: Known::new(12, Origin::File),
                heads: Known::new(12, Origin::Option),
                activation: Known::configured(Activation::QuickGelu, "config.json"),
                eps: Known::new(1e-6, Origin::Default),
            }),
            size: Known::new(224, Origin::File),
            mean: Known::configured([0.5; 3], "preprocessor_config.json"),
            std: Known::configured([0.5; 3], "preprocessor_config.json"),
            readout: Known::new("the class token".into(), Origin::Default),
            layout: None,
            features: Known::new(384, Origin::File),
        };
        assert_eq!(
            description.line(),
            "ViT (file), names of timm under `teacher.`, left out head (file), width 384 x depth 12 (file), \
             12 heads (option), activation quick_gelu (config.json), eps 1e-6 (default), size 224 (file), \
             mean [0.5, 0.5, 0.5] (preprocessor_config.json), std [0.5, 0.5, 0.5] \
             (preprocessor_config.json), read from the class token (default), 384 features (file)"
        );
        let stored = serde_json::to_value(&description).unwrap();
        assert_eq!(stored["transformer"]["heads"], serde_json::json!({"value": 12, "from": "option"}));
        assert_eq!(serde_json::from_value::<EncoderDescription>(stored).unwrap(), description);
    }
}
