//! Tiny networks of every method.

use eqr_models::decoder::{AttentionScale, DecoderConfig, Query, Unfold};
use eqr_models::heads::HeadConfig;
use eqr_models::methods::{LossConfig, method_names};
use eqr_models::vit::{Pool, PositionInit, VitConfig};
use eqr_models::{MethodKind, ModelConfig};

/// A tiny network with three classes, for a data set with these transforms.
pub fn tiny(transforms: &[(&str, i64)]) -> ModelConfig {
    let (pool, positions) = (Pool::Split, PositionInit::Sincos);
    ModelConfig {
        encoder: VitConfig { image: 16, patch: 8, dim: 24, depth: 2, heads: 2, out: 16, pool, positions },
        heads: HeadConfig { hidden: 20, embed: 12 },
        decoder: decoder(Query::Tokens, false, Unfold::None),
        loss: LossConfig { lambda_recon: 1.0, ..LossConfig::default() },
        classes: 3,
        transforms: transforms.iter().map(|&(name, length)| (name.to_owned(), length)).collect(),
        sie_constant: true,
    }
}

/// A tiny decoder.
pub fn decoder(query: Query, residual: bool, unfold: Unfold) -> DecoderConfig {
    DecoderConfig { depth: 2, dim: 16, heads: 2, query, residual, unfold, ..DecoderConfig::default() }
}

/// A method and a reading of Eq. 1, which only the methods that reconstruct have.
pub struct Case {
    pub method: String,
    pub decoder: DecoderConfig,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let DecoderConfig { query, residual, unfold, scale, .. } = self.decoder;
        write!(f, "{} ({query:?}, residual {residual}, unfold {unfold:?}, scale {scale:?})", self.method)
    }
}

/// Every method that trains, with queries from tokens; then Ours with the other readings of Eq. 1. SIE's own
/// recipe is left out: it differs only in widths that would make the tests slow.
pub fn cases() -> Vec<Case> {
    let tokens = decoder(Query::Tokens, false, Unfold::None);
    let trains = |name: &String| name.parse::<MethodKind>().unwrap().trains() && !name.contains("own recipe");
    let further = "SIE(blur+crop, no prediction variance)".to_owned();
    let methods = method_names().into_iter().filter(trains).chain([further]);
    let readings = [
        ("Ours", decoder(Query::Pooled, false, Unfold::None)),
        ("Ours", decoder(Query::Pooled, true, Unfold::Gates)),
        ("Ours", decoder(Query::Pooled, true, Unfold::Linear)),
        ("Ours", decoder(Query::Batch, false, Unfold::None)),
        ("Ours", decoder(Query::Batch, true, Unfold::Gates)),
        ("Ours, other view 1", decoder(Query::Pooled, false, Unfold::Linear)),
        ("Ours", DecoderConfig { scale: AttentionScale::None, ..decoder(Query::Tokens, true, Unfold::None) }),
    ];
    let readings = readings.map(|(method, decoder)| Case { method: method.to_owned(), decoder });
    methods.map(|method| Case { method, decoder: tokens }).chain(readings).collect()
}

/// The transforms of photographs and the lengths of their parameters.
pub const PHOTOGRAPHS: [(&str, i64); 6] =
    [("rotation", 1), ("translation", 2), ("crop", 4), ("flip", 1), ("color", 4), ("blur", 1)];
