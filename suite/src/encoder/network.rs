//! The network of a suite: an encoder and a method with their parameters.

use eqr_datasets::SetKind;
use eqr_models::methods::build;
use eqr_models::vit::VitConfig;
use eqr_models::{Arena, Compute, MethodKind, Model, ModelConfig, Registry};
use tch::Device;

use crate::data::open::OpenedPack;
use crate::suite_file::suite::Suite;
use crate::suite_file::tasks::tasks;
use crate::suite_file::transforms::Transforms;

/// An encoder and a method with their parameters, ready to be trained or measured.
pub struct Network {
    /// Parameters.
    pub arena: Arena,
    /// Encoder and method.
    pub model: Model,
}

impl Network {
    /// The network of method `kind` as the suite describes it for the data set. `seed` determines its initial
    /// parameters.
    ///
    /// # Errors
    /// A shape that cannot be built, or a transform that the data set does not have.
    pub fn new(
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
}

/// Shape of the suite's network for a data set.
pub fn model_config(suite: &Suite, opened: &OpenedPack) -> ModelConfig {
    model_config_for(suite, opened.pack.kind, opened.side as i64, opened.pack.class_names.len() as i64)
}

/// Shape of the suite's network for a data set of this kind, image side and number of classes.
pub fn model_config_for(suite: &Suite, kind: SetKind, image: i64, classes: i64) -> ModelConfig {
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
        transforms: parameter_counts(kind, &suite.transforms),
        sie_constant: model.sie_constant.unwrap_or(kind == SetKind::Photographs),
    }
}

/// Number of parameters of each transform between the views of a data set, by the transform's name.
pub fn parameter_counts(kind: SetKind, transforms: &Transforms) -> Vec<(String, i64)> {
    tasks(kind, transforms).into_iter().map(|task| (task.name, task.outputs)).collect()
}
