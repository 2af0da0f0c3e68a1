//! Whose names the parameters of a published encoder have. A layout is a table from these names to the names
//! that the architectures of eqr-models read.

use eqr_models::layers::Activation;

use crate::encoder::layout_tables::LAYOUTS;

/// The architectures that are built from published weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Vision transformers.
    Vit,
    /// ResNets.
    ResNet,
    /// ConvNeXts.
    ConvNext,
}

/// Whose names parameters have.
pub struct Layout {
    /// Whose they are.
    pub names: &'static str,
    /// What they are the parameters of.
    pub family: Family,
    /// A parameter that every encoder of this layout has. What stands before it is the prefix of all.
    pub anchor: &'static str,
    /// Another one, which other layouts do not have.
    pub with: &'static str,
    /// Beginnings of names, and what stands for them. `*` is a number. Other names stay as they are.
    pub table: &'static [(&'static str, &'static str)],
    /// Beginnings of the names of what is no part of the encoder.
    pub left_out: &'static [&'static str],
    /// What models with these names have, where nothing says otherwise.
    pub usual: Usual,
}

/// What models with such names have. `None` where they differ.
pub struct Usual {
    /// Activation of the blocks.
    pub activation: Option<Activation>,
    /// Eps of the normalisations.
    pub eps: Option<f64>,
    /// Whether positions are rotary.
    pub rotary: bool,
    /// Attention heads by the width.
    pub heads: &'static [(i64, i64)],
}

/// Endings of the names of numbers that no layer reads.
const COUNTERS: [&str; 2] = ["num_batches_tracked", "position_ids"];

impl Layout {
    /// All layouts. Of those that fit, the first one counts.
    pub fn all() -> &'static [Layout] {
        &LAYOUTS
    }

    /// The name that eqr-models reads for `name`.
    pub fn renamed(&self, name: &str) -> String {
        let found = self.table.iter().find_map(|(from, to)| replaced(name, from, to));
        found.unwrap_or_else(|| name.to_owned())
    }

    /// The part of the network that `name` belongs to, if it is no part of the encoder; empty for a number
    /// that nothing reads.
    pub fn left_out(&self, name: &str) -> Option<&'static str> {
        if COUNTERS.iter().any(|counter| name.ends_with(counter)) {
            return Some("");
        }
        self.left_out.iter().find(|part| begins(name, part)).copied()
    }
}

/// Whether the parts of `name` begin with those of `beginning`; the last of these may be the beginning of
/// one.
fn begins(name: &str, beginning: &str) -> bool {
    match beginning.strip_suffix('*') {
        Some(open) => name.starts_with(open),
        None => name == beginning || name.strip_prefix(beginning).is_some_and(|rest| rest.starts_with('.')),
    }
}

/// `name` with its beginning `from` replaced by `to`, part by part. The numbers at the places of `*` are
/// kept.
fn replaced(name: &str, from: &str, to: &str) -> Option<String> {
    let mut parts = name.split('.');
    let mut numbers = Vec::new();
    for pattern in from.split('.') {
        let part = parts.next()?;
        match pattern.strip_suffix('*') {
            Some(before) => numbers.push(part.strip_prefix(before)?.parse::<u32>().ok()?),
            None if pattern == part => {}
            None => return None,
        }
    }
    let mut numbers = numbers.into_iter();
    let number = |part: &str| match part {
        "*" => numbers.next().map(|number| number.to_string()),
        part => Some(part.to_owned()),
    };
    let new: Option<Vec<String>> = to.split('.').map(number).collect();
    Some(new?.into_iter().chain(parts.map(str::to_owned)).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_part_by_part() {
        let replace = |name| replaced(name, "encoder.layer.*.attention.query", "blocks.*.attn.q");
        assert_eq!(
            replace("encoder.layer.11.attention.query.bias").as_deref(),
            Some("blocks.11.attn.q.bias")
        );
        assert_eq!(replace("encoder.layer.11.attention.queries.bias"), None);
        assert_eq!(replace("encoder.layer.x.attention.query.bias"), None);
        assert_eq!(replace("encoder.layer"), None);
        let torchvision =
            replaced("layers.encoder_layer_3.ln_1.weight", "layers.encoder_layer_*.ln_1", "blocks.*.norm1");
        assert_eq!(torchvision.as_deref(), Some("blocks.3.norm1.weight"));
        assert!(begins("head.weight", "head") && begins("head", "head") && !begins("header", "head"));
        assert!(begins("decoder_blocks.0", "decoder*"));
    }

    #[test]
    fn every_layout_is_found_by_its_anchor_and_leaves_nothing_it_reads_out() {
        for layout in Layout::all() {
            assert!(layout.left_out(layout.anchor).is_none(), "{}", layout.names);
            for (from, to) in layout.table {
                assert_eq!(from.matches('*').count(), to.matches('*').count(), "{}: {from}", layout.names);
            }
        }
    }
}
