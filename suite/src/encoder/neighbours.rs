//! The configuration files that lie beside the weights of a model: `config.json` (timm and transformers),
//! `preprocessor_config.json` (transformers) and `open_clip_config.json`. What they state is used.

use std::fmt::Debug;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use eqr_models::layers::Activation;
use serde_json::Value;

use crate::run_folder::encoder_description::Known;
use crate::suite_file::encoder_options::Readout;

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
const OPEN_CLIP: &str = "open_clip_config.json";

/// Keys of timm's `model_args` that the shapes show or that do not change features. Any other one that is set
/// changes the network.
const KNOWN_ARGUMENTS: [&str; 34] = [
    "pos_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "patch_drop_rate",
    "dynamic_img_pad",
    "final_norm",
    "img_size",
    "patch_size",
    "embed_dim",
    "depth",
    "num_heads",
    "num_classes",
    "global_pool",
    "act_layer",
    "class_token",
    "qkv_bias",
    "dynamic_img_size",
    "drop_rate",
    "drop_path_rate",
    "in_chans",
    "mlp_ratio",
    "weight_init",
    "fc_norm",
    "reg_tokens",
    "strict_img_size",
    // shown by the parameters
    "init_values",
    "no_embed_class",
    "pre_norm",
    "qk_norm",
    "distilled",
    "dims",
    "depths",
    "conv_mlp",
    "use_grn",
];

/// Keys of transformers' ResNets that move strides.
const STRIDES: [&str; 2] = ["downsample_in_first_stage", "downsample_in_bottleneck"];

/// The configuration files beside a file.
pub struct Neighbours {
    found: Vec<(&'static str, Value)>,
}

impl Neighbours {
    /// The configuration files in the folder of `path`.
    ///
    /// # Errors
    /// A configuration file that cannot be read or is not JSON.
    pub fn beside(path: &Path) -> Result<Neighbours> {
        let mut found = Vec::new();
        for name in [CONFIG, PREPROCESSOR, OPEN_CLIP] {
            let file = path.with_file_name(name);
            if file.is_file() {
                let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                let value = serde_json::from_str(&text).with_context(|| {
                    format!(
                        "{}, beside the weights, is not JSON\nhint: mend it, or give --no-config to read no \
                         configuration file",
                        file.display()
                    )
                })?;
                found.push((name, value));
            }
        }
        Ok(Neighbours { found })
    }

    /// No configuration files: the encoder's own file says everything.
    pub fn none() -> Neighbours {
        Neighbours { found: Vec::new() }
    }

    /// Name of the architecture.
    ///
    /// # Errors
    /// Two files that name different ones.
    pub fn architecture(&self) -> Result<Option<Known<String>>> {
        self.stated("the architecture", "", |name, value| {
            let listed = || value["architectures"].get(0).and_then(Value::as_str);
            let architecture = match name {
                CONFIG => value["architecture"].as_str().or_else(listed),
                _ => None,
            };
            Ok(architecture.map(str::to_owned))
        })
    }

    /// Width of a token.
    pub fn width(&self) -> Result<Option<Known<i64>>> {
        self.number("the width", &["hidden_size", "embed_dim"], "width")
    }

    /// Number of blocks.
    pub fn depth(&self) -> Result<Option<Known<i64>>> {
        self.number("the depth", &["num_hidden_layers", "depth"], "layers")
    }

    /// Attention heads.
    pub fn heads(&self) -> Result<Option<Known<i64>>> {
        self.stated("the number of heads", "--heads", |name, value| match name {
            CONFIG => Ok(integer(value, &["num_attention_heads", "num_heads"])
                .or_else(|| timm_name(value).and_then(heads_of_architecture))),
            OPEN_CLIP => {
                let vision = &value["model_cfg"]["vision_cfg"];
                if let Some(name) = vision["timm_model_name"].as_str() {
                    return Ok(heads_of_architecture(name));
                }
                let head = vision["head_width"].as_i64().unwrap_or(64).max(1);
                Ok(vision["width"].as_i64().map(|width| width / head))
            }
            _ => Ok(None),
        })
    }

