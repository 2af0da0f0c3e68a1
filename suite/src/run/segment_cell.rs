//! A segmentation cell: a head of one seed, trained on a row's encoder.

use std::rc::Rc;

use anyhow::{Context, Result};
use eqr_models::Solo;
use tch::Tensor;

use crate::measure::exit_code::RunFile;
use crate::measure::segment::{SegmentationScenes, Segmented, draw, resampled, segment, values};
use crate::run::context::RunContext;
use crate::run::encoders::{external_encoder_for_maps, trained_encoder};
use crate::run::measurements::{Measured, MeasuredRow};
use crate::run_folder::layout;
use crate::run_folder::metric::MeasuredValues;

/// Number of scenes drawn for a row's first head.
const PICTURES: usize = 6;

/// The scores on the suite's segmentation set at position `set`. The first head of a row also draws
/// `figures/<id>.png`.
pub(super) fn measure(
    context: &RunContext,
    id: &str,
    row: &MeasuredRow,
    set: usize,
    seed: u64,
) -> Result<Measured> {
    let (pack, config) =
        (&context.prepared.downstream.segmentation[set], &context.suite().segmentation[set].head);
    let crop = usize::try_from(config.crop)?;
    let encoder = match row {
        MeasuredRow::Trained(run) => Rc::new(trained_encoder(context, run, crop)?),
        MeasuredRow::Planted { .. } => unreachable!("planted encoders are only probed"),
        MeasuredRow::External(row) => external_encoder_for_maps(context, row, crop)?,
    };
    let normalise = |pixels: &Tensor| encoder.normalise(pixels);
    let data = SegmentationScenes::open(pack, &normalise, context.worker.device)?;
    let Segmented { head, confusion, scenes, .. } = segment(&*encoder, &data, seed, config, &Solo)?;
    if seed == 0 && (row.is_external() || row.pretrain_seed() == context.suite().first_seed) {
        let figures = context.folder.path(layout::FIGURES);
        std::fs::create_dir_all(&figures).with_context(|| format!("cannot create {}", figures.display()))?;
        let figure = figures.join(format!("{id}.png"));
        draw(pack, &data.test, (&*encoder, &head), config, PICTURES, &figure)
            .context(RunFile("its picture"))?;
    }
    let values = values(&confusion.score()?, &pack.class_names, seed);
    let resampled = if row.is_external() { resampled(&scenes) } else { Vec::new() };
    Ok(Measured::of(&encoder, MeasuredValues { values, resampled }))
}
