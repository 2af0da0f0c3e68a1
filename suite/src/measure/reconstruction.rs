//! What a method that reconstructs makes of view 2, with the right inputs and with others (protocol section 2).

use anyhow::Result;
use eqr_models::methods::ReconstructionPair;
use eqr_models::vit::Encoded;
use tch::{Kind, Tensor};

use crate::data::pairs::PairSource;
use crate::encoder::network::Network;
use crate::measure::probe::{TEST_PAIRS_SEED, spread};
use crate::run_folder::metric::{Better, MeasuredValue};

/// Test pairs that the errors are taken over, at most.
const RECONSTRUCTED: usize = 512;

/// The test MSEs of protocol section 2, for methods that reconstruct.
///
/// # Errors
/// Images that cannot be read.
pub fn errors(network: &Network, test: &PairSource) -> Result<Vec<MeasuredValue>> {
    let count = test.units().len().min(RECONSTRUCTED);
    let pairs = test.pairs(TEST_PAIRS_SEED, 0, &spread(test, count))?;
    let tokens = |images: &Tensor| encode(network, images).tokens.to_kind(Kind::Float);
    let (view1, view2) = (tokens(&pairs.view1), tokens(&pairs.view2));
    // half a turn: classes may lie side by side, and the neighbour would then be of the same class
    let other = |tokens: &Tensor| tokens.roll([count as i64 / 2], [0]);
    let kind = network.arena.compute().kind();
    let mse = |source: &Tensor, query: &Tensor| {
        let pair = ReconstructionPair { source: &source.to_kind(kind), query: &query.to_kind(kind) };
        let image = network.model.method.as_ref()?.reconstruct(&network.arena, pair)?;
        Some(image.to_kind(tch::Kind::Float).mse_loss(&pairs.view2, tch::Reduction::Mean).double_value(&[]))
    };
    let Some(own) = mse(&view1, &view2) else { return Ok(Vec::new()) };
    let mean = pairs.view2.mean_dim([0i64].as_slice(), true, None).expand_as(&pairs.view2);
    let plain = |image: &Tensor| Some(image.mse_loss(&pairs.view2, tch::Reduction::Mean).double_value(&[]));
    let rows = [
        ("mse_own", Some(own)),
        ("mse_other_view1", mse(&other(&view1), &view2)),
        ("mse_other_view2", mse(&view1, &other(&view2))),
        ("mse_mean_image", plain(&mean)),
        ("mse_copy_view1", plain(&pairs.view1)),
    ]
    .into_iter()
    .filter_map(|(metric, value)| {
        Some(MeasuredValue {
            task: "reconstruction".into(),
            metric: metric.into(),
            eval_seed: None,
            value: value?,
            unit: "MSE",
            better: Better::Lower,
        })
    })
    .collect();
    Ok(rows)
}

/// View 1, view 2 and the reconstruction of `count` test images, (count, 3, H, W) in [0, 1] each; none where the method does not
/// reconstruct.
///
/// # Errors
/// Images that cannot be read.
pub fn pictures(network: &Network, test: &PairSource, count: usize) -> Result<Option<[Tensor; 3]>> {
    tch::no_grad(|| {
        let pairs = test.pairs(TEST_PAIRS_SEED, 0, &spread(test, count.min(test.units().len())))?;
        let (view1, view2) = (encode(network, &pairs.view1), encode(network, &pairs.view2));
        let pair = ReconstructionPair { source: &view1.tokens, query: &view2.tokens };
        let image = network.model.method.as_ref().and_then(|method| method.reconstruct(&network.arena, pair));
        Ok(image.map(|image| {
            let images = [pairs.view1, pairs.view2, image.to_kind(tch::Kind::Float)];
            images.map(|image| test.denormalise(&image).clamp(0.0, 1.0))
        }))
    })
}

/// Forward pass in the arena's number type.
fn encode(network: &Network, images: &Tensor) -> Encoded {
    network.model.encoder.forward(&network.arena, &images.to_kind(network.arena.compute().kind()))
}
