//! `eqr-bench run`: turns the options into a request.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use eqr_models::{Collective, MethodKind};

use crate::cluster::agreement::agree;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::micro_batch::MicroBatch;
use crate::cluster::precision::Precision;
use crate::failure::Outcome;
use crate::run::{self, DeviceName, RunRequest, RunScope};
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::overrides::Override;
use crate::suite_file::until_decided::UntilDecided;

/// Options of `run`.
#[derive(Args)]
pub struct RunArgs {
    /// A preset (quickstart, weekly; 3diebench, imagenet, cifar10, cifar10-unknown, transfer, ade20k, paper,
    /// each of these also with -reduced) or a TOML file.
    suite: String,
    /// The run's folder. An existing run is continued.
    #[arg(long)]
    out: PathBuf,
    /// Folder with data packs; may be given more than once.
    #[arg(long)]
    data_root: Vec<PathBuf>,
    /// Number of pretraining seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// Add one seed after the other until every claim of the report is decided, with 5% error over the claims
    /// of each family and all looks. The suite's own seeds are the first look.
    #[arg(long, conflicts_with = "pretrain_only")]
    until_decided: bool,
    /// Largest number of seeds with --until-decided.
    #[arg(long, default_value_t = 10, requires = "until_decided")]
    max_seeds: u64,
    /// Rows of the table, separated by commas; names may contain commas.
    #[arg(long)]
    methods: Option<String>,
    /// Add a row that is measured without training: an encoder as in `probe --encoder`, a feature file (.h5),
    /// or results (.csv with the columns of metrics.csv); may be given more than once. With `--methods ""`
    /// there are no other rows.
    #[arg(long, value_name = "NAME=FILE", value_parser = external_row)]
    external: Vec<ExternalRow>,
    /// Give rows of encoders no floor: the same architecture with random weights, as a row of its own.
    #[arg(long)]
    no_floor: bool,
    /// Set a key of the suite, as in train.epochs=10; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Number type of the forward and backward passes.
    #[arg(long, value_enum, default_value = "auto")]
    precision: Precision,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Pairs that a rank encodes at a time; must divide train.batch; default: the rank's whole share of the
    /// batch. Fewer pairs need less memory and more time; the losses stay the same. `auto`: as many as fit in
    /// the memory of every device, found by trying before each training.
    #[arg(long, value_name = "PAIRS")]
    micro_batch: Option<MicroBatch>,
    /// Record the step of each training as a CUDA graph, and launch it whole: faster where kernels are short,
    /// as in small networks. For GPUs, with one rank per training.
    #[arg(long)]
    cuda_graph: bool,
    /// Ranks that share one training; must divide the number of ranks. Small trainings then run side by side.
    /// Default: all ranks.
    #[arg(long)]
    ranks_per_cell: Option<NonZeroUsize>,
    /// A run whose finished trainings are reused if their data, network and training equal this suite's; may
    /// be given more than once.
    #[arg(long, value_name = "DIR")]
    pretrained: Vec<PathBuf>,
    /// Write the training curves as events for TensorBoard too, into the folder `tensorboard` of the run.
    #[arg(long)]
    tensorboard: bool,
    /// Train, then stop. The same command without this option measures and reports.
    #[arg(long)]
    pretrain_only: bool,
    /// Share the work with other launches of the same command, on other nodes: each takes an encoder that
    /// nobody has taken, trains and measures it, and goes on with those of a launch that is gone. One launch
    /// measures the other rows and writes the report in the end.
    #[arg(long, conflicts_with_all = ["until_decided", "pretrain_only", "dry_run"])]
    share: bool,
    /// Only print the cells with their costs and the cells that are done, then everything that would refuse
    /// the run (exit code 2).
    #[arg(long)]
    dry_run: bool,
    /// Device for which --dry-run estimates hours and memory.
    #[arg(long, value_enum, default_value = "a100", requires = "dry_run", value_name = "DEVICE")]
    estimate_for: DeviceName,
}

/// Runs the suite.
///
/// # Errors
/// As [`run::run`].
pub fn run(args: &RunArgs, ranks: &dyn Collective) -> Outcome<()> {
    let request = agree(ranks, args.request())?;
    if args.share { run::run_shared(&request, ranks) } else { run::run(&request, ranks) }
}

impl RunArgs {
    /// Whether the command only prints what it would do.
    pub(super) fn only_describes(&self) -> bool {
        self.dry_run
    }

    fn request(&self) -> anyhow::Result<RunRequest> {
        let mut set: Vec<Override> =
            self.set.iter().map(|assignment| Override::parse(assignment)).collect::<Result<_, _>>()?;
        // more seeds than a whole number of TOML holds are too many in any case
        let seeds = self.seeds.map(|seeds| i64::try_from(seeds).unwrap_or(i64::MAX));
        set.extend(seeds.map(|seeds| Override::new("--seeds", "seeds", seeds)).transpose()?);
        let methods = self.methods.as_deref().map(split_methods);
        set.extend(methods.map(|methods| Override::new("--methods", "methods", methods)).transpose()?);
        Ok(RunRequest {
            suite: self.suite.clone(),
            out: self.out.clone(),
            data_roots: self.data_root.clone(),
            set,
            rows: self.external.clone(),
            floors: !self.no_floor,
            precision: self.precision,
            compute: self.compute,
            micro_batch: self.micro_batch.unwrap_or_default(),
            cuda_graph: self.cuda_graph,
            ranks_per_cell: self.ranks_per_cell,
            pretrained: self.pretrained.clone(),
            parts: Vec::new(),
            until_decided: self.until_decided.then_some(UntilDecided { max_seeds: self.max_seeds }),
            tensorboard: self.tensorboard,
            scope: if self.pretrain_only { RunScope::Trainings } else { RunScope::Whole },
            no_tables: false,
            dry_run: self.dry_run.then_some(self.estimate_for),
        })
    }
}

fn external_row(text: &str) -> Result<ExternalRow, String> {
    match text.rsplit_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok(ExternalRow::from_file(name, file.into()))
        }
        _ => Err("expected NAME=FILE".into()),
    }
}

/// Splits at commas, except those inside a name: `Ours, no reconstruction`, `SIE(all, single each time)`.
fn split_methods(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        match names.last_mut() {
            Some(last) if continues(last, piece) => *last = format!("{last}, {piece}"),
            _ => names.push(piece.to_owned()),
        }
    }
    names
}

/// Whether `piece` continues the name `last`: a parenthesis is still open, or both together name a method.
fn continues(last: &str, piece: &str) -> bool {
    last.contains('(') && !last.contains(')') || format!("{last}, {piece}").parse::<MethodKind>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_split_at_commas_but_not_inside_names() {
        assert_eq!(
            split_methods("Ours, no reconstruction,VICReg, SIE(rot)"),
            ["Ours, no reconstruction", "VICReg", "SIE(rot)"]
        );
        assert_eq!(split_methods("Ours,VICReg"), ["Ours", "VICReg"]);
        let names = [
            "SIE(all, single each time, no prediction variance)",
            "Ours(SimCLR), no reconstruction",
            "SimCLR",
        ];
        assert_eq!(split_methods(&names.join(",")), names);
    }
}
