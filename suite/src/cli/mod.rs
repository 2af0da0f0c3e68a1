//! The command line. Each subcommand has a file with its options; this one parses and dispatches.

mod bench;
mod calibrate;
mod compare;
mod completions;
mod data;
mod doctor;
mod export;
mod force;
#[cfg(test)]
mod help_texts;
mod history;
mod init;
mod input;
mod merge;
mod perf;
mod probe;
mod record;
mod report;
mod run;
mod segment;
mod suites;
mod transfer;
mod verify;
mod watch;
mod xray;

use std::ffi::OsString;
use std::io;

use anyhow::anyhow;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use eqr_models::Collective;

use crate::cluster::launch::{check_together, speaks_for_launch};
use crate::cluster::{signal_mask, stop_signal};
use crate::console::{self, say_aloud};
use crate::failure::{Failure, Outcome};

/// Equivariance benchmark and evaluation suite for augmentation-based self-supervised learning.
#[derive(Parser)]
#[command(name = "eqr-bench", bin_name = "eqr-bench", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pretrain, probe and report a suite; continues an existing run.
    Run(run::RunArgs),
    /// List the suites that ship with the program, or print one.
    Suites(suites::SuitesArgs),
    /// Write a suite of your own, from a preset and for your pack.
    Init(init::InitArgs),
    /// Show how a run stands while it goes on: tables so far and loss curves.
    Watch(watch::WatchArgs),
    /// Print what a run wrote.
    Report(report::ReportArgs),
    /// Compare a run with a recorded one: exit code 1 if quality or speed became worse.
    Compare(compare::CompareArgs),
    /// Show the weeks of a series: every value over its runs, changes and alarms of drift.
    History(history::HistoryArgs),
    /// Keep a finished run as a baseline for `compare`.
    Record(record::RecordArgs),
    /// Put the rows of several runs into one: a leaderboard of encoders that were measured alike.
    Merge(merge::MergeArgs),
    /// Check every file of a run against its checksums: exit code 2 with a list of what is damaged or gone.
    Verify(verify::VerifyArgs),
    /// Write a trained encoder as a safetensors file with timm's parameter names.
    Export(export::ExportArgs),
    /// Measure R2 of probes that predict the transformation between two views from an encoder's features.
    Probe(probe::ProbeArgs),
    /// Measure the accuracy of logistic regression and nearest neighbours on an encoder's features.
    Transfer(transfer::TransferArgs),
    /// Measure how well a head on a frozen encoder segments scenes: mIoU, mAcc, aAcc.
    Segment(segment::SegmentArgs),
    /// Show what every layer of an encoder holds of every transformation.
    Xray(xray::XrayArgs),
    /// Calibrate the probes with encoders whose attainable R2 is known.
    Calibrate(calibrate::CalibrateArgs),
    /// Make, check and look at data packs.
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Do a fixed work and print the time to complete it, if the result is valid.
    Bench(bench::BenchArgs),
    /// Measure the speed of one stage against a ceiling measured in the same process.
    #[command(subcommand)]
    Perf(perf::PerfCommand),
    /// Print what this machine has and what `run` would use.
    Doctor(doctor::DoctorArgs),
    /// Print the completions for a shell (`make install` places them).
    Completions(completions::CompletionsArgs),
    /// Print the manual page.
    Man,
}

/// The command line of this process: a subcommand with its name, or what is wrong with it.
pub struct CommandLine(Result<(String, Command), clap::Error>);

impl CommandLine {
    /// Reads the command line, and lets the signals through that the launcher has held back. A command that
    /// can be continued takes them as requests to stop; any other is ended by them.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn read() -> io::Result<Self> {
        let parsed = parsed(std::env::args_os());
        if parsed.as_ref().is_ok_and(|(_, command)| command.can_be_continued()) {
            stop_signal::listen()?;
        }
        signal_mask::release();
        Ok(CommandLine(parsed))
    }

    /// Runs the command as one rank of `ranks` and returns the exit code. If only this rank knows of a
    /// failure, it ends the other ranks.
    pub fn run(self, ranks: &dyn Collective) -> i32 {
        let leads = ranks.rank() == 0;
        if !leads {
            console::silence();
        }
        let (name, command) = match self.0 {
            Ok(parsed) => parsed,
            Err(error) => {
                if leads {
                    // clap prints help to stdout and errors to stderr; a closed pipe is not a failure
                    let _ = error.print();
                }
                return error.exit_code();
            }
        };
        if let Err(failure) = check_launch(&name, &command, ranks) {
            if leads && speaks_for_launch() {
                say_aloud(&failure.message());
            }
            return failure.code;
        }
        let Err(failure) = command.run(ranks) else { return 0 };
        if !failure.agreed && ranks.size() > 1 {
            say_aloud(&format!("rank {} of {}: {}", ranks.rank(), ranks.size(), failure.message()));
            ranks.abort(failure.code);
        }
        if leads {
            say_aloud(&failure.message());
        }
        failure.code
    }
}

