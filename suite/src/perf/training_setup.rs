//! The training step that `perf train`, `perf scale` and `--dry-run` time: its options, network and random
//! batch.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use eqr_datasets::SetKind;
use eqr_models::adam::Adam;
use eqr_models::collective::shares;
use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::{LossConfig, build};
use eqr_models::step::Batch;
use eqr_models::vit::{Pool, PositionInit, VitConfig};
use eqr_models::{
    Activations, Arena, Collective, Compute, MethodKind, Model, ModelConfig, Registry, Solo, StepGradient,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::precision::{Choice, Precision};
use crate::cluster::worker::{Worker, check_cuda_graph};
use crate::encoder::network::{model_config_for, parameter_counts};
use crate::suite_file::data_source::Data;
use crate::suite_file::suggestions::parse_method;
use crate::suite_file::suite::Suite;
use crate::suite_file::transforms::Transforms;

/// Classes of the random data.
const CLASSES: i64 = 10;

/// Options of `perf train`.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Method.
    #[arg(long, default_value = "Ours")]
    method: String,
    /// Take the network and batch from this suite instead of the options below (--img still sets the side of
    /// a pack's images).
    #[arg(long)]
    suite: Option<String>,
    /// Side of the image in pixels.
    #[arg(long, default_value_t = 32)]
    img: i64,
    /// Side of a patch in pixels.
    #[arg(long, default_value_t = 4)]
    patch: i64,
    /// Width of the network.
    #[arg(long, default_value_t = 192)]
    dim: i64,
    /// Number of blocks.
    #[arg(long, default_value_t = 4)]
    depth: i64,
    /// Number of attention heads.
    #[arg(long, default_value_t = 3)]
    heads: i64,
    /// Pairs per step.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(i64).range(2..))]
    batch: i64,
    /// Pairs encoded at a time; must divide the batch; default: all.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) micro_batch: Option<i64>,
    /// Keep only the inputs of the encoder's blocks, and compute the blocks again in the backward pass.
    #[arg(long)]
    pub(super) recompute: bool,
    /// Record the step as a CUDA graph, and launch it whole.
    #[arg(long)]
    pub(super) cuda_graph: bool,
    #[command(flatten)]
    pub(super) compute: ComputeOptions,
    /// Number type.
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) precision: Precision,
    /// Number of timed steps, after three warm-up steps.
    #[arg(long, default_value_t = 20)]
    pub(super) steps: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// A network and its optimiser, ready to take steps.
pub struct TrainingSetup {
    method: MethodKind,
    gradient: StepGradient,
    pub(super) config: ModelConfig,
    pub(super) model: Model,
    pub(super) arena: Arena,
    /// Pairs of a step, over all ranks.
    pub(super) batch: i64,
    adam: Adam,
    device: Device,
}

impl TrainingSetup {
    /// # Errors
    /// An unknown method, a method that is not trained, a shape that cannot be built, fewer pairs than ranks.
    pub(super) fn new(args: &TrainArgs, worker: &Worker) -> Result<TrainingSetup> {
        let (config, batch) = model_and_batch(args)?;
        let ranks = worker.ranks.size();
        ensure!(batch >= ranks as i64, "a batch of {batch} is smaller than the {ranks} ranks");
        let precision = Choice::of_leader(worker.ranks, || args.precision.choose(worker.device));
        let method = parse_method(&args.method)?;
        let setup = Self::of_network(method, config, batch, precision.compute, worker.device)?;
        let activations = Activations { micro_batch: args.micro_batch, recompute: args.recompute };
        if args.cuda_graph {
            check_cuda_graph(worker.device, ranks)?;
        }
        Ok(TrainingSetup { gradient: StepGradient::new(activations, args.cuda_graph), ..setup })
    }

    /// The step of `method` with this network on batches of `batch` pairs.
    ///
    /// # Errors
    /// A method that is not trained, a shape that cannot be built.
    pub fn of_network(
        method: MethodKind,
        config: ModelConfig,
        batch: i64,
        compute: Compute,
        device: Device,
    ) -> Result<TrainingSetup> {
        let mut registry = Registry::default();
        let model = build(&method, &config, &mut registry)?;
        ensure!(model.method.is_some(), "{method} is not trained: there is no step to time");
        let arena = Arena::new(registry, 0, compute, device);
        let adam = Adam::new(&arena, 1e-6);
        let gradient = StepGradient::new(Activations::default(), false);
        Ok(TrainingSetup { method, gradient, config, model, arena, batch, adam, device })
    }

    /// FLOP/s of this process's steps, timed for `duration` after one step to warm up.
    pub fn rate(&mut self, duration: Duration) -> f64 {
        let pairs = self.random_pairs(&Solo);
        self.step(&pairs, &Solo);
        let (start, mut steps) = (Instant::now(), 0);
        while steps == 0 || start.elapsed() < duration {
            self.step(&pairs, &Solo);
            steps += 1;
        }
        f64::from(steps) * self.model.step_flops(self.batch) / start.elapsed().as_secs_f64()
    }

