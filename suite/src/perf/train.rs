//! `perf train`: training steps against the matrix products that the machine can do.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use eqr_datasets::Kind as DataKind;
use eqr_models::Arena;
use eqr_models::collective::shares;
use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::{LossConfig, build};
use eqr_models::adam::Adam;
use eqr_models::step::{Batch, gradients};
use eqr_models::vit::{Pool, PositionInit, VitConfig};
use eqr_models::{Collective, ModelConfig, Registry};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::memory::peak_memory;
use super::{interleaved, median_seconds, print};
use crate::cluster::precision::Precision;
use crate::cluster::worker::Worker;
use crate::encoder::network::suite_model;
use crate::suite_file::suggestions::parse_method;
use crate::suite_file::suite::{Data, Suite, Transforms};
use crate::suite_file::tasks::tasks;

/// Side of the matrices of the GEMM ceiling.
const GEMM: i64 = 4096;
/// Classes of the data that is not there.
const CLASSES: i64 = 10;
/// Products of which the best counts.
const PRODUCTS: usize = 10;

/// Options of `perf train`.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Method.
    #[arg(long, default_value = "Ours")]
    pub(super) method: String,
    /// Take network and batch from this suite instead of the options below (--img stays the side of a pack's images).
    #[arg(long)]
    pub(super) suite: Option<String>,
    /// Side of the image.
    #[arg(long, default_value_t = 32)]
    pub(super) img: i64,
    /// Side of a patch.
    #[arg(long, default_value_t = 4)]
    pub(super) patch: i64,
    /// Width.
    #[arg(long, default_value_t = 192)]
    pub(super) dim: i64,
    /// Blocks.
    #[arg(long, default_value_t = 4)]
    pub(super) depth: i64,
    /// Attention heads.
    #[arg(long, default_value_t = 3)]
    pub(super) heads: i64,
    /// Pairs of a step.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(i64).range(2..))]
    pub(super) batch: i64,
    /// Pairs encoded at a time, a divisor of the batch; default: all.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) micro_batch: Option<i64>,
    /// Threads; default: all allowed cores.
    #[arg(long)]
    pub(super) threads: Option<NonZeroUsize>,
    /// Number type.
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) precision: Precision,
    /// Steps that are timed, after three that are not.
    #[arg(long, default_value_t = 20)]
    pub(super) steps: usize,
    /// JSON instead of lines.
    #[arg(long)]
    pub(super) json: bool,
}

/// Times training steps on the ranks of the launch: transforms and loading excluded, optimiser included. Where the gradient is summed beside
/// the backward pass, also the same steps with the sum after it.
///
/// # Errors
/// An unknown method or a shape that cannot be built.
pub fn train(args: &TrainArgs, ranks: &dyn Collective) -> Result<()> {
    let worker = Worker::start(ranks, args.threads).map_err(|failure| failure.error)?;
    let compute = args.precision.resolve(worker.device);
    let (config, batch) = network(args)?;
    let mut registry = Registry::default();
    let model = build(&parse_method(&args.method)?, &config, &mut registry)?;
    anyhow::ensure!(model.method.is_some(), "{} is not trained: there is no step to time", args.method);
    let mut arena = Arena::new(registry, 0, compute, worker.device);
    let mut adam = Adam::new(&arena, 1e-6);
    anyhow::ensure!(batch >= ranks.size() as i64, "a batch of {batch} is smaller than the {} ranks", ranks.size());
    let pairs = random_batch(&config, batch as usize, ranks, worker.device);
    let mut step = |ranks: &dyn Collective| -> Result<()> {
        let terms = gradients(&mut arena, &model, &pairs, args.micro_batch, ranks);
        adam.update(&mut arena, 1e-4);
        // reading a value waits for the device
        f64::try_from(&terms[0].1)?;
        Ok(())
    };
    let (median, summed_after) = if ranks.overlaps_from().is_some() {
        let (step, sum_after) = (RefCell::new(step), SumAfter(ranks));
        let (mut beside, mut after) = (|| step.borrow_mut()(ranks), || step.borrow_mut()(&sum_after));
        let [beside, after] = interleaved(args.steps, [&mut beside, &mut after])?;
        (beside, Some(after))
    } else {
        (median_seconds(args.steps, || step(ranks).expect("a step's terms are numbers")), None)
    };
    let flops = model.step_flops(batch);
    // before the ceiling's matrices are there; a device's memory is not this process's
    let peak_memory = peak_memory().filter(|_| worker.device == Device::Cpu);
    let ceiling = total(ranks, gemm_ceiling(compute.kind(), worker.device));
    if !worker.leads() {
        return Ok(());
    }
    let mut result = json!({
        "stage": "train",
        "config": {
            "method": args.method, "img": config.encoder.image, "patch": config.encoder.patch, "dim": config.encoder.dim,
            "depth": config.encoder.depth, "heads": config.encoder.heads, "batch": batch,
            "micro_batch": args.micro_batch, "ranks": ranks.size(), "threads": worker.threads,
            "precision": format!("{compute:?}").to_lowercase(), "device": format!("{:?}", worker.device),
            "parameters": arena.count(),
        },
        "seconds_per_step": median,
        "seconds_per_step_summed_after": summed_after,
        "views_per_s": 2.0 * batch as f64 / median,
        "gflop_per_view": flops / (2.0 * batch as f64) / 1e9,
        "gflop_per_s": flops / median / 1e9,
        "ceiling": {"name": "GEMM", "value": ceiling / 1e9, "unit": "GFLOP/s"},
        "share_of_ceiling": flops / median / ceiling,
    });
    if let Some(bytes) = peak_memory {
        result["peak_memory_bytes"] = json!(bytes);
    }
    print(&result, args.json, &["views_per_s", "gflop_per_s", "share_of_ceiling"])
}

