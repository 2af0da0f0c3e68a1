//! `perf allreduce`: summing a gradient over the ranks, against copying it.

use anyhow::Result;
use clap::Args;
use eqr_models::Collective;
use serde_json::json;
use tch::{Kind, Tensor};

use super::result::print;
use super::timing::median_seconds;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::worker::Worker;

/// Options of `perf allreduce`.
#[derive(Args, Clone, Debug)]
pub struct AllreduceArgs {
    /// Size of the gradient in MiB of fp32; ViT-Small's is 87.
    #[arg(long, default_value_t = 87, value_parser = clap::value_parser!(i64).range(1..=65_536))]
    mib: i64,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Number of timed reductions, after three warm-up reductions.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Times the reduction of one flat fp32 gradient on the ranks of the launch.
///
/// # Errors
/// A device that cannot be used.
pub fn allreduce(args: &AllreduceArgs, ranks: &dyn Collective) -> Result<()> {
    let worker = Worker::start(ranks, args.compute).map_err(|failure| failure.error)?;
    let bytes = args.mib << 20;
    let mut gradient = Tensor::zeros([bytes / 4], (Kind::Float, worker.device));
    let wait = |tensor: &Tensor| _ = tensor.double_value(&[0]);
    let reduce = median_seconds(args.steps, || {
        ranks.barrier();
        ranks.all_reduce_sum(&mut gradient);
        wait(&gradient);
    });
    let mut target = gradient.copy();
    // all ranks at once, since they share the memory
    let copy = median_seconds(args.steps, || {
        ranks.barrier();
        target.copy_(&gradient);
        wait(&target);
    });
    if !worker.leads() {
        return Ok(());
    }
    let (rate, ceiling) = (bytes as f64 / reduce, bytes as f64 / copy);
    // what every link of a ring carries of the gradient; so bus bandwidths of any number of ranks compare
    let ring_share = 2.0 * (ranks.size() as f64 - 1.0) / ranks.size() as f64;
    let result = json!({
        "stage": "allreduce",
        "config": {
            "mib": args.mib, "ranks": ranks.size(), "threads": worker.threads,
            "device": format!("{:?}", worker.device), "transport": ranks.transport(),
        },
        "seconds": reduce,
        "gb_per_s": rate / 1e9,
        "bus_gb_per_s": rate * ring_share / 1e9,
        "ceiling": {
            "name": "copy of the gradient by all ranks at once", "value": ceiling / 1e9, "unit": "GB/s",
        },
        "share_of_ceiling": rate / ceiling,
    });
    print(&result, args.json, &["gb_per_s", "bus_gb_per_s", "share_of_ceiling"])
}