    /// Random pairs: this rank's share of the batch.
    pub(super) fn random_pairs(&self, ranks: &dyn Collective) -> Batch {
        let rows: Vec<i64> =
            shares(self.batch as usize, ranks.size()).into_iter().map(|rows| rows as i64).collect();
        let own = rows[ranks.rank()];
        let side = self.config.encoder.image;
        let parameters: i64 = self.config.transforms.iter().map(|(_, length)| length).sum();
        let method = self.model.method.as_ref();
        let takes_other_view1 = method.is_some_and(|method| method.takes_other_view1());
        let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, self.device));
        Batch {
            view1: normal(&[own, 3, side, side]),
            view2: normal(&[own, 3, side, side]),
            other_view1: takes_other_view1.then(|| normal(&[own, 3, side, side])),
            labels: Tensor::zeros([own], (Kind::Float, self.device)),
            parameters: normal(&[own, parameters]),
            rows,
        }
    }

    /// Takes one step and waits for the device.
    pub(super) fn step(&mut self, pairs: &Batch, ranks: &dyn Collective) {
        let terms =
            self.gradient.fill(&mut self.arena, &self.model, pairs, ranks).expect("the device takes a step");
        self.adam.update(&mut self.arena, 1e-4);
        // reading a value waits for the device
        let _ = terms[0].1.double_value(&[]);
    }

    /// The part of the result's `config` that describes the step.
    pub(super) fn describe(&self, worker: &Worker) -> Value {
        let VitConfig { image, patch, dim, depth, heads, .. } = self.config.encoder;
        json!({
            "method": self.method.to_string(), "img": image, "patch": patch, "dim": dim, "depth": depth,
            "heads": heads, "batch": self.batch, "threads": worker.threads,
            "precision": format!("{:?}", self.arena.compute()).to_lowercase(),
            "device": format!("{:?}", self.device),
        })
    }
}

/// The network and the batch that the options describe.
fn model_and_batch(args: &TrainArgs) -> Result<(ModelConfig, i64)> {
    let Some(name) = &args.suite else {
        let TrainArgs { img: image, patch, dim, depth, heads, batch, .. } = *args;
        let (pool, positions) = (Pool::Split, PositionInit::Timm);
        let config = ModelConfig {
            encoder: VitConfig { image, patch, dim, depth, heads, out: 512, pool, positions },
            heads: HeadConfig::default(),
            decoder: DecoderConfig::default(),
            loss: LossConfig::default(),
            classes: CLASSES,
            transforms: parameter_counts(SetKind::Renders, &Transforms::default()),
            sie_constant: false,
        };
        return Ok((config, batch));
    };
    let suite = Suite::load(name, &[])?;
    let (kind, image) = match &suite.data {
        Data::Solids { spec } => (spec.kind, spec.side as i64),
        Data::Pack { .. } => (SetKind::Photographs, args.img),
    };
    let batch = i64::try_from(suite.train.batch).context("train.batch")?;
    Ok((model_config_for(&suite, kind, image, CLASSES), batch))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TrainArgs,
    }

    fn args(text: &str) -> TrainArgs {
        Line::parse_from(std::iter::once("train").chain(text.split_whitespace())).args
    }

    #[test]
    fn a_step_changes_the_parameters() {
        let worker =
            Worker::start(&Solo, ComputeOptions::on_cpu(None)).map_err(|failure| failure.error).unwrap();
        let args = args("--img 8 --patch 4 --dim 16 --depth 1 --heads 2 --batch 4 --precision fp32");
        let mut setup = TrainingSetup::new(&args, &worker).unwrap();
        let pairs = setup.random_pairs(&Solo);
        assert_eq!((pairs.view1.size(), pairs.rows.as_slice()), (vec![4, 3, 8, 8], &[4][..]));
        let before = setup.arena.master().copy();
        setup.step(&pairs, &Solo);
        assert!(setup.arena.master() != &before);
    }

    #[test]
    fn a_suite_gives_network_and_batch() {
        let suite = Suite::load("quickstart", &[]).unwrap();
        let (config, batch) = model_and_batch(&args("--suite quickstart --dim 16")).unwrap();
        assert_eq!((config.encoder.dim, batch as usize), (suite.model.dim, suite.train.batch));
    }

    #[test]
    fn a_method_that_is_not_trained_has_no_step() {
        let worker =
            Worker::start(&Solo, ComputeOptions::on_cpu(None)).map_err(|failure| failure.error).unwrap();
        let mut args = args("--dim 16 --depth 1 --heads 2");
        args.method = "Random init".into();
        let error = TrainingSetup::new(&args, &worker).err().unwrap().to_string();
        assert!(error.contains("Random init is not trained"), "{error}");
    }
}
