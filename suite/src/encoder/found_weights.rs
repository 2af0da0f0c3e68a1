//! The parameters of an encoder that was not trained here, found in a file of weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use eqr_weights::{Element, Listed, RawTensor, Weights};
use tch::{Kind, Tensor};

use crate::encoder::layout::Layout;
use crate::run_folder::encoder_description::Found;

/// What to do with a network that this program does not build.
pub(super) const WAY_OUT: &str = "hint: any PyTorch model can be measured as TorchScript: \
     scripts/export_encoder.py writes it, or torch.jit.trace(model.eval(), images).save(\"encoder.pt\")";

/// Most names that a message lists.
const LISTED: usize = 8;

/// The parameters, under the names that eqr-models reads.
pub(super) struct FoundWeights {
    pub layout: &'static Layout,
    pub tensors: BTreeMap<String, Tensor>,
    pub found: Found,
}

/// An encoder in a file: parameters of a layout, all with the same prefix.
struct Candidate<'a> {
    layout: &'static Layout,
    prefix: &'a str,
}

impl FoundWeights {
    /// Finds the encoder in the file at `path` and reads its parameters. `key` chooses among several.
    ///
    /// # Errors
    /// A file that cannot be read; no encoder of a known layout, or several (the message lists them).
    pub fn read(path: &Path, key: Option<&str>) -> Result<FoundWeights> {
        let mut weights = Weights::open(path)?;
        let Candidate { layout, prefix } = choose(weights.listed(), key)?;
        let prefix = prefix.to_owned();
        let (mut names, mut left_out) = (BTreeMap::new(), BTreeSet::new());
        for name in weights.listed().keys() {
            let Some(inside) = name.strip_prefix(&prefix) else { continue };
            match layout.left_out(inside) {
                Some(part) => drop(left_out.insert(part.trim_end_matches('*'))),
                None => drop(names.insert(name.clone(), layout.renamed(inside))),
            }
        }
        let mut tensors = BTreeMap::new();
        for (name, raw) in weights.read(names.keys().map(String::as_str))? {
            let tensor = tensor(&raw).with_context(|| name.clone())?;
            let new = &names[&name];
            ensure!(
                tensors.insert(new.clone(), tensor).is_none(),
                "two parameters stand for {new}, one is {name}"
            );
        }
        let left_out = left_out.into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let found = Found { names: layout.names.to_owned(), under: prefix, left_out };
        Ok(FoundWeights { layout, tensors, found })
    }

    /// Shape of a parameter; empty if there is none of this name.
    pub fn shape(&self, name: &str) -> Vec<i64> {
        self.tensors.get(name).map(Tensor::size).unwrap_or_default()
    }
}

fn tensor(raw: &RawTensor) -> Result<Tensor> {
    let kind = match raw.element {
        Element::F64 => Kind::Double,
        Element::F32 => Kind::Float,
        Element::F16 => Kind::Half,
        Element::BF16 => Kind::BFloat16,
        other => bail!("its elements are {other:?}, expected floating-point numbers"),
    };
    Ok(Tensor::f_from_data_size(&raw.bytes, &raw.shape, kind)?)
}

fn choose<'a>(listed: &'a BTreeMap<String, Listed>, key: Option<&str>) -> Result<Candidate<'a>> {
    let mut candidates = candidates(listed);
    if candidates.is_empty() {
        let first = listed.iter().take(LISTED).map(|(name, listed)| format!("  {name}: {:?}", listed.shape));
        bail!(
            "no encoder whose parameter names this program knows; the file holds {} tensors and begins \
             with\n{}\n{}{WAY_OUT}",
            listed.len(),
            first.collect::<Vec<_>>().join("\n"),
            whose(listed)
        );
    }
    let list = |candidates: &[Candidate]| {
        let lines =
            candidates.iter().map(|Candidate { prefix, layout }| match prefix.trim_end_matches('.') {
                "" => format!("  at the top, with the names of {}", layout.names),
                key => format!("  --key {key}, with the names of {}", layout.names),
            });
        lines.collect::<Vec<_>>().join("\n")
    };
    let all = list(&candidates);
    if let Some(key) = key {
        let exact = |prefix: &str| prefix.trim_end_matches('.') == key;
        let below = |prefix: &str| exact(prefix) || prefix.starts_with(&format!("{key}."));
        let only_exact = candidates.iter().any(|candidate| exact(candidate.prefix));
        candidates
            .retain(|candidate| if only_exact { exact(candidate.prefix) } else { below(candidate.prefix) });
        ensure!(!candidates.is_empty(), "--key {key}: no encoder is there; the file holds\n{all}");
    }
    match candidates.len() {
        1 => Ok(candidates.remove(0)),
        several => {
            bail!("the file holds {several} encoders\n{}\nhint: give one of these keys", list(&candidates))
        }
    }
}

