//! Errors of a method's reconstruction of view 2, from the right inputs and from wrong ones (protocol section
//! 2).

use anyhow::Result;
use eqr_models::vit::Encoded;
use tch::{Kind, Reduction, Tensor};

use crate::data::pairs::PairSource;
use crate::encoder::network::Network;
use crate::measure::evaluation::{Evaluation, TEST_PAIRS_SEED, evenly_spaced};
use crate::registry::{MSE_COPY_VIEW1, MSE_MEAN_IMAGE, MSE_OTHER_VIEW1, MSE_OTHER_VIEW2, MSE_OWN};
use crate::run_folder::metric::MeasuredValue;

/// Maximum number of test pairs for the errors.
const RECONSTRUCTED: usize = 512;

/// The test MSEs, for methods that reconstruct. If pairs are mixed with the other pairs of the batch, all of
/// them are one batch, and there is no error with another view 1.
pub(super) fn measure(evaluation: &Evaluation, network: &Network) -> Result<Vec<MeasuredValue>> {
    let test = evaluation.test;
    let count = test.units().len().min(RECONSTRUCTED);
    let pairs = test.pairs(TEST_PAIRS_SEED, 0, &evenly_spaced(test, count))?;
    let (view1, view2) = (encode(network, &pairs.view1), encode(network, &pairs.view2));
    // shifts by half the images, since neighbouring images may be of the same class
    let other = |view: &Encoded| view.rolled(count as i64 / 2);
    let mse = |source: &Encoded, query: &Encoded| {
        let image = network.model.method.as_ref()?.reconstruct(&network.arena, source, query)?;
        Some(image.to_kind(Kind::Float).mse_loss(&pairs.view2, Reduction::Mean).double_value(&[]))
    };
    let mixes_batch = network.model.method.as_ref().is_some_and(|method| method.mixes_batch());
    let Some(own) = mse(&view1, &view2) else { return Ok(Vec::new()) };
    let mean = pairs.view2.mean_dim([0i64].as_slice(), true, None).expand_as(&pairs.view2);
    let mse_of_image = |image: &Tensor| Some(image.mse_loss(&pairs.view2, Reduction::Mean).double_value(&[]));
    let values = [
        (MSE_OWN, Some(own)),
        (MSE_OTHER_VIEW1, if mixes_batch { None } else { mse(&other(&view1), &view2) }),
        (MSE_OTHER_VIEW2, mse(&view1, &other(&view2))),
        (MSE_MEAN_IMAGE, mse_of_image(&mean)),
        (MSE_COPY_VIEW1, mse_of_image(&pairs.view1)),
    ];
    Ok(values.into_iter().filter_map(|(measure, value)| Some(measure.value(None, value?))).collect())
}

/// View 1, view 2 and the reconstruction of `count` test images, each (count, 3, H, W) in [0, 1]; `None` if
/// the method does not reconstruct.
///
/// # Errors
/// Images that cannot be read.
pub fn pictures(network: &Network, test: &PairSource, count: usize) -> Result<Option<[Tensor; 3]>> {
    tch::no_grad(|| {
        let pairs = test.pairs(TEST_PAIRS_SEED, 0, &evenly_spaced(test, count.min(test.units().len())))?;
        let (view1, view2) = (encode(network, &pairs.view1), encode(network, &pairs.view2));
        let method = network.model.method.as_ref();
        let image = method.and_then(|method| method.reconstruct(&network.arena, &view1, &view2));
        Ok(image.map(|image| {
            let images = [pairs.view1, pairs.view2, image.to_kind(Kind::Float)];
            images.map(|image| test.denormalise(&image).clamp(0.0, 1.0))
        }))
    })
}

/// Forward pass in the arena's number type.
fn encode(network: &Network, images: &Tensor) -> Encoded {
    network.model.encoder.forward(&network.arena, &images.to_kind(network.arena.compute().kind()))
}
