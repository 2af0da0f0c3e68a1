//! Linear transfer (protocol section 5): logistic regression on frozen features, its strength chosen on the validation part,
//! fitted again to training and validation together, and one number on the test part; nearest neighbours beside it. The grid is shared
//! out to any number of ranks.

use std::ops::Range;

use crate::error::{Error, Part, Result};
use crate::knn;
use crate::labels::{Accuracy, check_labels, every_class_occurs};
use crate::logistic::{Data, Logistic, LogisticConfig, Start, chains, grid, of_chains};
use crate::standardise::{finite, matrix, shape};
use eqr_models::Collective;
use eqr_models::collective::shares;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// One part of a labelled set.
#[derive(Debug)]
pub struct Labelled {
    /// Features (N, D) of any floating kind.
    pub x: Tensor,
    /// Labels (N), int64.
    pub y: Tensor,
}

/// A labelled set in its three parts, on one device. Features are taken as they are, not standardised: the protocol's grid of
/// strengths refers to them.
#[derive(Debug)]
pub struct TransferData {
    /// Name used in messages.
    pub name: String,
    /// What is fitted to.
    pub train: Labelled,
    /// What the strength is chosen on.
    pub val: Labelled,
    /// What is reported on.
    pub test: Labelled,
    /// Number of classes C, at least 2; labels are in 0..C.
    pub classes: usize,
}

/// What a strength of the grid scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridPoint {
    /// Strength of the penalty.
    pub lambda: f64,
    /// Top-1 on the validation part.
    pub val_top1: f64,
    /// Sum of cross-entropies and penalty at the solution, on the training part.
    pub objective: f64,
    /// L-BFGS iterations.
    pub iterations: usize,
    /// Whether the fit reached its tolerance within the iterations allowed.
    pub converged: bool,
}

/// The result of a transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// On the test part.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// The strength of best top-1 on the validation part; of equals the strongest.
    pub lambda: f64,
    /// [`crate::knn`] on the test part, its neighbours from training and validation part.
    pub knn: Accuracy,
    /// The whole grid, ascending.
    pub grid: Vec<GridPoint>,
}