    /// Activation of the blocks.
    ///
    /// # Errors
    /// An activation that this program does not have.
    pub fn activation(&self) -> Result<Option<Known<Activation>>> {
        self.stated("the activation", "--act", |name, value| match name {
            CONFIG => match text(value, &["hidden_act", "hidden_activation", "act_layer"]) {
                Some(name) => activation_named(name).map(Some),
                None => Ok(timm_name(value)
                    .filter(|name| name.contains("quickgelu"))
                    .map(|_| Activation::QuickGelu)),
            },
            OPEN_CLIP => Ok(match value["model_cfg"]["quick_gelu"].as_bool() {
                Some(true) => Some(Activation::QuickGelu),
                Some(false) => Some(Activation::Gelu),
                None => value["model_cfg"]["vision_cfg"]["width"].is_number().then_some(Activation::Gelu),
            }),
            _ => Ok(None),
        })
    }

    /// Eps of the layer normalisations.
    pub fn eps(&self) -> Result<Option<Known<f64>>> {
        self.stated("the eps of its normalisations", "--eps", |name, value| {
            // timm's models of CLIP, and open_clip, use torch's default
            let of_clip = || timm_name(value).filter(|name| name.contains("clip")).map(|_| 1e-5);
            Ok(match name {
                CONFIG => {
                    let keys = ["layer_norm_eps", "layer_norm_epsilon"];
                    scopes(value)
                        .find_map(|scope| keys.iter().find_map(|key| scope[*key].as_f64()))
                        .or_else(of_clip)
                }
                OPEN_CLIP => value["model_cfg"]["vision_cfg"]["width"].is_number().then_some(1e-5),
                _ => None,
            })
        })
    }

    /// Mean of red, green and blue.
    pub fn mean(&self) -> Result<Option<Known<[f32; 3]>>> {
        self.channels("the mean of the images", "--mean and --std", ["mean", "image_mean"], 0.0)
    }

    /// Standard deviation of red, green and blue.
    pub fn std(&self) -> Result<Option<Known<[f32; 3]>>> {
        self.channels("the standard deviation of the images", "--mean and --std", ["std", "image_std"], 1.0)
    }

    /// Side of the images: what the preprocessor gives to the model, or else what the model was built for
    /// (DINOv2 was built for 518 pixels and takes 224).
    ///
    /// # Errors
    /// Two descriptions of the model that differ.
    pub fn size(&self) -> Result<Option<Known<usize>>> {
        let side = |value: &Value| {
            let sides = [value, &value["height"], &value["shortest_edge"], &value[1]];
            sides.into_iter().find_map(Value::as_u64).and_then(|side| usize::try_from(side).ok())
        };
        let prepared = self.stated("the side of the images", "--size", |name, value| {
            let key = if value["do_center_crop"] == false { "size" } else { "crop_size" };
            let prepared = || side(&value[key]).or_else(|| side(&value["size"]));
            Ok((name == PREPROCESSOR).then(prepared).flatten())
        })?;
        if prepared.is_some() {
            return Ok(prepared);
        }
        self.stated("the side of the images", "--size", |name, value| {
            Ok(match name {
                CONFIG => scopes(value)
                    .find_map(|scope| ["image_size", "input_size"].iter().find_map(|key| side(&scope[*key]))),
                OPEN_CLIP => side(&value["model_cfg"]["vision_cfg"]["image_size"]),
                _ => None,
            })
        })
    }

    /// Which tokens become the feature.
    ///
    /// # Errors
    /// A pooling that this program does not have.
    pub fn readout(&self) -> Result<Option<Known<Readout>>> {
        self.stated("the pooling", "--readout", |name, value| match text(value, &["global_pool"]) {
            Some(_) if name != CONFIG => Ok(None),
            None | Some("") => Ok(None),
            Some("token" | "cls") => Ok(Some(Readout::Cls)),
            Some("avg" | "mean") => Ok(Some(Readout::Mean)),
            Some(other) => bail!(
                "global_pool = {other:?}, which this program does not have\nhint: give --readout mean or \
                 --readout grid, or trace the model with its own pooling"
            ),
        })
    }

