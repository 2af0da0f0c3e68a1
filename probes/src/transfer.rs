//! Linear transfer (protocol section 5): logistic regression on frozen features. The penalty strength is
//! chosen on the validation split. The model is then refitted on the training and validation splits together
//! and evaluated on the test split, along with nearest neighbours. The grid is distributed over any number of
//! ranks.
//!
//! Strengths count in units of the features' mean variance over the training split. The accuracy then does
//! not depend on the features' unit, and for features of unit variance the grid is the protocol's.

use std::ops::Range;

use crate::accuracy::{Accuracy, every_class_occurs};
use crate::checks::{check_classes, check_labels, expect_shape, finite, matrix, wrong_shape};
use crate::error::{Error, Result, TensorRole};
use crate::knn;
use crate::logistic::{Fitter, Logistic, LogisticConfig, StartingPoint, chains, grid, strengths_in};
use eqr_models::Collective;
use eqr_models::collective::shares;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// One split of a labelled data set.
#[derive(Debug)]
pub struct LabelledSplit {
    /// Features (N, D) of any floating kind.
    pub x: Tensor,
    /// Labels (N), int64.
    pub y: Tensor,
}

/// A labelled data set with three splits, on one device. Single features are not standardised: a linear model
/// on features as they are is what the protocol asks for.
#[derive(Debug)]
pub struct TransferData {
    /// Name used in messages.
    pub name: String,
    /// Split on which the models of the grid are fitted.
    pub train: LabelledSplit,
    /// Split on which the strength is chosen.
    pub val: LabelledSplit,
    /// Split on which the results are reported.
    pub test: LabelledSplit,
    /// Features (M, D) of the same test samples after changes that the training data has not seen.
    pub shifted: Option<Tensor>,
    /// Number of classes C, at least 2. Labels are in 0..C.
    pub classes: usize,
}

/// Result for one strength of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridPoint {
    /// Strength of the penalty, in units of the features' mean variance.
    pub lambda: f64,
    /// Top-1 accuracy on the validation split.
    pub val_top1: f64,
    /// Summed cross-entropy plus penalty at the solution, on the training split.
    pub objective: f64,
    /// Number of L-BFGS iterations.
    pub iterations: usize,
    /// Whether the fit reached its tolerance within the iterations allowed.
    pub converged: bool,
}

/// The result of a transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Accuracy on the test split.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// The strength with the best top-1 accuracy on the validation split. Ties go to the strongest penalty.
    pub lambda: f64,
    /// Accuracy of [`crate::knn`] on the test split, with neighbours from the training and validation splits.
    pub knn: Accuracy,
    /// Accuracy of the logistic regression on the shifted test samples, if there are any.
    #[serde(skip)]
    pub shifted: Option<Accuracy>,
    /// Results for the whole grid, in ascending order of strength.
    pub grid: Vec<GridPoint>,
    /// What was predicted for the test split.
    #[serde(skip)]
    pub test: TestPredictions,
}

/// The classes of the test samples, and what was predicted for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TestPredictions {
    /// Their labels.
    pub labels: Vec<i64>,
    /// Predictions of the logistic regression.
    pub linear: Vec<i64>,
    /// Predictions of the nearest neighbours.
    pub neighbours: Vec<i64>,
    /// Predictions of the logistic regression for the shifted samples; empty if there are none.
    pub shifted: Vec<i64>,
    /// Number of classes.
    pub classes: i64,
}

/// An end of the grid of strengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GridEnd {
    /// The smallest strength.
    Weakest,
    /// The largest strength.
    Strongest,
}

impl GridEnd {
    /// The end of the protocol's grid that `lambda` is; `None` inside the grid. The best strength may lie
    /// beyond that end.
    pub fn of(lambda: f64) -> Option<GridEnd> {
        let grid = grid();
        let is = |end: f64| (lambda / end - 1.0).abs() < 1e-9;
        match () {
            () if is(grid[0]) => Some(GridEnd::Weakest),
            () if is(grid[grid.len() - 1]) => Some(GridEnd::Strongest),
            () => None,
        }
    }
}

