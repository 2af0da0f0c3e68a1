//! `perf probe`: the batched MLP probes against the machine's fastest matrix product, and against probes
//! trained one by one.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use eqr_models::{Compute, Solo};
use eqr_probes::Problem;
use eqr_probes::mlp::{Precision as ProbePrecision, ProbeConfig, fit_with_progress};
use serde_json::json;
use tch::nn::{self, Module, OptimizerConfig};
use tch::{Device, Kind, Reduction, Tensor};

use super::gemm::gemm_ceiling;
use super::result::print;
use super::timing::median;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::precision::Precision;
use crate::cluster::worker::Worker;

/// Outputs of a probe: as many as the largest photograph transform has parameters.
const OUTPUTS: i64 = 4;

/// Options of `perf probe`.
#[derive(Args, Clone, Debug)]
pub struct ProbeArgs {
    /// Number of transforms, each with its own features.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..))]
    transforms: u64,
    /// Number of probe seeds per transform.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Number of training pairs.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(2..))]
    pairs: i64,
    /// Width of one view's features.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(i64).range(1..))]
    dim: i64,
    /// Number of timed epochs, after one warm-up epoch.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Number type.
    #[arg(long, value_enum, default_value = "auto")]
    precision: Precision,
    /// Also time the same probes one by one, with autograd and torch's Adam in fp32.
    #[arg(long)]
    sequential: bool,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Times an epoch of all probes. The test split is small, so that its cost is negligible.
///
/// # Errors
/// Options that the probes reject.
pub fn probe(args: &ProbeArgs) -> Result<()> {
    let worker = Worker::start(&Solo, args.compute).map_err(|failure| failure.error)?;
    let compute = args.precision.choose(worker.device).compute;
    let precision = if compute == Compute::Bf16 { ProbePrecision::Bf16 } else { ProbePrecision::Fp32 };
    let config = ProbeConfig { epochs: args.epochs as usize + 1, ..ProbeConfig::default() };
    let seeds: Vec<u64> = (0..args.seeds).collect();
    let problems: Vec<Problem> = (0..args.transforms).map(|_| random_problem(args, worker.device)).collect();
    let mut epoch_ends = Vec::new();
    fit_with_progress(precision, &problems, &seeds, &config, &mut |_, _| epoch_ends.push(Instant::now()))?;
    let seconds = epoch_seconds(&epoch_ends, config.epochs);
    let probes = problems.len() * seeds.len();
    let flops = pair_flops(2 * args.dim, config.hidden as i64) * args.pairs as f64 * probes as f64;
    let ceiling = gemm_ceiling(compute.kind(), worker.device);
    let sequential = args.sequential.then(|| one_by_one(&problems, seeds.len(), &config));
    let result = json!({
        "stage": "probe",
        "config": {
            "transforms": args.transforms, "seeds": args.seeds, "pairs": args.pairs, "dim": args.dim,
            "hidden": config.hidden, "batch": config.batch, "threads": worker.threads,
            "precision": format!("{compute:?}").to_lowercase(),
            "device": format!("{:?}", worker.device),
        },
        "seconds_per_epoch": seconds,
        "probe_pairs_per_s": args.pairs as f64 * probes as f64 / seconds,
        "gflop_per_s": flops / seconds / 1e9,
        "ceiling": {"name": "GEMM", "value": ceiling / 1e9, "unit": "GFLOP/s"},
        "share_of_ceiling": flops / seconds / ceiling,
        "sequential_seconds_per_epoch": sequential,
        "speedup_over_sequential": sequential.map(|sequential| sequential / seconds),
    });
    let mut keys = vec!["seconds_per_epoch", "gflop_per_s", "share_of_ceiling"];
    keys.extend(args.sequential.then_some("speedup_over_sequential"));
    print(&result, args.json, &keys)
}

/// Seconds per epoch of all stacks of probes: the sum of the stacks' medians. `ends` holds the times at which
/// epochs end, `epochs` per stack. A stack's first epoch includes its set-up and is not counted.
fn epoch_seconds(ends: &[Instant], epochs: usize) -> f64 {
    let stack =
        |ends: &[Instant]| median(ends.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect());
    ends.chunks(epochs).map(stack).sum()
}

fn random_problem(args: &ProbeArgs, device: Device) -> Problem {
    let normal = |rows: i64, columns: i64| Tensor::randn([rows, columns], (Kind::Float, device));
    let test = 64;
    Problem {
        name: "random".into(),
        train_x: normal(args.pairs, 2 * args.dim),
        train_t: normal(args.pairs, OUTPUTS),
        redraw: None,
        test_x: normal(test, 2 * args.dim),
        test_t: normal(test, OUTPUTS),
    }
}

/// FLOPs of one step per pair: forward, gradients of the weights, and gradients of the activations except the
/// first layer's input.
fn pair_flops(inputs: i64, hidden: i64) -> f64 {
    let deep = hidden * hidden + hidden * OUTPUTS;
    2.0 * (3 * deep + 2 * inputs * hidden) as f64
}

/// Seconds per epoch of all probes, each trained on its own with autograd.
fn one_by_one(problems: &[Problem], seeds: usize, config: &ProbeConfig) -> f64 {
    let mut seconds = 0.0;
    for problem in problems {
        for _ in 0..seeds {
            let store = nn::VarStore::new(problem.train_x.device());
            let (root, hidden) = (store.root(), config.hidden as i64);
            let inputs = problem.train_x.size()[1];
            let net = nn::seq()
                .add(nn::linear(&root / 0, inputs, hidden, Default::default()))
                .add_fn(Tensor::relu)
                .add(nn::linear(&root / 1, hidden, hidden, Default::default()))
                .add_fn(Tensor::relu)
                .add(nn::linear(&root / 2, hidden, OUTPUTS, Default::default()));
            let mut adam = nn::Adam::default().build(&store, config.lr).expect("an optimiser");
            let start = Instant::now();
            let order = Tensor::randperm(problem.train_x.size()[0], (Kind::Int64, problem.train_x.device()));
            for rows in order.split(config.batch as i64, 0) {
                let (x, t) = (problem.train_x.index_select(0, &rows), problem.train_t.index_select(0, &rows));
                adam.backward_step(&net.forward(&x).mse_loss(&t, Reduction::Mean));
            }
            seconds += start.elapsed().as_secs_f64();
        }
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::pair_flops;

    #[test]
    fn products_of_a_small_probe_are_counted_by_hand() {
        // forward 6 x 5, 5 x 5, 5 x 4; the same for the weights; 5 x 5 and 5 x 4 back
        assert_eq!(pair_flops(6, 5), 2.0 * f64::from(30 + 25 + 20 + 30 + 25 + 20 + 25 + 20));
    }
}
