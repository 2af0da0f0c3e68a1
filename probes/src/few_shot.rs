//! Few-shot transfer: logistic regression on a few training images of each class, for several random draws of
//! them.
//!
//! Nothing but the drawn images is used, so the strength of the penalty is fixed: a validation split would
//! hold more labels than the draw (as in Tian et al. 2020, "Rethinking Few-Shot Image Classification", and
//! the low-shot evaluation of Assran et al. 2022, "Masked Siamese Networks"). All test images are classified.
//!
//! A draw depends on nothing but its number, the class and the class's rows: the images of one shot are among
//! those of two, and every encoder and any number of ranks see the same images.

use crate::accuracy::Accuracy;
use crate::checks::check_config;
use crate::error::{Error, Result};
use crate::logistic::{Fitter, Logistic, LogisticConfig};
use crate::stats::Summary;
use crate::transfer::{LabelledSplit, TransferData, check};
use eqr_models::Collective;
use eqr_random::{Purpose, probe_rng};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Strength of the penalty, in units of the mean variance of the drawn images' features.
pub const STRENGTH: f64 = 1.0;

/// Default number of draws.
pub const DRAWS: u64 = 10;

/// Most images of each class, and most draws.
const MOST: u64 = 1_000;

/// How many images of each class are drawn, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FewShotConfig {
    /// Numbers of training images of each class, ascending: 1, 2, 5, 10.
    pub shots: Vec<u64>,
    /// Number of random draws of these images.
    #[serde(default = "default_draws")]
    pub draws: u64,
}

fn default_draws() -> u64 {
    DRAWS
}

impl FewShotConfig {
    /// # Errors
    /// Numbers that are not ascending, or not in 1..=1000.
    pub fn validate(&self) -> Result<()> {
        let FewShotConfig { shots, draws } = self;
        let ascending = !shots.is_empty() && shots.windows(2).all(|pair| pair[0] < pair[1]);
        let in_range = |number: &u64| (1..=MOST).contains(number);
        let expected = "ascending numbers of images from 1 to 1000";
        check_config(
            ascending && shots.iter().all(in_range),
            "few_shot.shots",
            format!("{shots:?}"),
            expected,
        )?;
        check_config(in_range(draws), "few_shot.draws", draws, "1 to 1000")
    }

    /// The largest number of images of each class.
    pub fn most_shots(&self) -> u64 {
        self.shots.iter().copied().max().unwrap_or(0)
    }

    /// The classes in 0..`classes` that have fewer training images among `labels` than are asked for, with
    /// their numbers of images.
    pub fn small_classes(&self, labels: impl IntoIterator<Item = i64>, classes: usize) -> Vec<(usize, u64)> {
        let mut counts = vec![0; classes];
        labels.into_iter().for_each(|label| counts[label as usize] += 1);
        counts.into_iter().enumerate().filter(|(_, count)| *count < self.most_shots()).collect()
    }
}

/// The accuracies on the test split for one number of images of each class.
#[derive(Clone, Debug, PartialEq)]
pub struct FewShot {
    /// Number of images of each class.
    pub shots: u64,
    /// One per draw.
    pub accuracies: Vec<Accuracy>,
    /// Number of draws whose fit stopped before it reached its tolerance.
    pub unfinished: usize,
}

impl FewShot {
    /// Top-1 accuracy over the draws.
    pub fn top1(&self) -> Summary {
        self.summary(|accuracy| accuracy.top1)
    }

    /// Mean accuracy per class over the draws.
    pub fn mean_per_class(&self) -> Summary {
        self.summary(|accuracy| accuracy.mean_per_class)
    }

    fn summary(&self, value: impl Fn(&Accuracy) -> f64) -> Summary {
        let values: Vec<f64> = self.accuracies.iter().map(value).collect();
        Summary::from_values(&values).expect("at least one draw, and finite accuracies")
    }
}