/// The network and the batch that the options describe.
pub(super) fn network(args: &TrainArgs) -> Result<(ModelConfig, i64)> {
    let Some(name) = &args.suite else {
        let TrainArgs { img: image, patch, dim, depth, heads, batch, .. } = *args;
        let (pool, positions) = (Pool::Split, PositionInit::Timm);
        let config = ModelConfig {
            encoder: VitConfig { image, patch, dim, depth, heads, out: 512, pool, positions },
            heads: HeadConfig::default(),
            decoder: DecoderConfig::default(),
            loss: LossConfig::default(),
            classes: CLASSES,
            transforms: tasks(DataKind::Renders, &Transforms::default()),
            sie_constant: false,
        };
        return Ok((config, batch));
    };
    let suite = Suite::load(name, &[])?;
    let (kind, image) = match &suite.data {
        Data::Solids { spec } => (DataKind::Renders, spec.side as i64),
        Data::Pack { .. } => (DataKind::Photographs, args.img),
    };
    let batch = i64::try_from(suite.train.batch).context("train.batch")?;
    Ok((suite_model(&suite, kind, image, CLASSES), batch))
}

/// `value` over all ranks.
fn total(ranks: &dyn Collective, value: f64) -> f64 {
    let mut sum = Tensor::from_slice(&[value]);
    ranks.all_reduce_sum(&mut sum);
    sum.double_value(&[0])
}

/// This rank's part of `batch` pairs.
pub(super) fn random_batch(config: &ModelConfig, batch: usize, ranks: &dyn Collective, device: Device) -> Batch {
    let rows: Vec<i64> = shares(batch, ranks.size()).into_iter().map(|rows| rows as i64).collect();
    let batch = rows[ranks.rank()];
    let side = config.encoder.image;
    let parameters: i64 = config.transforms.iter().map(|(_, length)| length).sum();
    let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, device));
    Batch {
        view1: normal(&[batch, 3, side, side]),
        view2: normal(&[batch, 3, side, side]),
        labels: Tensor::zeros([batch], (Kind::Float, device)),
        parameters: normal(&[batch, parameters]),
        rows,
    }
}

/// The same ranks, which sum the gradient after the backward pass.
struct SumAfter<'a>(&'a dyn Collective);

impl Collective for SumAfter<'_> {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        self.0.all_reduce_sum(tensor);
    }

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        self.0.all_gather(tensor, rows)
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        self.0.broadcast(tensor);
    }

    fn split(&self, group: usize) -> Box<dyn Collective> {
        self.0.split(group)
    }

    fn barrier(&self) {
        self.0.barrier();
    }

    fn abort(&self, code: i32) -> ! {
        self.0.abort(code)
    }
}

/// FLOP/s of the best of ten products of two `4096 x 4096` matrices of `kind`.
pub fn gemm_ceiling(kind: Kind, device: Device) -> f64 {
    let matrix = || Tensor::randn([GEMM, GEMM], (Kind::Float, device)).to_kind(kind);
    let (a, b) = (matrix(), matrix());
    let product = || {
        let start = Instant::now();
        let c = a.matmul(&b);
        let _ = c.double_value(&[0, 0]);
        start.elapsed().as_secs_f64()
    };
    product();
    let best = (0..PRODUCTS).map(|_| product()).fold(f64::INFINITY, f64::min);
    2.0 * (GEMM as f64).powi(3) / best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flops_of_a_small_network_are_counted_by_hand() {
        let encoder = VitConfig {
            image: 8,
            patch: 4,
            dim: 16,
            depth: 1,
            heads: 2,
            out: 8,
            pool: Pool::Split,
            positions: PositionInit::Timm,
        };
        // 4 patches of 48 values; 5 tokens; 12 d^2 per token; two attention products; half of y per token
        let products = 4 * 48 * 16 + 5 * 12 * 256 + 2 * 25 * 16 + 5 * 16 * 4;
        assert!((encoder.forward_flops() - 2.0 * f64::from(products)).abs() < 1e-9);
    }
}
