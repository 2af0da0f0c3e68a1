//! The command line.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use eqr_models::{Collective, Solo};

use crate::cluster::agreement::agree;
use crate::cluster::precision::Precision;
use crate::console::{self, print_text};
use crate::encoder::export::{ExportArgs, export};
use crate::failure::{Failure, Outcome};
use crate::perf;
use crate::report::formats::{FORMATS, Format, by_name};
use crate::report::{self, Report, ReportContext};
use crate::run::dry_run::DeviceName;
use crate::run::{RunRequest, run};
use crate::run_folder::baseline::{RecordArgs, record};
use crate::run_folder::store::RunFolder;
use crate::suite_file::external_rows::ExternalRow;

mod compare;
pub mod doctor;

mod data;

mod input;

mod probe;

mod segment;

mod transfer;

/// Equivariance benchmark and evaluation suite for augmentation-based self-supervised learning.
#[derive(Parser)]
#[command(name = "eqr-bench", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pretrain, probe and report a suite; continues an existing run.
    Run(RunArgs),
    /// Print what a run wrote.
    Report(ReportArgs),
    /// Hold a run against a recorded one: exit code 1 where quality or speed became worse.
    Compare(compare::CompareArgs),
    /// Keep a finished run as a baseline for `compare`.
    Record(RecordArgs),
    /// Write a trained encoder as a safetensors file with timm's parameter names.
    Export(ExportArgs),
    /// R2 of probes on an encoder, or a file of features: what they hold of the transformation between two views.
    Probe(probe::ProbeArgs),
    /// Accuracy of logistic regression and nearest neighbours on an encoder, or a file of features.
    Transfer(transfer::TransferArgs),
    /// Segmentation of scenes by a head on a frozen encoder: mIoU, mAcc, aAcc.
    Segment(segment::SegmentArgs),
    /// Make, check and look at data packs.
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Measure speed against a ceiling taken in the same process.
    #[command(subcommand)]
    Perf(PerfCommand),
    /// Say what this machine has and what `run` would use.
    Doctor {
        /// JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct RunArgs {
    /// A preset (quickstart, weekly; 3diebench, imagenet, cifar10, cifar10-unknown, transfer, ade20k, paper, each of these also with -reduced) or a
    /// TOML file.
    suite: String,
    /// The run's folder; an existing one is continued.
    #[arg(long)]
    out: PathBuf,
    /// Folder with data packs; may be given more than once.
    #[arg(long)]
    data_root: Vec<PathBuf>,
    /// Number of pretraining seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// Rows of the table, separated by commas; commas inside a name are understood.
    #[arg(long)]
    methods: Option<String>,
    /// Another row, measured and not trained: an encoder as `probe --encoder` takes it, a feature file (.h5), or results (.csv with the
    /// columns of metrics.csv); may be given more than once. With `--methods ""` it is the only one.
    #[arg(long, value_name = "NAME=FILE", value_parser = external_row)]
    external: Vec<ExternalRow>,
    /// Set a key of the suite, as in train.epochs=10; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Number type of the forward and backward passes.
    #[arg(long, value_enum, default_value = "auto")]
    precision: Precision,
    /// Threads a rank; default: allowed cores / ranks of the node.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Pairs that a rank encodes at a time, a divisor of train.batch; default: its whole part of the batch. Smaller ones take less
    /// memory and more time, the losses stay the same.
    #[arg(long)]
    micro_batch: Option<NonZeroUsize>,
    /// Ranks that work on one training, a divisor of all: small trainings are done side by side; default: all ranks on each.
    #[arg(long)]
    ranks_per_cell: Option<NonZeroUsize>,
    /// A run whose finished trainings are taken over, where data, network and training are this suite's; may be given more than once.
    #[arg(long, value_name = "DIR")]
    pretrained: Vec<PathBuf>,
    /// Train and stop: the same command without it measures and reports.
    #[arg(long)]
    pretrain_only: bool,
    /// Only say what would be done: the cells in their order, what each costs, what is there already, and which data is missing (exit code 2).
    #[arg(long)]
    dry_run: bool,
    /// Device whose hours and memory --dry-run speaks of.
    #[arg(long, value_enum, default_value = "a100", requires = "dry_run")]
    device: DeviceName,
}

