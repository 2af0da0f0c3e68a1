//! The network of a suite: encoder and method with their parameters.

use eqr_datasets::Kind;
use eqr_models::Compute;
use eqr_models::methods::build;
use eqr_models::vit::VitConfig;
use eqr_models::{Arena, MethodKind, Model, ModelConfig, Registry};
use tch::Device;

use crate::data::open::OpenedPack;
use crate::suite_file::suite::Suite;
use crate::suite_file::tasks::tasks;

/// A method with its parameters, ready to be trained or probed.
pub struct Network {
    /// Parameters.
    pub arena: Arena,
    /// Encoder and method.
    pub model: Model,
}

/// Builds `kind` as the suite describes it for the data set; everything drawn is a function of `seed`.
///
/// # Errors
/// A shape that cannot be built, or a transform that the data set does not have.
pub fn network(
    kind: &MethodKind,
    suite: &Suite,
    opened: &OpenedPack,
    seed: u64,
    compute: Compute,
    device: Device,
) -> anyhow::Result<Network> {
    let mut registry = Registry::default();
    let model = build(kind, &model_config(suite, opened), &mut registry)?;
    Ok(Network { arena: Arena::new(registry, seed, compute, device), model })
}

/// The suite's network for the data set's image side, classes and tasks.
pub fn model_config(suite: &Suite, opened: &OpenedPack) -> ModelConfig {
    suite_model(suite, opened.pack.kind, opened.side as i64, opened.pack.class_names.len() as i64)
}

/// The suite's network for images of this kind, side and number of classes.
pub fn suite_model(suite: &Suite, kind: Kind, image: i64, classes: i64) -> ModelConfig {
    let model = &suite.model;
    ModelConfig {
        encoder: VitConfig {
            image,
            patch: model.patch,
            dim: model.dim,
            depth: model.depth,
            heads: model.heads,
            out: model.out,
            pool: model.pool,
            positions: model.positions,
        },
        heads: model.head,
        decoder: model.decoder,
        loss: model.loss,
        classes,
        transforms: tasks(kind, &suite.transforms),
        sie_constant: model.sie_constant.unwrap_or(kind == Kind::Photographs),
    }
}
