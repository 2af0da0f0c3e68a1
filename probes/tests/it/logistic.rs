//! Compares the batched logistic regression with scikit-learn and linfa, and tests the transfer protocol on
//! any number of ranks.

use eqr_models::Solo;
use eqr_models::test_device::{test_device, test_tensor};
use eqr_models::thread_team::{Sums, run_on_threads};
use eqr_probes::logistic::{LogisticConfig, fit, grid};
use eqr_probes::transfer::{LabelledSplit, TransferData, transfer};
use eqr_probes::{Error, TensorRole};
use linfa::prelude::*;
use linfa_logistic::MultiLogisticRegression;
use ndarray::{Array1, Array2};
use serde_json::Value;
use tch::{Kind, Tensor};

/// Results of `scripts/reference/logistic.py`: features, labels, the number of training rows, and the fits.
struct Reference {
    x: Vec<Vec<f64>>,
    y: Vec<i64>,
    train: i64,
    fits: Vec<Value>,
}

const CLASSES: i64 = 5;

fn reference() -> Reference {
    let all: Value = serde_json::from_str(include_str!("reference/logistic.json")).unwrap();
    Reference {
        x: serde_json::from_value(all["x"].clone()).unwrap(),
        y: serde_json::from_value(all["y"].clone()).unwrap(),
        train: all["train"].as_i64().unwrap(),
        fits: all["fits"].as_array().unwrap().clone(),
    }
}

impl Reference {
    /// Rows `start..end`.
    fn part(&self, start: i64, end: i64) -> LabelledSplit {
        let x = Tensor::from_slice2(&self.x).to_device(test_device()).to_kind(Kind::Float).narrow(
            0,
            start,
            end - start,
        );
        LabelledSplit { x, y: test_tensor(&self.y).narrow(0, start, end - start) }
    }

    fn rows(&self) -> i64 {
        self.y.len() as i64
    }
}

fn agreement(a: &[i64], b: &[i64]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}

/// Objectives are at most the asked 1e-6 above the optimum, and predictions agree to 0.5%, across the whole
/// grid, on features whose scales span three decades.
#[test]
fn agrees_with_scikit_learn() {
    let reference = reference();
    let (train, test) =
        (reference.part(0, reference.train), reference.part(reference.train, reference.rows()));
    let lambdas: Vec<f64> = reference.fits.iter().map(|fit| fit["lambda"].as_f64().unwrap()).collect();
    let fits = fit("reference", &train.x, &train.y, CLASSES, &lambdas, &LogisticConfig::default()).unwrap();
    assert_eq!(fits.len(), 6);
    for (found, expected) in fits.iter().zip(&reference.fits) {
        let objective = expected["objective"].as_f64().unwrap();
        let off = found.objective / objective - 1.0;
        assert!(
            (-1e-7..1e-6).contains(&off) && found.converged,
            "lambda {}: {} is {off:.1e} above {objective}",
            found.lambda,
            found.objective
        );
        let theirs: Vec<i64> = serde_json::from_value(expected["predicted"].clone()).unwrap();
        let ours: Vec<i64> = Vec::try_from(found.predict(&test.x)).unwrap();
        assert!(agreement(&ours, &theirs) >= 0.995, "lambda {}: {}", found.lambda, agreement(&ours, &theirs));
    }
}

/// linfa-logistic has the same objective. Both make the same predictions on standardised features, which
/// linfa needs.
#[test]
fn agrees_with_linfa() {
    let reference = reference();
    let standard = {
        let x = Tensor::from_slice2(&reference.x).to_device(test_device());
        let (std, mean) = x.std_mean_dim(&[0i64][..], true, true);
        (x - mean) / std
    };
    let (n, d) = (reference.train as usize, standard.size()[1] as usize);
    let values: Vec<f64> = Vec::try_from(standard.view([-1])).unwrap();
    let all = Array2::from_shape_vec((values.len() / d, d), values).unwrap();
    let y = test_tensor(&reference.y);
    let train = standard.narrow(0, 0, reference.train);
    for lambda in [1e-2, 1.0, 30.0] {
        let labels = Array1::from_iter(reference.y[..n].iter().map(|&label| label as usize));
        let dataset = DatasetBase::new(all.slice(ndarray::s![..n, ..]).to_owned(), labels);
        let linfa = MultiLogisticRegression::default()
            .alpha(lambda)
            .max_iterations(500)
            .gradient_tolerance(1e-6)
            .fit(&dataset)
            .unwrap();
        let theirs: Vec<i64> = linfa
            .predict(&all.slice(ndarray::s![n.., ..]).to_owned())
            .iter()
            .map(|&class| class as i64)
            .collect();
        let ours = fit(
            "linfa",
            &train,
            &y.narrow(0, 0, reference.train),
            CLASSES,
            &[lambda],
            &LogisticConfig::default(),
        );
        let test = standard.narrow(0, reference.train, reference.rows() - reference.train);
        let ours: Vec<i64> = Vec::try_from(ours.unwrap()[0].predict(&test)).unwrap();
        assert!(agreement(&ours, &theirs) >= 0.995, "lambda {lambda}: {}", agreement(&ours, &theirs));
    }
}

/// A fit does not depend on the other problems in its batch.
#[test]
fn problems_of_a_batch_are_independent() {
    let reference = reference();
    let train = reference.part(0, reference.train);
    let config = LogisticConfig::default();
    let together = fit("all", &train.x, &train.y, CLASSES, &[1e-3, 1.0, 1e3], &config).unwrap();
    for lone in &together {
        let alone = &fit("one", &train.x, &train.y, CLASSES, &[lone.lambda], &config).unwrap()[0];
        assert!(
            (alone.objective / lone.objective - 1.0).abs() < 1e-5,
            "{} {}",
            alone.objective,
            lone.objective
        );
    }
}

