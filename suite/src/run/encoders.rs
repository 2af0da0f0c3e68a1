//! Opens the encoders that a run measures: its own from their checkpoints, external ones from their files.

use std::rc::Rc;

use anyhow::{Result, anyhow};

use crate::data::open::OpenedPack;
use crate::data::pairs::PairSource;
use crate::encoder::frozen::FrozenEncoder;
use crate::encoder::network::Network;
use crate::measure::exit_code::RunFile;
use crate::run::context::RunContext;
use crate::run_folder::checkpoint;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::plan::EncoderRun;

/// The network of `run` after `step` steps or at the end of its training, and the number of steps that it was
/// trained for.
pub(super) fn trained_network(
    context: &RunContext,
    run: &EncoderRun,
    step: Option<u64>,
) -> Result<(Network, u64)> {
    let mut network = context.new_network(run)?;
    if !run.row.kind.trains() {
        return Ok((network, 0));
    }
    let total = context.training_steps(run, context.training_pairs(run)?.units().len()).total();
    let checkpoints = context.checkpoints(run);
    let path = step.map_or_else(|| checkpoints.at_step(total), |step| checkpoints.on_curve(step));
    let steps = step.unwrap_or(total);
    checkpoint::load_parameters(&path, &mut network.arena, steps).map_err(|error| {
        let (slug, cell) = (run.slug(), run.pretrain_id());
        let damaged = path.strip_prefix(context.folder.root()).unwrap_or(&path).display();
        let remedy = match step {
            None => "run again; the training then continues from the previous checkpoint".to_owned(),
            Some(_) => {
                format!("checkpoints/{slug} and run again; the training then starts from the beginning")
            }
        };
        anyhow!("{error:#}\nhint: remove {damaged}, cells/{cell}.json and {remedy}")
            .context(RunFile("its checkpoint"))
    })?;
    Ok((network, steps))
}

/// The encoder of `run` at the end of its training, for images or crops of `side` pixels.
pub(super) fn trained_encoder(context: &RunContext, run: &EncoderRun, side: usize) -> Result<FrozenEncoder> {
    frozen(context, &trained_network(context, run, None)?.0, side)
}

/// A network of this run as an encoder of images or crops of `side` pixels.
pub(super) fn frozen(context: &RunContext, network: &Network, side: usize) -> Result<FrozenEncoder> {
    FrozenEncoder::from_network(network, side, context.train.normalisation())
}

/// The encoder of an external row. The side of its images is the one in the row's options, or else `side`.
/// Without either, a ViT uses the side that its file gives.
pub(super) fn external_encoder(
    context: &RunContext,
    row: &ExternalRow,
    side: Option<usize>,
) -> Result<Rc<FrozenEncoder>> {
    context.opened.open(row, row.options.size.or(side), context.worker.device)
}

/// The training and test pairs of the run's data as `encoder` sees them: at its side, with its normalisation.
pub(super) fn sources_of(context: &RunContext, encoder: &FrozenEncoder) -> Result<[PairSource; 2]> {
    let data = &context.prepared.data;
    let at_its_side = OpenedPack { pack: data.pack.clone(), side: encoder.side() };
    let source = |own: &PairSource, split| {
        let images = match encoder.side() == data.side {
            true => own.share(),
            false => {
                PairSource::new(&at_its_side, split, &context.suite().transforms, context.worker.device)?
            }
        };
        Ok::<_, anyhow::Error>(images.normalised_by(encoder.normalisation))
    };
    Ok([source(&context.train, "train")?, source(&context.test, "test")?])
}

/// The encoder of an external row, set up to give token maps of crops of `side` pixels.
pub(super) fn external_encoder_for_maps(
    context: &RunContext,
    row: &ExternalRow,
    side: usize,
) -> Result<Rc<FrozenEncoder>> {
    let encoder = context.opened.open(row, Some(side), context.worker.device)?;
    encoder.check_maps()?;
    Ok(encoder)
}
