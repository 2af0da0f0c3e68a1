//! `eqr-bench transfer`: linear transfer of features from anywhere.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use eqr_models::Collective;
use eqr_probes::knn::NEIGHBOURS;
use eqr_probes::logistic::LogisticConfig;
use eqr_probes::transfer::{Transfer, transfer};
use serde_json::json;

use super::{print_text, probes_failure};
use crate::cluster::{Worker, agree};
use crate::failure::{Failure, Outcome};
use crate::features::FeatureFile;
use crate::progress::{Progress, say};

/// Options of `transfer`.
#[derive(Args)]
pub struct TransferArgs {
    /// HDF5 with `train|val|test/features` (N, D) and `train|val|test/labels` (N), classes from 0.
    #[arg(long)]
    features: PathBuf,
    /// L-BFGS iterations that a fit may take.
    #[arg(long, default_value_t = 500)]
    iterations: usize,
    /// Threads; default: all allowed cores.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// JSON instead of lines.
    #[arg(long)]
    json: bool,
}

/// Fits the grid, shared out to the ranks, and prints the test accuracies.
///
/// # Errors
/// A feature file that cannot be used (2).
pub fn run(args: &TransferArgs, ranks: &dyn Collective) -> Outcome<()> {
    let worker = Worker::start(ranks, args.threads)?;
    let data = FeatureFile::open(&args.features).and_then(|file| file.transfer_data(worker.device));
    let data = agree(ranks, data)?;
    let config = LogisticConfig { iterations: args.iterations, ..LogisticConfig::default() };
    let progress = Progress::new("logistic regression, fits ended");
    let mut tick = |done: usize, all: usize| progress.at(done as u64, all as u64);
    let result = transfer(&data, &config, ranks, &mut tick).map_err(probes_failure)?;
    progress.finish();
    if !worker.leads() {
        return Ok(());
    }
    let unfinished = result.grid.iter().filter(|point| !point.converged).count();
    if unfinished > 0 {
        say(&format!("note: {unfinished} of {} fits stopped at {} iterations", result.grid.len(), args.iterations));
    }
    print_text(&if args.json { as_json(&result) } else { as_lines(&result) }).map_err(Failure::run)
}

fn as_json(result: &Transfer) -> String {
    let value = json!({
        "top1": result.accuracy.top1,
        "mean_per_class": result.accuracy.mean_per_class,
        "lambda": result.lambda,
        "knn": {
            "k": NEIGHBOURS, "similarity": "cosine",
            "top1": result.knn.top1, "mean_per_class": result.knn.mean_per_class,
        },
        "grid": result.grid,
    });
    format!("{value:#}\n")
}

fn as_lines(result: &Transfer) -> String {
    let Transfer { accuracy, lambda, knn, .. } = result;
    format!(
        "logistic regression  top1 {:.4}  mean per class {:.4}  (lambda {lambda:.3e}, chosen on val)\n\
         {NEIGHBOURS} nearest by cosine top1 {:.4}  mean per class {:.4}\n",
        accuracy.top1, accuracy.mean_per_class, knn.top1, knn.mean_per_class
    )
}