/// Two separable classes. With almost no penalty, the loss approaches zero.
#[test]
fn separable_classes() {
    let x = Tensor::arange(40, (Kind::Float, test_device())).view([40, 1]) - 19.5;
    let y = x.gt(0.0).to_kind(Kind::Int64).view([40]);
    let fits = fit("line", &x, &y, 2, &[1e-6, 1e5], &LogisticConfig::default()).unwrap();
    assert!(fits[0].objective < 1e-2 && fits[0].objective > 0.0, "{}", fits[0].objective);
    assert!(fits[0].predict(&x).equal(&y));
    assert!(
        fits[1].weight.abs().max().double_value(&[]) < 1e-2,
        "the strongest penalty leaves almost no weight"
    );
    // with zero weights, the bias predicts the class frequencies: log 2 per row
    assert!((fits[1].objective / (40.0 * 2f64.ln()) - 1.0).abs() < 0.1);
}

#[test]
fn the_grid_is_the_protocols() {
    let grid = grid();
    assert_eq!(grid.len(), 45);
    assert!((grid[0] / 1e-6 - 1.0).abs() < 1e-12 && (grid[44] / 1e5 - 1.0).abs() < 1e-12);
    assert!(grid.windows(2).all(|pair| ((pair[1] / pair[0]).log10() - 0.25).abs() < 1e-12));
}

fn parts(reference: &Reference) -> TransferData {
    TransferData {
        name: "birds".into(),
        train: reference.part(0, 250),
        val: reference.part(250, reference.train),
        test: reference.part(reference.train, reference.rows()),
        shifted: None,
        classes: CLASSES as usize,
    }
}

/// The strength is the best one on the validation split, in units of the mean variance of the training
/// features. The fit uses training and validation data, and the score is computed on the test split.
#[test]
fn transfer_follows_the_protocol() {
    let reference = reference();
    let config = LogisticConfig::default();
    let mut ticks = Vec::new();
    let found =
        transfer(&parts(&reference), &config, &Solo, &mut |done, all| ticks.push((done, all))).unwrap();
    assert_eq!(ticks.last(), Some(&(45, 45)));
    let best = found.grid.iter().map(|point| point.val_top1).fold(0.0, f64::max);
    let strongest = found.grid.iter().rev().find(|point| point.val_top1 == best).unwrap();
    assert_eq!(found.lambda, strongest.lambda);
    let (both, test) =
        (reference.part(0, reference.train), reference.part(reference.train, reference.rows()));
    let train = parts(&reference).train.x.to_kind(Kind::Double);
    let unit = train.var_dim([0i64].as_slice(), false, false).mean(Kind::Double).double_value(&[]);
    let refit = &fit("refit", &both.x, &both.y, CLASSES, &[found.lambda * unit], &config).unwrap()[0];
    let right =
        refit.predict(&test.x).eq_tensor(&test.y).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    assert!((found.accuracy.top1 - right).abs() <= 0.005, "{} {right}", found.accuracy.top1);
    assert!(found.accuracy.top1 > 0.5 && found.knn.top1 > 0.25, "{found:?}");
}

/// This includes more ranks than chains.
#[test]
fn ranks_change_nothing() {
    let reference = reference();
    let config = LogisticConfig::default();
    let alone = transfer(&parts(&reference), &config, &Solo, &mut |_, _| {}).unwrap();
    for ranks in [2, 3, 4] {
        for found in run_on_threads(ranks, Sums::AtOnce, |ranks| {
            transfer(&parts(&reference), &config, ranks, &mut |_, _| {}).unwrap()
        }) {
            assert_eq!((&found.accuracy, found.lambda), (&alone.accuracy, alone.lambda), "{ranks} ranks");
            assert_eq!(found.knn, alone.knn);
            assert_eq!(found.grid.len(), 45);
            for (a, b) in found.grid.iter().zip(&alone.grid) {
                assert_eq!(
                    (a.lambda, a.val_top1, a.converged),
                    (b.lambda, b.val_top1, b.converged),
                    "{ranks} ranks"
                );
                assert!((a.objective - b.objective).abs() <= 1e-4 * b.objective.abs(), "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn bad_input_is_refused() {
    let reference = reference();
    let refused = |change: &dyn Fn(&mut TransferData)| {
        let mut data = parts(&reference);
        change(&mut data);
        transfer(&data, &LogisticConfig::default(), &Solo, &mut |_, _| {}).unwrap_err()
    };
    assert!(matches!(refused(&|d| d.classes = 1), Error::Config { key: "classes", .. }));
    assert!(matches!(
        refused(&|d| d.classes = 4),
        Error::Labels { role: TensorRole::TrainTargets, max: 4, .. }
    ));
    assert!(matches!(
        refused(&|d| d.classes = 6),
        Error::EmptyClasses { role: TensorRole::TrainTargets, .. }
    ));
    assert!(matches!(refused(&|d| d.classes = 600), Error::FewSamples { samples: 250, .. }));
    assert!(matches!(
        refused(&|d| d.val.y = d.val.y.narrow(0, 0, 3)),
        Error::Shape { role: TensorRole::ValTargets, .. }
    ));
    assert!(matches!(
        refused(&|d| d.test.x = d.test.x.narrow(1, 0, 3)),
        Error::Shape { role: TensorRole::TestFeatures, .. }
    ));
}