/// Runs the protocol on `data`, which every rank holds; every rank returns the result. `progress` is told how many of this rank's fits of
/// the grid have ended, and of how many.
///
/// # Errors
/// Shapes that do not fit, NaN or infinite features, labels outside 0..C, fewer than two classes, fewer training samples than
/// classes, a class without a training or a test sample.
pub fn transfer(
    data: &TransferData,
    config: &LogisticConfig,
    ranks: &dyn Collective,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Transfer> {
    check(data)?;
    let classes = data.classes as i64;
    let lambdas = grid();
    let chains = shared_out(chains(lambdas.len()), ranks.size());
    let parts: Vec<Range<usize>> = chains.iter().map(|chains| of_chains(chains, lambdas.len())).collect();
    let own = parts[ranks.rank()].clone();
    let mut tick = |ended: usize| progress(ended, own.len());
    let train = Data::new(&data.train.x, &data.train.y, classes);
    let fits = train.fit(&lambdas, chains[ranks.rank()].clone(), None, config, &mut tick);
    let points: Vec<GridPoint> = fits.iter().map(|fit| point(fit, &data.val)).collect();
    let points = gathered(&points, &lambdas, &parts, ranks);
    let best = (0..points.len()).max_by(|&a, &b| points[a].val_top1.total_cmp(&points[b].val_top1)).expect("a grid");
    let start = from_its_rank(own.contains(&best).then(|| &fits[best - own.start]), data, ranks);
    let both =
        Labelled { x: Tensor::cat(&[&data.train.x, &data.val.x], 0), y: Tensor::cat(&[&data.train.y, &data.val.y], 0) };
    let refit = Data::new(&both.x, &both.y, classes).fit(&[lambdas[best]], 0..1, Some(&start), config, &mut |_| {});
    let score = |predicted: &Tensor| Accuracy::of(&data.name, Part::TestTargets, predicted, &data.test.y, classes);
    Ok(Transfer {
        accuracy: score(&refit[0].predict(&data.test.x))?,
        lambda: lambdas[best],
        knn: score(&knn::vote(&both.x, &both.y, &data.test.x, classes))?,
        grid: points,
    })
}

/// The chains of each of `ranks`, of which rank 0 has the last: strengths of one rank after the other's ascend.
fn shared_out(chains: usize, ranks: usize) -> Vec<Range<usize>> {
    let mut start = chains;
    let part = |share: usize| {
        let end = start;
        start -= share;
        start..end
    };
    shares(chains, ranks).into_iter().map(part).collect()
}

/// The points of all ranks, ascending; `parts` says which strengths each has.
fn gathered(own: &[GridPoint], lambdas: &[f64], parts: &[Range<usize>], ranks: &dyn Collective) -> Vec<GridPoint> {
    let row = |p: &GridPoint| [p.val_top1, p.objective, p.iterations as f64, f64::from(u8::from(p.converged))];
    let rows: Vec<i64> = parts.iter().map(|part| part.len() as i64).collect();
    let own: Vec<f64> = own.iter().flat_map(row).collect();
    let own = Tensor::from_slice(&own).view([rows[ranks.rank()], 4]);
    let all = ranks.all_gather(&own, &rows);
    let all: Vec<f64> = Vec::try_from(all.view([-1])).expect("four numbers a strength");
    let point = |(row, &lambda): (&[f64], &f64)| GridPoint {
        lambda,
        val_top1: row[0],
        objective: row[1],
        iterations: row[2] as usize,
        converged: row[3] == 1.0,
    };
    all.chunks_exact(4).zip(lambdas).map(point).collect()
}

/// Weight and bias of a fit that one rank has, on every rank.
fn from_its_rank(fit: Option<&Logistic>, data: &TransferData, ranks: &dyn Collective) -> Start {
    let (features, classes) = (data.train.x.size()[1], data.classes as i64);
    // the others add nothing
    let zeros = || Tensor::zeros([features + 1, classes], (Kind::Double, data.train.x.device()));
    let mut all = fit.map_or_else(zeros, |fit| Tensor::cat(&[&fit.weight, &fit.bias.unsqueeze(0)], 0));
    ranks.all_reduce_sum(&mut all);
    Start { weight: all.narrow(0, 0, features), bias: all.get(features) }
}

fn point(fit: &Logistic, val: &Labelled) -> GridPoint {
    let right = fit.predict(&val.x).eq_tensor(&val.y).to_kind(Kind::Double);
    GridPoint {
        lambda: fit.lambda,
        val_top1: right.mean(Kind::Double).double_value(&[]),
        objective: fit.objective,
        iterations: fit.iterations,
        converged: fit.converged,
    }
}

fn check(data: &TransferData) -> Result<()> {
    let TransferData { name, train, val, test, classes } = data;
    if *classes < 2 {
        return Err(Error::Config { key: "classes", found: classes.to_string(), expected: "at least 2" });
    }
    let parts = [
        (train, Part::TrainFeatures, Part::TrainTargets),
        (val, Part::ValFeatures, Part::ValTargets),
        (test, Part::TestFeatures, Part::TestTargets),
    ];
    let classes = *classes as i64;
    let (_, features) = matrix(name, Part::TrainFeatures, &train.x)?;
    for (part, x, y) in parts {
        let (rows, width) = matrix(name, x, &part.x)?;
        if width != features {
            return Err(shape(name, x, &part.x, format!("{features} columns, as the training features have")));
        }
        finite(name, x, &part.x)?;
        check_labels(name, y, &part.y, rows, classes)?;
    }
    let samples = train.y.size()[0];
    if samples < classes {
        return Err(Error::FewSamples { name: name.clone(), samples, classes });
    }
    every_class_occurs(name, Part::TrainTargets, &train.y, classes)?;
    every_class_occurs(name, Part::TestTargets, &test.y, classes)
}
