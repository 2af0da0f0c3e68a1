//! SIE's measures of a predictor on renders (Garrido et al. 2023). From the embedding of an object's first
//! view, the predictor predicts the embeddings of the other views. Each prediction should be nearest to its
//! target view.
//!
//! The head that computes embeddings normalises by batch statistics. All views of a split are embedded as one
//! batch, so that the values depend only on the split.

use anyhow::Result;
use eqr_datasets::SceneLatents;
use eqr_models::Arena;
use eqr_models::methods::Predictor;
use eqr_probes::retrieval::{Retrieval, ranks};
use tch::Tensor;

use crate::data::pairs::{PairSource, render_parameters};
use crate::encoder::network::Network;
use crate::measure::evaluation::{Evaluation, encode_y};
use crate::registry::{HITS, MRR, Measure, ON_TRAINING_OBJECTS, PRE};
use crate::run_folder::metric::MeasuredValue;

/// Number of leading columns of [`render_parameters`] that hold the relative quaternion.
const POSE: usize = 4;

/// Number of objects searched at a time.
const OBJECTS: usize = 256;

/// Values of the test split and of the training split. There are none for methods without a predictor, for
/// photographs, and for objects with a single view.
pub(super) fn measure(evaluation: &Evaluation, network: &Network) -> Result<Vec<MeasuredValue>> {
    let mut values = Vec::new();
    for (source, suffix) in [(evaluation.test, ""), (evaluation.train, ON_TRAINING_OBJECTS)] {
        if let Some(retrieval) = retrieve(network, source)? {
            values.extend(values_of(&retrieval, suffix));
        }
    }
    Ok(values)
}

fn values_of(retrieval: &Retrieval, suffix: &str) -> Vec<MeasuredValue> {
    let hits = HITS.into_iter().zip(retrieval.hits);
    let all = [(PRE, retrieval.pre), (MRR, retrieval.mrr)].into_iter().chain(hits);
    let value = |(measure, value): (Measure, f64)| MeasuredValue {
        metric: format!("{}{suffix}", measure.metric),
        ..measure.value(None, value)
    };
    all.map(value).collect()
}

fn retrieve(network: &Network, source: &PairSource) -> Result<Option<Retrieval>> {
    let predictor = network.model.method.as_ref().and_then(|method| method.predictor());
    let (Some(predictor), Some(scene)) = (predictor, source.scene().filter(|scene| scene.views > 1)) else {
        return Ok(None);
    };
    let z = predictor.embed(&network.arena, &encode_y(network, source, &source.indices())?);
    search(predictor, &network.arena, scene, source.units(), &z).map(Some)
}

/// The measures of the objects `units`, from the embeddings z of their views, (units * views, D), ordered by
/// object.
fn search(
    predictor: &dyn Predictor,
    arena: &Arena,
    scene: &SceneLatents,
    units: &[usize],
    z: &Tensor,
) -> Result<Retrieval> {
    let (views, width) = (scene.views as i64, z.size()[1]);
    let truth: Vec<usize> = (1..scene.views).collect();
    let mut found = Vec::new();
    for (i, units) in units.chunks(OBJECTS).enumerate() {
        let objects = units.len() as i64;
        let candidates =
            z.narrow(0, (i * OBJECTS) as i64 * views, objects * views).view([objects, views, width]);
        let parameters = from_first_view(scene, units);
        let others = |all: &Tensor| all.narrow(1, 1, views - 1).reshape([objects * (views - 1), -1]);
        let source = candidates.narrow(1, 0, 1).expand_as(&candidates);
        let predictions =
            predictor.predict(arena, &others(&source), &others(&parameters).to_device(z.device()));
        let ranks = ranks(&predictions.view([objects, views - 1, width]), &candidates, &truth)?;
        found.extend(ranks.into_iter().zip(poses(&parameters)?));
    }
    Ok(Retrieval::from_rankings(&found)?)
}

/// Parameters from the first view of each object to each of its views, including the first: (units, views,
/// parameters).
fn from_first_view(scene: &SceneLatents, units: &[usize]) -> Tensor {
    let views = scene.views;
    let pairs: Vec<[usize; 2]> = units
        .iter()
        .flat_map(|unit| (0..views).map(move |view| [unit * views, unit * views + view]))
        .collect();
    let parameters = Tensor::from_slice(&render_parameters(scene, &pairs)).to_kind(tch::Kind::Float);
    parameters.view([units.len() as i64, views as i64, -1])
}

