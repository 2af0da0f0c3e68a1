//! Properties of y that need no probe: how similar the views of an image are, and how many dimensions are in
//! use.

use anyhow::Result;
use eqr_probes::{Invariance, effective_rank};
use tch::Tensor;

use crate::console::counted;
use crate::encoder::representation::FeatureEncoder;
use crate::measure::evaluation::{ENCODE, ENCODING, Evaluation, TEST_PAIRS_SEED, evenly_spaced};
use crate::registry::{EFFECTIVE_RANK, INVARIANCE, SIMILARITY_OTHERS, SIMILARITY_OWN};
use crate::run_folder::metric::MeasuredValue;

/// Maximum number of test pairs to compare.
const COMPARED: usize = 2048;

/// Similarities and effective rank on test pairs that are made like training pairs.
///
/// # Errors
/// Images that cannot be read, an encoder that fails.
pub fn measure(evaluation: &Evaluation, encoder: &dyn FeatureEncoder) -> Result<Vec<MeasuredValue>> {
    let test = evaluation.test;
    let units = evenly_spaced(test, test.units().len().min(COMPARED));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for units in counted(ENCODING, units.chunks(ENCODE)) {
        let pairs = test.pairs(TEST_PAIRS_SEED, 0, units)?;
        first.push(encoder.represent(&pairs.view1)?.y);
        second.push(encoder.represent(&pairs.view2)?.y);
    }
    let (first, second) = (Tensor::cat(&first, 0), Tensor::cat(&second, 0));
    let Invariance { own, others, share } = Invariance::from_views(&first, &second)?;
    let values = [
        (SIMILARITY_OWN, Some(own)),
        (SIMILARITY_OTHERS, Some(others)),
        (INVARIANCE, share),
        (EFFECTIVE_RANK, Some(effective_rank(&first))),
    ];
    Ok(values.into_iter().filter_map(|(measure, value)| Some(measure.value(None, value?))).collect())
}