/// Runs the protocol on `data`, which must be the same on every rank. Every rank returns the result.
/// `progress` is called with the number of finished fits on this rank and their total number.
///
/// # Errors
/// Fails for inconsistent shapes, NaN or infinite features, labels outside 0..C, fewer than two classes,
/// fewer training samples than classes, or a class without training samples. A class without test samples is
/// left out of the mean per class.
pub fn transfer(
    data: &TransferData,
    config: &LogisticConfig,
    ranks: &dyn Collective,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Transfer> {
    check(data)?;
    let classes = data.classes as i64;
    let grid = grid();
    let chains = divided(chains(grid.len()), ranks.size());
    let strengths: Vec<Range<usize>> = chains.iter().map(|chains| strengths_in(chains, grid.len())).collect();
    let own = strengths[ranks.rank()].clone();
    let mut tick = |ended: usize| progress(ended, own.len());
    let train = Fitter::new(&data.train.x, &data.train.y, classes);
    let unit = train.mean_variance();
    let lambdas: Vec<f64> = grid.iter().map(|lambda| lambda * unit).collect();
    let fits = train.fit(&lambdas, chains[ranks.rank()].clone(), None, config, &mut tick);
    let points: Vec<GridPoint> = fits.iter().map(|fit| point(fit, &data.val)).collect();
    let points = gathered(&points, &grid, &strengths, ranks);
    let best =
        (0..points.len()).max_by(|&a, &b| points[a].val_top1.total_cmp(&points[b].val_top1)).expect("a grid");
    let start = shared(own.contains(&best).then(|| &fits[best - own.start]), data, ranks);
    let both = LabelledSplit {
        x: Tensor::cat(&[&data.train.x, &data.val.x], 0),
        y: Tensor::cat(&[&data.train.y, &data.val.y], 0),
    };
    let refit =
        Fitter::new(&both.x, &both.y, classes).fit(&[lambdas[best]], 0..1, Some(&start), config, &mut |_| {});
    let linear = refit[0].predict(&data.test.x);
    let neighbours = knn::vote(&both.x, &both.y, &data.test.x, classes);
    let shifted = data.shifted.as_ref().map(|x| refit[0].predict(x));
    let score = |predicted: &Tensor| Accuracy::new(predicted, &data.test.y, classes);
    let list = |t: &Tensor| Vec::try_from(t.to_device(Device::Cpu)).expect("one class a sample");
    Ok(Transfer {
        accuracy: score(&linear),
        lambda: grid[best],
        knn: score(&neighbours),
        shifted: shifted.as_ref().map(score),
        grid: points,
        test: TestPredictions {
            labels: list(&data.test.y),
            linear: list(&linear),
            neighbours: list(&neighbours),
            shifted: shifted.as_ref().map(list).unwrap_or_default(),
            classes,
        },
    })
}

/// The chains of each of `ranks` ranks. Rank 0 has the last chains, so the strengths ascend from rank to
/// rank.
fn divided(chains: usize, ranks: usize) -> Vec<Range<usize>> {
    let mut start = chains;
    let next = |share: usize| {
        let end = start;
        start -= share;
        start..end
    };
    shares(chains, ranks).into_iter().map(next).collect()
}

/// Gathers the points of all ranks, in the ascending order of `grid`. Rank r has fitted the indices
/// `strengths[r]`.
fn gathered(
    own: &[GridPoint],
    grid: &[f64],
    strengths: &[Range<usize>],
    ranks: &dyn Collective,
) -> Vec<GridPoint> {
    let row =
        |p: &GridPoint| [p.val_top1, p.objective, p.iterations as f64, f64::from(u8::from(p.converged))];
    let own: Vec<f64> = own.iter().flat_map(row).collect();
    let rows: Vec<i64> = strengths.iter().map(|range| range.len() as i64).collect();
    let all = ranks.all_gather(&Tensor::from_slice(&own).view([rows[ranks.rank()], 4]), &rows);
    let all: Vec<f64> = Vec::try_from(all.view([-1])).expect("four numbers per strength");
    let point = |(row, &lambda): (&[f64], &f64)| GridPoint {
        lambda,
        val_top1: row[0],
        objective: row[1],
        iterations: row[2] as usize,
        converged: row[3] == 1.0,
    };
    all.chunks_exact(4).zip(grid).map(point).collect()
}

/// Copies the weight and bias of a fit, which only one rank has, to every rank.
fn shared(fit: Option<&Logistic>, data: &TransferData, ranks: &dyn Collective) -> StartingPoint {
    let (features, classes) = (data.train.x.size()[1], data.classes as i64);
    // the other ranks add zeros
    let zeros = || Tensor::zeros([features + 1, classes], (Kind::Double, data.train.x.device()));
    let mut all = fit.map_or_else(zeros, |fit| Tensor::cat(&[&fit.weight, &fit.bias.unsqueeze(0)], 0));
    ranks.all_reduce_sum(&mut all);
    StartingPoint { weight: all.narrow(0, 0, features), bias: all.get(features) }
}

fn point(fit: &Logistic, val: &LabelledSplit) -> GridPoint {
    let right = fit.predict(&val.x).eq_tensor(&val.y).to_kind(Kind::Double);
    GridPoint {
        lambda: fit.lambda,
        val_top1: right.mean(Kind::Double).double_value(&[]),
        objective: fit.objective,
        iterations: fit.iterations,
        converged: fit.converged,
    }
}

/// Fails for data that no model can be fitted to or scored on.
pub(crate) fn check(data: &TransferData) -> Result<()> {
    check_shapes_and_labels(data)?;
    splits(data).into_iter().try_for_each(|(split, x, _)| finite(&data.name, x, &split.x))?;
    data.shifted.iter().try_for_each(|x| finite(&data.name, TensorRole::TestFeatures, x))
}

/// The splits with the roles of their features and labels.
pub(crate) fn splits(data: &TransferData) -> [(&LabelledSplit, TensorRole, TensorRole); 3] {
    [
        (&data.train, TensorRole::TrainFeatures, TensorRole::TrainTargets),
        (&data.val, TensorRole::ValFeatures, TensorRole::ValTargets),
        (&data.test, TensorRole::TestFeatures, TensorRole::TestTargets),
    ]
}

/// The part of [`check`] that does not read the features.
pub(crate) fn check_shapes_and_labels(data: &TransferData) -> Result<()> {
    let TransferData { name, train, shifted, classes, .. } = data;
    let classes = *classes as i64;
    check_classes(classes)?;
    let (_, features) = matrix(name, TensorRole::TrainFeatures, &train.x)?;
    for (split, x, y) in splits(data) {
        let (rows, width) = matrix(name, x, &split.x)?;
        if width != features {
            return Err(wrong_shape(
                name,
                x,
                &split.x,
                format!("{features} columns, as the training features have"),
            ));
        }
        check_labels(name, y, &split.y, rows, classes)?;
    }
    if let Some(x) = shifted {
        expect_shape(name, TensorRole::TestFeatures, x, &data.test.x.size())?;
    }
    let samples = train.y.size()[0];
    if samples < classes {
        return Err(Error::FewSamples { name: name.clone(), samples, classes });
    }
    every_class_occurs(name, TensorRole::TrainTargets, &train.y, classes)
}
