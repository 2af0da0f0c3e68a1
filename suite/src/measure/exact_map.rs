//! The ceiling for pairs that differ by all transforms at once: R2 of the best prediction from the exact
//! affine map between the views.

use anyhow::Result;
use eqr_datasets::SetKind;
use eqr_datasets::transforms::{Draws, Transform};
use eqr_probes::r2::R2;
use tch::Tensor;

use crate::encoder::representation::FeatureEncoder;
use crate::measure::evaluation::{DRAWS, Evaluation, TEST_PAIRS_SEED};
use crate::registry::R2Metric;
use crate::run_folder::metric::MeasuredValue;
use crate::suite_file::transforms::Transforms;

/// One value per transform, for photographs with `probe.combined`. The values do not depend on the encoder.
pub(super) fn measure(evaluation: &Evaluation, _: &dyn FeatureEncoder) -> Result<Vec<MeasuredValue>> {
    if evaluation.pack.kind != SetKind::Photographs || !evaluation.probe.combined {
        return Ok(Vec::new());
    }
    let Transforms { active, ranges, .. } = evaluation.transforms;
    let keys: Vec<u64> = evaluation.test_photographs().iter().map(|&unit| unit as u64).collect();
    let draws = (0..DRAWS).flat_map(|draw| Draws::sample(&keys, TEST_PAIRS_SEED, draw, active, ranges).each);
    let draws = Draws { each: draws.collect() };
    let guess = draws.best_guess_from_map(active, ranges);
    let value = |transform: &Transform| {
        let target = |draws: &Draws| {
            Tensor::from_slice(&draws.target(*transform, ranges)).view([-1, transform.dim() as i64])
        };
        let r2 = R2::new(&target(&guess), &target(&draws))?.per_output;
        Ok(r2.map(|r2| R2Metric::EXACT_MAP.value(transform.name(), None, r2)))
    };
    active.iter().filter_map(|transform| value(transform).transpose()).collect()
}
