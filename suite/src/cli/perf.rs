//! `eqr-bench perf`: the stages whose speed is measured.

use anyhow::Result;
use clap::Subcommand;
use eqr_models::Collective;

use crate::perf;

/// The stages.
#[derive(Subcommand)]
pub enum PerfCommand {
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