/// Fits and scores every draw of `data`, which must be the same on every rank; the validation split is not
/// used. The ranks share the fits, and every rank returns the result, in the order of `config.shots`.
/// `progress` is called with the number of finished fits on this rank and their total number.
///
/// # Errors
/// Fails for a configuration out of range, for data that [`crate::transfer::transfer`] refuses, and if a
/// class has fewer training images than asked for.
pub fn few_shot(
    data: &TransferData,
    config: &FewShotConfig,
    logistic: &LogisticConfig,
    ranks: &dyn Collective,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<FewShot>> {
    config.validate()?;
    check(data)?;
    let labels: Vec<i64> =
        Vec::try_from(data.train.y.to_device(Device::Cpu)).expect("checked labels are integers");
    let small = config.small_classes(labels.iter().copied(), data.classes);
    if !small.is_empty() {
        return Err(Error::FewImages { name: data.name.clone(), shots: config.most_shots(), found: small });
    }
    let draws = config.draws as usize;
    let fits = config.shots.len() * draws;
    // neighbouring fits have about the same size, so every rank gets small and large ones
    let own: Vec<usize> = (ranks.rank()..fits).step_by(ranks.size()).collect();
    let mut found = Vec::with_capacity(3 * own.len());
    for (done, &fit) in own.iter().enumerate() {
        let rows = drawn(&labels, data.classes, config.shots[fit / draws], (fit % draws) as u64);
        let (accuracy, converged) = scored(data, &rows, logistic);
        found.extend([accuracy.top1, accuracy.mean_per_class, f64::from(u8::from(converged))]);
        progress(done + 1, own.len());
    }
    let of_rank = |rank: usize| (rank..fits).step_by(ranks.size());
    let counts: Vec<i64> = (0..ranks.size()).map(|rank| of_rank(rank).count() as i64).collect();
    let all = ranks.all_gather(&Tensor::from_slice(&found).view([own.len() as i64, 3]), &counts);
    let all: Vec<f64> = Vec::try_from(all.view([-1])).expect("three numbers per fit");
    let mut in_order = vec![[0.0; 3]; fits];
    for (fit, row) in (0..ranks.size()).flat_map(of_rank).zip(all.chunks_exact(3)) {
        in_order[fit].copy_from_slice(row);
    }
    let of_shots = |(shots, rows): (&u64, &[[f64; 3]])| FewShot {
        shots: *shots,
        accuracies: rows.iter().map(|&[top1, mean_per_class, _]| Accuracy { top1, mean_per_class }).collect(),
        unfinished: rows.iter().filter(|[.., converged]| *converged == 0.0).count(),
    };
    Ok(config.shots.iter().zip(in_order.chunks_exact(draws)).map(of_shots).collect())
}

/// Rows of the training images of a draw: `shots` of each class in 0..`classes`, class by class. Every class
/// must have that many among `labels`.
pub fn drawn(labels: &[i64], classes: usize, shots: u64, draw: u64) -> Vec<i64> {
    let mut of_class: Vec<Vec<i64>> = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(row, &label)| of_class[label as usize].push(row as i64));
    let of_draw = |(class, mut rows): (usize, Vec<i64>)| {
        rows.shuffle(&mut probe_rng(draw, class as u64, Purpose::FewShot));
        rows.truncate(shots as usize);
        rows
    };
    of_class.into_iter().enumerate().flat_map(of_draw).collect()
}

/// Accuracy on the test split of a model fitted to these training rows, and whether its fit converged.
fn scored(data: &TransferData, rows: &[i64], config: &LogisticConfig) -> (Accuracy, bool) {
    let rows = Tensor::from_slice(rows).to_device(data.train.x.device());
    let drawn = LabelledSplit {
        x: data.train.x.index_select(0, &rows).to_kind(Kind::Double),
        y: data.train.y.index_select(0, &rows),
    };
    let classes = data.classes as i64;
    let fitted = fit(&drawn, classes, config);
    (Accuracy::new(&fitted.predict(&data.test.x), &data.test.y, classes), fitted.converged)
}

/// The model of a draw. At the solution, weights lie in the span of the centred features; with fewer images
/// than features, the problem is solved there.
fn fit(drawn: &LabelledSplit, classes: i64, config: &LogisticConfig) -> Logistic {
    let LabelledSplit { x, y } = drawn;
    let unit = mean_variance(x);
    let [rows, features] = x.size()[..] else { unreachable!("features are (N, D)") };
    let of = |x: &Tensor| {
        let fits = Fitter::new(x, y, classes).fit(&[STRENGTH * unit], 0..1, None, config, &mut |_| {});
        fits.into_iter().next().expect("one strength")
    };
    if rows >= features {
        return of(x);
    }
    // (D, N)
    let span = Tensor::linalg_qr(&centred(x).tr(), "reduced").0;
    let fitted = of(&x.matmul(&span));
    Logistic { weight: span.matmul(&fitted.weight), ..fitted }
}

fn centred(x: &Tensor) -> Tensor {
    x - x.mean_dim(&[0i64][..], true, Kind::Double)
}

/// Variance of the features (N, D) around their mean, averaged over the D features; 1 for constant features.
fn mean_variance(x: &Tensor) -> f64 {
    let variance = centred(x).square().mean(Kind::Double).double_value(&[]);
    if variance > 0.0 { variance } else { 1.0 }
}