/// The encoders in a file, by the anchors of their layouts.
fn candidates(listed: &BTreeMap<String, Listed>) -> Vec<Candidate<'_>> {
    let mut found: Vec<Candidate> = Vec::new();
    for layout in Layout::all() {
        for name in listed.keys() {
            let Some(prefix) = name.strip_suffix(layout.anchor) else { continue };
            let is_whole = prefix.is_empty() || prefix.ends_with('.');
            let complete = is_whole && listed.contains_key(&format!("{prefix}{}", layout.with));
            if complete && found.iter().all(|other| other.prefix != prefix) {
                found.push(Candidate { layout, prefix });
            }
        }
    }
    found
}

/// Whose names these are, of networks that are not built here.
fn whose(listed: &BTreeMap<String, Listed>) -> String {
    let networks = [
        ("layers.0.blocks.0.attn.relative_position_bias_table", "a Swin transformer"),
        ("attn.relative_position_bias_table", "a BEiT"),
        ("rope_embed.periods", "DINOv3 as its authors publish it; transformers' files of it are read"),
        ("attn.q_bias", "an EVA or BEiT"),
        ("blocks.0.0.conv_pw", "an EfficientNet"),
        ("conv_stem.weight", "an EfficientNet or a MobileNet"),
        ("attnpool.positional_embedding", "CLIP's ResNet"),
    ];
    let has = |part: &str| listed.keys().any(|name| name.contains(part));
    let network = networks.into_iter().find(|(part, _)| has(part));
    network.map(|(_, network)| format!("these are names of {network}\n")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> BTreeMap<String, Listed> {
        let one = Listed { element: Element::F32, shape: vec![1] };
        names.iter().map(|name| ((*name).to_owned(), one.clone())).collect()
    }

    const VIT: [&str; 2] = ["patch_embed.proj.weight", "blocks.0.norm1.weight"];

    fn under(prefixes: &[&str]) -> BTreeMap<String, Listed> {
        let names: Vec<String> =
            prefixes.iter().flat_map(|prefix| VIT.map(|name| format!("{prefix}{name}"))).collect();
        listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn any_prefix_is_found() {
        for prefix in ["", "module.", "_orig_mod.", "teacher.module.backbone.", "state_dict.model.encoder_q."]
        {
            assert_eq!(choose(&under(&[prefix]), None).unwrap().prefix, prefix);
        }
        // not in the middle of a word, and not half of the names
        assert!(choose(&listed(&["x_patch_embed.proj.weight", "x_blocks.0.norm1.weight"]), None).is_err());
        assert!(choose(&listed(&["a.patch_embed.proj.weight", "b.blocks.0.norm1.weight"]), None).is_err());
    }

    #[test]
    fn several_encoders_are_listed_and_chosen_by_key() {
        let both = under(&["student.backbone.", "teacher.backbone."]);
        let refusal = choose(&both, None).err().unwrap().to_string();
        assert!(refusal.contains("2 encoders") && refusal.contains("--key teacher.backbone"), "{refusal}");
        for key in ["teacher", "teacher.backbone"] {
            assert_eq!(choose(&both, Some(key)).unwrap().prefix, "teacher.backbone.");
        }
        let refusal = choose(&both, Some("teach")).err().unwrap().to_string();
        assert!(
            refusal.contains("no encoder is there") && refusal.contains("--key student.backbone"),
            "{refusal}"
        );
        // a key that is an encoder itself, with another below it
        let nested = under(&["net.", "net.momentum."]);
        assert_eq!(choose(&nested, Some("net")).unwrap().prefix, "net.");
    }

    #[test]
    fn what_is_not_known_is_named() {
        let refusal = choose(&listed(&["conv_stem.weight"]), None).err().unwrap().to_string();
        assert!(refusal.contains("conv_stem.weight: [1]") && refusal.contains("EfficientNet"), "{refusal}");
        assert!(refusal.contains("export_encoder.py"), "{refusal}");
    }
}
