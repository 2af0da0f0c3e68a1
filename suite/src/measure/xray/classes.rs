//! Measures of single images at every place: classes by nearest neighbours, and effective rank.

use eqr_probes::bootstrap::{Objects, Resampled, Statistic, resample};
use eqr_probes::{effective_rank, knn};
use tch::{Kind, Tensor};

use crate::encoder::layer::Layer;
use crate::measure::xray::spots::{Spot, View, spots};
use crate::run_folder::xray::{Reading, XrayMeasure};

/// Maximum number of images that the effective rank is computed of, as for y.
const RANKED: i64 = 2048;

/// Images of a split, seen by every layer.
pub(super) struct Labelled<'a> {
    pub images: View<'a>,
    /// Class of each image.
    pub labels: Vec<i64>,
}

/// Top-1 of the nearest training images, on the test images. No test image is among those that vote.
pub(super) fn neighbours(
    train: &Labelled,
    test: &Labelled,
    objects: &Objects,
    classes: usize,
) -> Vec<Reading> {
    let spots = spots(test.images.layers);
    let tensor = |labels: &[i64], like: &Tensor| Tensor::from_slice(labels).to_device(like.device());
    let statistic = |spot: &Spot| {
        let (x, labelled) = (test.images.at(*spot), train.images.at(*spot));
        let found = knn::vote(&labelled, &tensor(&train.labels, &x), &x, classes as i64);
        Statistic::mean(&found.eq_tensor(&tensor(&test.labels, &x)).to_kind(Kind::Double))
    };
    let statistics: Vec<Statistic> = spots.iter().map(statistic).collect();
    let draws = resample(objects, &statistics);
    let reading = |((spot, statistic), draws): ((&Spot, &Statistic), Option<Resampled>)| Reading {
        ci95: draws.as_ref().map(Resampled::interval),
        ..of_images(*spot, XrayMeasure::Neighbours, statistic.value())
    };
    spots.iter().zip(&statistics).zip(draws).map(reading).collect()
}

/// Effective rank of the first images.
pub(super) fn ranks(layers: &[Layer]) -> Vec<Reading> {
    let rank = |spot: Spot| {
        let x = spot.of(layers);
        let value = effective_rank(&x.narrow(0, 0, x.size()[0].min(RANKED)));
        of_images(spot, XrayMeasure::EffectiveRank, Some(value))
    };
    spots(layers).into_iter().map(rank).collect()
}

fn of_images(spot: Spot, measure: XrayMeasure, value: Option<f64>) -> Reading {
    let (layer, tokens) = (spot.place.to_string(), spot.tokens.to_string());
    Reading { layer, tokens, measure, task: None, output: None, value, ci95: None }
}
