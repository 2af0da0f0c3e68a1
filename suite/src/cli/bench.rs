//! `eqr-bench bench`: turns the options into a request.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use eqr_models::Collective;

use crate::bench::{self, BenchRequest, Scale, Scaling};
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::micro_batch::MicroBatch;
use crate::cluster::precision::Precision;
use crate::failure::Outcome;

/// Options of `bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Size of the work.
    #[arg(long, value_enum, default_value = "tiny")]
    scale: Scale,
    /// A new folder for the runs, which every rank can read.
    #[arg(long)]
    out: PathBuf,
    /// Instead of the work, train its network on 1, 2, 4, ... of the ranks, and print their speeds.
    #[arg(long, value_enum)]
    scaling: Option<Scaling>,
    /// Take only the recorded steps, and print how they differ.
    #[arg(long, conflicts_with = "scaling")]
    check_only: bool,
    /// Number type of the forward and backward passes.
    #[arg(long, value_enum, default_value = "auto")]
    precision: Precision,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Pairs that a rank encodes at a time, as for `run`; the check has 64 pairs in a step (tiny), 256 (node)
    /// or 512 (cluster).
    #[arg(long, value_name = "PAIRS")]
    micro_batch: Option<MicroBatch>,
    /// How often the work is done; the median of the times is printed, with their spread.
    #[arg(long, value_name = "TIMES", default_value = "1", conflicts_with_all = ["scaling", "check_only"])]
    repeat: NonZeroUsize,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Does the fixed work.
///
/// # Errors
/// As [`bench::bench`].
pub fn run(args: &BenchArgs, ranks: &dyn Collective) -> Outcome<()> {
    let BenchArgs { scale, precision, compute, repeat, json, .. } = *args;
    let (out, micro_batch) = (args.out.clone(), args.micro_batch.unwrap_or_default());
    let request = BenchRequest { scale, out, precision, micro_batch, compute, repeat, json };
    match args.scaling {
        Some(scaling) => bench::scale(&request, scaling, ranks),
        None if args.check_only => bench::check_only(&request, ranks),
        None => bench::bench(&request, ranks),
    }
}