    /// Base of the rotary positions.
    pub fn rotary_base(&self) -> Result<Option<f64>> {
        let base =
            self.stated("the base of its positions", "", |_, value| Ok(value["rope_theta"].as_f64()))?;
        Ok(base.map(|base| base.value))
    }

    /// Fails if a configuration sets an argument of a network that the names and shapes of parameters do not
    /// show.
    ///
    /// # Errors
    /// The key, and a way out.
    pub fn expect_known_arguments(&self) -> Result<()> {
        for (name, value) in &self.found {
            let arguments = value["model_args"].as_object().into_iter().flatten();
            let set = |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && value != 0.0;
            let unknown =
                arguments.filter(|(key, value)| !KNOWN_ARGUMENTS.contains(&key.as_str()) && set(value));
            let unknown = unknown.map(|(key, value)| format!("model_args.{key} = {value}"));
            let strides =
                STRIDES.iter().filter(|&&key| value[key] == true).map(|key| format!("{key} = true"));
            if let Some(argument) = unknown.chain(strides).next() {
                bail!(
                    "{name}: {argument}, which the parameters do not show\nhint: trace the model \
                     (torch.jit.trace(model.eval(), images).save(\"encoder.pt\")) and give --encoder encoder.pt"
                );
            }
        }
        Ok(())
    }

    fn number(&self, what: &str, keys: &[&str], of_open_clip: &str) -> Result<Option<Known<i64>>> {
        self.stated(what, "", |name, value| {
            Ok(match name {
                CONFIG => integer(value, keys),
                OPEN_CLIP => value["model_cfg"]["vision_cfg"][of_open_clip].as_i64(),
                _ => None,
            })
        })
    }

    fn channels(
        &self,
        what: &str,
        option: &str,
        keys: [&str; 2],
        unscaled: f32,
    ) -> Result<Option<Known<[f32; 3]>>> {
        self.stated(what, option, |name, value| {
            let three = |value: &Value| {
                let values: Option<Vec<f32>> =
                    value.as_array()?.iter().map(|value| value.as_f64().map(|value| value as f32)).collect();
                <[f32; 3]>::try_from(values?).ok()
            };
            let of = |scope: &Value| keys.iter().find_map(|key| three(&scope[*key]));
            let found = match name {
                PREPROCESSOR => {
                    expect_unit_range(value)?;
                    if value["do_normalize"] == false { Some([unscaled; 3]) } else { of(value) }
                }
                OPEN_CLIP => of(&value["preprocess_cfg"]),
                _ => scopes(value).find_map(of),
            };
            let above = if unscaled > 0.0 { f32::MIN_POSITIVE } else { -1.0 };
            let fits = found.is_none_or(|found| found.iter().all(|value| (above..=1.0).contains(value)));
            ensure!(
                fits,
                "{what} is {:?}, which is not of pixels in [0, 1]\nhint: give --mean and --std for such \
                 pixels (values for pixels in 0..255, divided by 255)",
                found.unwrap_or_default()
            );
            Ok(found)
        })
    }