/// Poses of every object's views relative to its first view, as unit quaternions. The distances between them
/// equal those between the absolute poses. `parameters`: (units, views, parameters).
fn poses(parameters: &Tensor) -> Result<Vec<Vec<[f64; 4]>>> {
    let rotations = parameters.narrow(2, 0, POSE as i64).to_kind(tch::Kind::Double);
    let unit = &rotations / rotations.norm_scalaropt_dim(2.0, [2i64], true);
    let numbers = Vec::<f64>::try_from(unit.reshape([-1]))?;
    let quaternions: Vec<[f64; POSE]> = numbers.as_chunks().0.to_vec();
    Ok(quaternions.chunks_exact(parameters.size()[1] as usize).map(<[_]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use eqr_datasets::draw::{Purpose, rng};
    use eqr_models::{Compute, Registry};
    use ndarray::Array2;
    use rand::Rng;
    use tch::{Device, Kind};

    use super::*;

    /// The embeddings are the poses themselves, as quaternions. With `exact`, the predictor rotates them by
    /// Hamilton's product; otherwise it returns them unchanged.
    struct Poses {
        exact: bool,
    }

    impl Predictor for Poses {
        fn embed(&self, _: &Arena, y: &Tensor) -> Tensor {
            y.shallow_clone()
        }

        /// The product of the quaternions (x, y, z, w) of z and of the parameters.
        fn predict(&self, _: &Arena, z: &Tensor, parameters: &Tensor) -> Tensor {
            let column = |tensor: &Tensor, i: i64| tensor.narrow(1, i, 1);
            let [a, b] = [z, parameters].map(|tensor| [0, 1, 2, 3].map(|i| column(tensor, i)));
            let product = [
                &a[3] * &b[0] + &a[0] * &b[3] + &a[1] * &b[2] - &a[2] * &b[1],
                &a[3] * &b[1] - &a[0] * &b[2] + &a[1] * &b[3] + &a[2] * &b[0],
                &a[3] * &b[2] + &a[0] * &b[1] - &a[1] * &b[0] + &a[2] * &b[3],
                &a[3] * &b[3] - &a[0] * &b[0] - &a[1] * &b[1] - &a[2] * &b[2],
            ];
            if self.exact { Tensor::cat(&product, 1) } else { z.shallow_clone() }
        }
    }

    /// Three objects with five views each at random poses, and the absolute poses.
    fn scene() -> (SceneLatents, Tensor) {
        let mut rng = rng(1, 0, 0, Purpose::Latents);
        let latents =
            Array2::from_shape_fn((15, 7), |(_, j)| if j < 3 { rng.gen_range(-3.0..3.0f32) } else { 0.0 });
        let rows: Vec<[f32; 7]> =
            latents.rows().into_iter().map(|row| std::array::from_fn(|j| row[j])).collect();
        let upright = vec![[0.0; 7]; 15];
        let poses =
            Tensor::from_slice(&eqr_datasets::targets::relative_quaternions(&upright, &rows)).view([15, 4]);
        (SceneLatents { latents, views: 5 }, poses)
    }

    fn measured(exact: bool, units: &[usize]) -> (Retrieval, Tensor) {
        let (scene, poses) = scene();
        let arena = Arena::new(Registry::default(), 0, Compute::F32, Device::Cpu);
        let rows: Vec<i64> =
            units.iter().flat_map(|unit| (0..5).map(move |view| (unit * 5 + view) as i64)).collect();
        let z = poses.index_select(0, &Tensor::from_slice(&rows));
        (search(&Poses { exact }, &arena, &scene, units, &z).unwrap(), z)
    }

    #[test]
    fn an_exact_predictor_finds_every_view() {
        let (found, _) = measured(true, &[0, 2]);
        assert_eq!((found.n, found.mrr, found.hits), (8, 1.0, [1.0; 4]));
        assert!(found.pre.abs() < 1e-9, "{}", found.pre);
    }

    /// The first view is nearest to itself, so no other view is found. The error is that of taking the first
    /// view for each of the others.
    #[test]
    fn a_predictor_that_does_nothing_finds_the_first_view() {
        let (found, z) = measured(false, &[0, 1, 2]);
        assert!(found.hits[0] == 0.0 && found.mrr <= 0.5, "{found:?}");
        let z = z.view([3, 5, 4]).to_kind(Kind::Double);
        let cosine =
            (z.narrow(1, 0, 1) * z.narrow(1, 1, 4)).sum_dim_intlist([2i64].as_slice(), false, Kind::Double);
        let expected = 1.0 - cosine.square().mean(Kind::Double).double_value(&[]);
        assert!((found.pre - expected).abs() < 1e-6, "{} {expected}", found.pre);
    }
}
