//! Linear transfer (protocol section 5): logistic regression on frozen features, its strength chosen on the validation part,
//! fitted again to training and validation together, and one number on the test part; nearest neighbours beside it.

use crate::error::{Error, Part, Result};
use crate::knn;
use crate::labels::{Accuracy, check_labels, every_class_occurs};
use crate::logistic::{Logistic, LogisticConfig, fit_grid, grid};
use crate::standardise::{finite, matrix, shape};
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

/// Runs the protocol on `data`. `progress` is told how many of the grid's fits have ended, and of how many.
///
/// # Errors
/// Shapes that do not fit, NaN or infinite features, labels outside 0..C, fewer than two classes, fewer training samples than
/// classes, a class without a training or a test sample.
pub fn transfer(
    data: &TransferData,
    config: &LogisticConfig,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Transfer> {
    check(data)?;
    let classes = data.classes as i64;
    let lambdas = grid();
    let mut tick = |ended: usize| progress(ended, lambdas.len());
    let fits = fit_grid(&data.train.x, &data.train.y, classes, &lambdas, None, config, &mut tick);
    let points: Vec<GridPoint> = fits.iter().map(|fit| point(fit, &data.val)).collect();
    let best = (0..points.len()).max_by(|&a, &b| points[a].val_top1.total_cmp(&points[b].val_top1)).expect("a grid");
    let both =
        Labelled { x: Tensor::cat(&[&data.train.x, &data.val.x], 0), y: Tensor::cat(&[&data.train.y, &data.val.y], 0) };
    let chosen = [lambdas[best]];
    let refit = fit_grid(&both.x, &both.y, classes, &chosen, Some(&fits[best]), config, &mut |_| {});
    let score = |predicted: &Tensor| Accuracy::of(&data.name, Part::TestTargets, predicted, &data.test.y, classes);
    Ok(Transfer {
        accuracy: score(&refit[0].predict(&data.test.x))?,
        lambda: lambdas[best],
        knn: score(&knn::vote(&both.x, &both.y, &data.test.x, classes))?,
        grid: points,
    })
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
