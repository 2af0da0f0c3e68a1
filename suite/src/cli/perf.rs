//! `eqr-bench perf`: the stages whose speed can be measured.

use anyhow::Result;
use clap::Subcommand;
use eqr_models::Collective;

use crate::perf;

/// The stages.
#[derive(Subcommand)]
pub enum PerfCommand {
    /// Summing a gradient over the ranks of an mpirun.
    Allreduce(perf::AllreduceArgs),
    /// Training steps, on one process or on the ranks of an mpirun.
    Train(perf::TrainArgs),
    /// Training steps on 1 to 1,024 devices, predicted from this device.
    Scale(perf::ScaleArgs),
    /// Making two views of photographs: the base view and all six transforms.
    Transforms(perf::TransformsArgs),
    /// Training MLP probes of many transforms and seeds together.
    Probe(perf::ProbeArgs),
    /// Reading, decoding and resizing photographs from a pack.
    Load(perf::LoadArgs),
    /// Rendering procedural objects or meshes.
    Render(perf::RenderArgs),
}

impl PerfCommand {
    /// Whether the stage runs on all ranks of an mpirun.
    pub fn runs_on_ranks(&self) -> bool {
        matches!(self, PerfCommand::Allreduce(_) | PerfCommand::Train(_) | PerfCommand::Scale(_))
    }
}

/// Measures a stage and prints the result.
///
/// # Errors
/// Options, files or devices that cannot be used.
pub fn run(command: &PerfCommand, ranks: &dyn Collective) -> Result<()> {
    match command {
        PerfCommand::Allreduce(args) => perf::allreduce(args, ranks),
        PerfCommand::Train(args) => perf::train(args, ranks),
        PerfCommand::Scale(args) => perf::scale(args, ranks),
        PerfCommand::Transforms(args) => perf::transforms(args),
        PerfCommand::Probe(args) => perf::probe(args),
        PerfCommand::Load(args) => perf::load(args),
        PerfCommand::Render(args) => perf::render(args),
    }
}