#[derive(Args)]
struct ReportArgs {
    /// A run's folder.
    dir: PathBuf,
    /// Form of the output.
    #[arg(long, value_parser = format_parser(), default_value = "terminal")]
    format: &'static dyn Format,
    /// Number of the paper's table; default: all that the suite mirrors.
    #[arg(long)]
    table: Option<u8>,
}

fn format_parser() -> impl TypedValueParser<Value = &'static dyn Format> {
    let names = PossibleValuesParser::new(FORMATS.iter().map(|format| format.name()));
    names.map(|name| by_name(&name).expect("one of the possible values"))
}

#[derive(Subcommand)]
enum PerfCommand {
    /// The sum of a gradient over the ranks of an mpirun.
    Allreduce(perf::AllreduceArgs),
    /// Training steps, also on the ranks of an mpirun.
    Train(perf::TrainArgs),
    /// Training steps on 1 to 1,024 devices, predicted from this one's.
    Scale(perf::ScaleArgs),
    /// Two views of photographs: the base view and all six transforms.
    Transforms(perf::TransformsArgs),
    /// MLP probes of many transforms and seeds, trained together.
    Probe(perf::ProbeArgs),
    /// Photographs out of a pack: read, decoded and resized.
    Load(perf::LoadArgs),
    /// Renders of procedural objects, or of meshes.
    Render(perf::RenderArgs),
}

/// Runs the program as one rank of `ranks` and returns the exit code. A failure that the other ranks do not know of ends them.
pub fn main(ranks: &dyn Collective) -> i32 {
    if ranks.rank() != 0 {
        console::silence();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if ranks.rank() == 0 {
                // clap chooses stdout for help, stderr for errors; a closed pipe is nobody's fault
                let _ = error.print();
            }
            return error.exit_code();
        }
    };
    let Err(failure) = dispatch(cli.command, ranks) else { return 0 };
    if !failure.agreed && ranks.size() > 1 {
        eprintln!("rank {} of {}: {}", ranks.rank(), ranks.size(), failure.message());
        ranks.abort(failure.code);
    }
    if ranks.rank() == 0 {
        eprintln!("{}", failure.message());
    }
    failure.code
}

fn dispatch(command: Command, ranks: &dyn Collective) -> Outcome<()> {
    match command {
        Command::Run(args) => run(&args.request(), ranks),
        Command::Perf(PerfCommand::Allreduce(args)) => perf::allreduce(&args, ranks).map_err(Failure::bad_input),
        Command::Perf(PerfCommand::Train(args)) => perf::train(&args, ranks).map_err(Failure::bad_input),
        Command::Perf(PerfCommand::Scale(args)) => perf::scale(&args, ranks).map_err(Failure::bad_input),
        Command::Transfer(args) => transfer::run(&args, ranks),
        Command::Segment(args) => segment::run(&args, ranks),
        other if ranks.size() > 1 => {
            let name = match other {
                Command::Compare(_) => "compare",
                Command::Report(_) => "report",
                Command::Record(_) => "record",
                Command::Export(_) => "export",
                Command::Probe(_) => "probe",
                Command::Data(_) => "data",
                Command::Perf(_) => "perf",
                Command::Doctor { .. } => "doctor",
                Command::Run(_) | Command::Transfer(_) | Command::Segment(_) => unreachable!("several ranks run it"),
            };
            Err(Failure::bad_input(anyhow!("`{name}` runs as one process\nhint: start it without mpirun")))
        }
        Command::Report(args) => agree(&Solo, print_report(&args)),
        Command::Compare(args) => compare::run(&args),
        Command::Record(args) => agree(&Solo, record(&args)),
        Command::Export(args) => agree(&Solo, export(&args)),
        Command::Probe(args) => probe::run(&args),
        Command::Data(command) => agree(&Solo, data::run(command)),
        Command::Perf(PerfCommand::Transforms(args)) => agree(&Solo, perf::transforms(&args)),
        Command::Perf(PerfCommand::Probe(args)) => agree(&Solo, perf::probe(&args)),
        Command::Perf(PerfCommand::Load(args)) => agree(&Solo, perf::load(&args)),
        Command::Perf(PerfCommand::Render(args)) => agree(&Solo, perf::render(&args)),
        Command::Doctor { json } => agree(&Solo, doctor::print(json)),
    }
}