    /// What `read` finds in the files.
    ///
    /// # Errors
    /// Errors of `read`, with the file's name; two files that state different values.
    fn stated<T: PartialEq + Debug>(
        &self,
        what: &str,
        option: &str,
        read: impl Fn(&str, &Value) -> Result<Option<T>>,
    ) -> Result<Option<Known<T>>> {
        let mut told: Option<(T, &str)> = None;
        for (name, value) in &self.found {
            let Some(value) = read(name, value).with_context(|| (*name).to_owned())? else { continue };
            if let Some((other, place)) = &told {
                let hint = if option.is_empty() { "--no-config" } else { option };
                ensure!(
                    *other == value,
                    "two files beside the weights differ in {what}: {place} has {other:?}, {name} has \
                     {value:?}\nhint: give {hint}"
                );
                continue;
            }
            told = Some((value, *name));
        }
        Ok(told.map(|(value, name)| Known::configured(value, name)))
    }
}

/// The parts of a `config.json` that may describe the encoder.
fn scopes(value: &Value) -> impl Iterator<Item = &Value> {
    [&value["vision_config"], &value["model_args"], &value["pretrained_cfg"], value].into_iter()
}

/// Fails if a preprocessor does not divide pixels by 255.
fn expect_unit_range(preprocessor: &Value) -> Result<()> {
    let factor = preprocessor["rescale_factor"].as_f64().unwrap_or(1.0 / 255.0);
    let unit = preprocessor["do_rescale"] != false && (factor * 255.0 - 1.0).abs() < 1e-3;
    ensure!(
        unit,
        "do_rescale = {}, rescale_factor = {factor}: this program gives a model pixels in [0, 1]\nhint: give \
         --mean and --std that make of such pixels what the model takes",
        preprocessor["do_rescale"]
    );
    Ok(())
}

fn integer(value: &Value, keys: &[&str]) -> Option<i64> {
    scopes(value).find_map(|scope| keys.iter().find_map(|key| scope[*key].as_i64()))
}

fn text<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a str> {
    scopes(value).find_map(|scope| keys.iter().find_map(|key| scope[*key].as_str()))
}

/// timm's name of the architecture.
fn timm_name(value: &Value) -> Option<&str> {
    value["architecture"].as_str().or_else(|| value["model_cfg"]["vision_cfg"]["timm_model_name"].as_str())
}

/// Attention heads of timm's ViTs, by the size in their names. Models "plus" have widths of their own.
fn heads_of_architecture(name: &str) -> Option<i64> {
    let sizes = [
        ("tiny", 3),
        ("small", 6),
        ("base", 12),
        ("large", 16),
        ("huge", 16),
        ("gigantic", 16),
        ("giant", 16),
        ("so400m", 16),
    ];
    let parts: Vec<&str> = name.split(['_', '.']).collect();
    let plain = ["vit", "deit", "deit3"].contains(&parts[0]) && !parts.contains(&"plus");
    plain.then_some(())?;
    if parts.contains(&"giant") && parts.contains(&"dinov2") {
        return Some(24);
    }
    sizes.into_iter().find(|(size, _)| parts.contains(size)).map(|(_, heads)| heads)
}

fn activation_named(name: &str) -> Result<Activation> {
    match name.rsplit('.').next().unwrap_or(name).to_lowercase().as_str() {
        "gelu" => Ok(Activation::Gelu),
        "gelu_tanh" | "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelutanh" => Ok(Activation::GeluTanh),
        "quick_gelu" | "quickgelu" => Ok(Activation::QuickGelu),
        "relu" => Ok(Activation::Relu),
        "silu" => Ok(Activation::Silu),
        _ => bail!(
            "activation {name:?}, which this program does not have\nhint: trace the model \
             (torch.jit.trace(model.eval(), images).save(\"encoder.pt\")) and give --encoder encoder.pt"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(files: &[(&str, &str)]) -> Neighbours {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Neighbours::beside(&folder.path().join("model.safetensors")).unwrap()
    }

    fn value<T>(known: Result<Option<Known<T>>>) -> Option<T> {
        known.unwrap().map(|known| known.value)
    }

    #[test]
    fn timm_states_its_model() {
        let found = beside(&[(
            CONFIG,
            r#"{"architecture": "vit_small_patch16_224", "num_classes": 0, "global_pool": "avg",
                "model_args": {"num_heads": 12, "act_layer": "quick_gelu"},
                "pretrained_cfg": {"input_size": [3, 256, 256], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}"#,
        )]);
        assert_eq!((value(found.heads()), value(found.size())), (Some(12), Some(256)));
        assert_eq!(value(found.activation()), Some(Activation::QuickGelu));
        assert_eq!(value(found.readout()), Some(Readout::Mean));
        assert_eq!((value(found.mean()), value(found.std())), (Some([0.5; 3]), Some([0.25; 3])));
        assert_eq!(value(found.eps()), None);
        found.expect_known_arguments().unwrap();
        let named = beside(&[(CONFIG, r#"{"architecture": "vit_base_patch16_clip_quickgelu_224"}"#)]);
        assert_eq!((value(named.heads()), value(named.eps())), (Some(12), Some(1e-5)));
        assert_eq!(value(named.activation()), Some(Activation::QuickGelu));
        let post = beside(&[(CONFIG, r#"{"model_args": {"block_fn": "ResPostBlock"}}"#)]);
        let refusal = post.expect_known_arguments().unwrap_err().to_string();
        assert!(refusal.contains("block_fn") && refusal.contains("torch.jit.trace"), "{refusal}");
    }

    #[test]
    fn transformers_and_open_clip_state_theirs() {
        let found = beside(&[
            (
                CONFIG,
                r#"{"model_type": "clip", "vision_config": {"hidden_size": 768, "num_attention_heads": 12,
                    "num_hidden_layers": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "image_size": 224}}"#,
            ),
            (
                PREPROCESSOR,
                r#"{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.2], "crop_size": {"height": 224}}"#,
            ),
        ]);
        assert_eq!(
            (value(found.width()), value(found.depth()), value(found.heads())),
            (Some(768), Some(12), Some(12))
        );
        assert_eq!(
            (value(found.eps()), value(found.activation())),
            (Some(1e-5), Some(Activation::QuickGelu))
        );
        assert_eq!((value(found.mean()), value(found.size())), (Some([0.4, 0.5, 0.6]), Some(224)));
        assert_eq!(found.mean().unwrap().unwrap().source(), PREPROCESSOR);
        let found = beside(&[(
            OPEN_CLIP,
            r#"{"model_cfg": {"quick_gelu": true, "vision_cfg": {"width": 1280, "layers": 32, "head_width": 80,
                "image_size": 224}}, "preprocess_cfg": {"mean": [0.1, 0.1, 0.1], "std": [1, 1, 1]}}"#,
        )]);
        assert_eq!((value(found.heads()), value(found.eps())), (Some(16), Some(1e-5)));
        assert_eq!(value(found.std()), Some([1.0; 3]));
        let dino = beside(&[
            (CONFIG, r#"{"image_size": 518}"#),
            (PREPROCESSOR, r#"{"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}"#),
        ]);
        assert_eq!(value(dino.size()), Some(224));
        let whole = beside(&[(PREPROCESSOR, r#"{"size": 256, "crop_size": 224, "do_center_crop": false}"#)]);
        assert_eq!(value(whole.size()), Some(256));
        assert_eq!(heads_of_architecture("vit_giant_patch14_reg4_dinov2"), Some(24));
        assert_eq!(heads_of_architecture("vit_base_patch32_plus_256"), None);
        let raw = beside(&[(PREPROCESSOR, r#"{"do_normalize": false}"#)]);
        assert_eq!((value(raw.mean()), value(raw.std())), (Some([0.0; 3]), Some([1.0; 3])));
    }

    #[test]
    fn what_differs_or_is_unknown_is_refused() {
        let found = beside(&[
            (CONFIG, r#"{"pretrained_cfg": {"mean": [0.5, 0.5, 0.5]}, "hidden_act": "swish"}"#),
            (PREPROCESSOR, r#"{"image_mean": [0.4, 0.4, 0.4]}"#),
        ]);
        let refusal = found.mean().unwrap_err().to_string();
        assert!(
            refusal.contains(CONFIG) && refusal.contains(PREPROCESSOR) && refusal.contains("--mean"),
            "{refusal}"
        );
        assert!(format!("{:#}", found.activation().unwrap_err()).contains("swish"));
        for text in [
            r#"{"image_mean": [123.7, 116.3, 103.5]}"#,
            r#"{"image_mean": [0.5, 0.5, 0.5], "do_rescale": false}"#,
            r#"{"image_mean": [0.5, 0.5, 0.5], "rescale_factor": 0.0078431}"#,
        ] {
            let refusal = format!("{:#}", beside(&[(PREPROCESSOR, text)]).mean().unwrap_err());
            assert!(refusal.contains(PREPROCESSOR) && refusal.contains("[0, 1]"), "{refusal}");
        }
        assert!(beside(&[(PREPROCESSOR, r#"{"image_std": [0, 1, 1]}"#)]).std().is_err());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG), "not json").unwrap();
        assert!(Neighbours::beside(&folder.path().join("x")).is_err());
        assert_eq!(value(beside(&[(CONFIG, r#"{"version": 3}"#)]).heads()), None);
    }
}