/// Checks that the command can do its work on as many processes as were launched.
fn check_launch(name: &str, command: &Command, ranks: &dyn Collective) -> Outcome<()> {
    if command.runs_on_ranks() {
        return check_together(ranks).map_err(Failure::bad_input);
    }
    if ranks.size() > 1 {
        let error = anyhow!("`{name}` runs as one process\nhint: start it without mpirun");
        return Err(Failure::bad_input(error));
    }
    Ok(())
}

/// The subcommand's name and arguments, parsed from a command line that begins with the program's name.
fn parsed(args: impl IntoIterator<Item = OsString>) -> Result<(String, Command), clap::Error> {
    let matches = Cli::command().try_get_matches_from(args)?;
    let name = matches.subcommand_name().unwrap_or_default().to_owned();
    Ok((name, Cli::from_arg_matches(&matches)?.command))
}

/// Checks a command line, which begins with the program's name, without running it.
///
/// # Errors
/// Clap's errors, which include `--help` and `--version`.
pub fn parse<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<(), clap::Error> {
    parsed(args.into_iter().map(OsString::from)).map(drop)
}

impl Command {
    /// Whether the command runs on all ranks of an mpirun. The other commands run as one process.
    fn runs_on_ranks(&self) -> bool {
        match self {
            Command::Run(_) | Command::Bench(_) | Command::Transfer(_) | Command::Segment(_) => true,
            Command::Perf(command) => command.runs_on_ranks(),
            _ => false,
        }
    }

    /// Whether the same command continues what a stopped one has done.
    fn can_be_continued(&self) -> bool {
        matches!(self, Command::Run(args) if !args.only_describes())
    }

    fn run(self, ranks: &dyn Collective) -> Outcome<()> {
        match self {
            Command::Run(args) => run::run(&args, ranks),
            Command::Bench(args) => bench::run(&args, ranks),
            Command::Suites(args) => suites::run(&args).map_err(Failure::bad_input),
            Command::Init(args) => init::run(&args).map_err(Failure::bad_input),
            Command::Watch(args) => watch::run(&args).map_err(Failure::bad_input),
            Command::Report(args) => report::run(&args).map_err(Failure::bad_input),
            Command::Compare(args) => compare::run(&args),
            Command::History(args) => history::run(&args).map_err(Failure::bad_input),
            Command::Record(args) => record::run(&args).map_err(Failure::bad_input),
            Command::Merge(args) => merge::run(&args).map_err(Failure::bad_input),
            Command::Verify(args) => verify::run(&args).map_err(Failure::bad_input),
            Command::Export(args) => export::run(&args).map_err(Failure::bad_input),
            Command::Probe(args) => probe::run(&args),
            Command::Transfer(args) => transfer::run(&args, ranks),
            Command::Segment(args) => segment::run(&args, ranks),
            Command::Xray(args) => xray::run(&args),
            Command::Calibrate(args) => calibrate::run(&args),
            Command::Data(command) => data::run(command),
            Command::Perf(command) => perf::run(&command, ranks).map_err(Failure::bad_input),
            Command::Doctor(args) => doctor::run(&args).map_err(Failure::bad_input),
            Command::Completions(args) => {
                completions::completions(&args, Cli::command()).map_err(Failure::bad_input)
            }
            Command::Man => completions::manual(Cli::command()).map_err(Failure::bad_input),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn shells_and_man_know_every_command() {
        let commands = Cli::command();
        let named: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
        let mut script = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "eqr-bench", &mut script);
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).unwrap();
        for text in [script, page].map(|bytes| String::from_utf8(bytes).unwrap()) {
            assert!(named.iter().all(|name| text.contains(name)), "{text}");
        }
    }

    #[test]
    fn only_a_run_that_writes_is_stopped_by_request() {
        let continues = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().command.can_be_continued();
        assert!(continues("eqr-bench run quickstart --out x"));
        assert!(!continues("eqr-bench run quickstart --out x --dry-run") && !continues("eqr-bench report x"));
    }

    #[test]
    fn mpirun_is_for_the_commands_that_share_their_work() {
        let runs_on_ranks =
            |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().command.runs_on_ranks();
        assert!(
            runs_on_ranks("eqr-bench run quickstart --out x") && runs_on_ranks("eqr-bench perf allreduce")
        );
        assert!(!runs_on_ranks("eqr-bench report x") && !runs_on_ranks("eqr-bench perf transforms"));
    }
}