impl RunArgs {
    fn request(&self) -> RunRequest {
        let mut set = self.set.clone();
        set.extend(self.seeds.map(|seeds| format!("seeds={seeds}")));
        set.extend(self.methods.as_deref().map(|methods| format!("methods={:?}", split_methods(methods))));
        RunRequest {
            suite: self.suite.clone(),
            out: self.out.clone(),
            data_roots: self.data_root.clone(),
            set,
            rows: self.external.clone(),
            precision: self.precision,
            threads: self.threads,
            micro_batch: self.micro_batch,
            ranks_per_cell: self.ranks_per_cell,
            pretrained: self.pretrained.clone(),
            pretrain_only: self.pretrain_only,
            dry_run: self.dry_run.then_some(self.device),
        }
    }
}

fn external_row(text: &str) -> Result<ExternalRow, String> {
    match text.rsplit_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok(ExternalRow::of_file(name, file.into())),
        _ => Err("expected NAME=FILE".into()),
    }
}

/// Splits at commas, but leaves the names together that hold one: `Ours, no reconstruction`, `SIE(all, single each time)`.
fn split_methods(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match names.last_mut() {
            Some(last) if goes_on(last, part) => *last = format!("{last}, {part}"),
            _ => names.push(part.to_owned()),
        }
    }
    names
}

/// Whether `part` belongs to the name that begins with `last`: an open parenthesis, or a name that is longer than it.
fn goes_on(last: &str, part: &str) -> bool {
    last.contains('(') && !last.contains(')') || format!("{last}, {part}").parse::<eqr_models::MethodKind>().is_ok()
}

fn print_report(args: &ReportArgs) -> Result<()> {
    let store = RunFolder::at(&args.dir);
    let all = report::stored_contexts(&store)?;
    let wanted = |context: &&ReportContext| args.table.is_none_or(|number| context.mirrored().contains(&number));
    let contexts: Vec<&ReportContext> = all.iter().filter(wanted).collect();
    if let (true, Some(number)) = (contexts.is_empty(), args.table) {
        let has: BTreeSet<u8> = all.iter().flat_map(ReportContext::mirrored).collect();
        let has: Vec<String> = has.iter().map(|number| format!("Table {number}")).collect();
        let has = if has.is_empty() { "none of the paper's tables".to_owned() } else { has.join(", ") };
        return Err(anyhow!("{} mirrors {has}, not Table {number}", args.dir.display()));
    }
    let (cells, problems) = store.readable_cells()?;
    let problems: Vec<String> = problems.into_iter().map(|problem| format!("left out: {problem}")).collect();
    problems.iter().for_each(|problem| eprintln!("warning: {problem}"));
    let report = Report { folder: &store, cells: &cells, contexts: &contexts, table: args.table, problems: &problems };
    print_text(&report.render(args.format)?)
}

/// A probe's error as an exit code: what comes of the input is bad input, what happens on the way a failed run.
fn probes_failure(error: eqr_probes::Error) -> Failure {
    match error {
        eqr_probes::Error::Diverged { .. } | eqr_probes::Error::Lapack { .. } => Failure::run(error),
        _ => Failure::bad_input(error),
    }
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
        let names = ["SIE(all, single each time, no prediction variance)", "Ours(SimCLR), no reconstruction", "SimCLR"];
        assert_eq!(split_methods(&names.join(",")), names);
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
