//! Compares the closed-form probe with scikit-learn and with theory.

use eqr_models::test_device::{test_device, test_tensor};
use eqr_probes::ridge::{Ridge, fit};
use eqr_probes::{Error, Problem, TensorRole};
use rand::SeedableRng;
use rand::distributions::{Distribution, Uniform};
use rand_pcg::Pcg64;
use serde_json::Value;
use tch::{Kind, Tensor};

/// Values with mean 0 and variance 1.
fn noise(seed: u64, size: &[i64]) -> Tensor {
    let side = 3f64.sqrt();
    let count = size.iter().product::<i64>() as usize;
    let draws = Uniform::new(-side, side).sample_iter(Pcg64::seed_from_u64(seed)).take(count);
    test_tensor(&draws.collect::<Vec<f64>>()).view(size)
}

/// A problem whose training split is the first `train` rows of `x` and `t`. The other rows are the test
/// split.
fn problem(train: i64, x: &Tensor, t: &Tensor) -> Problem {
    let rest = |t: &Tensor| t.narrow(0, train, t.size()[0] - train);
    let (train_x, train_t) = (x.narrow(0, 0, train), t.narrow(0, 0, train));
    Problem { name: "rotation".into(), train_x, train_t, redraw: None, test_x: rest(x), test_t: rest(t) }
}

/// A list of rows as a tensor of this kind.
fn rows(value: &Value, kind: Kind) -> Tensor {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Tensor::from_slice2(&rows).to_device(test_device()).to_kind(kind)
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// Results of `scripts/reference/ridge.py` on tall features, wide features, rank-deficient features with a
/// constant column, and fewer rows than features with doubles among them.
#[test]
fn agrees_with_scikit_learn() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("reference/ridge.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let name = &case["name"];
        let problem = problem(
            case["rows"].as_i64().unwrap(),
            &rows(&case["x"], Kind::Float),
            &rows(&case["t"], Kind::Float),
        );
        let ridge = Ridge::fit("reference", &problem.train_x, &problem.train_t).unwrap();
        let lambdas: Vec<f64> = serde_json::from_value(case["lambda"].clone()).unwrap();
        for (found, expected) in ridge.lambda.iter().zip(&lambdas) {
            assert!((found / expected - 1.0).abs() < 1e-12, "{name}: {:?} {lambdas:?}", ridge.lambda);
        }
        let off = worst(&ridge.predict(&problem.test_x), &rows(&case["predictions"], Kind::Double));
        assert!(off < 1e-9, "{name}: predictions off by {off}");
        let fit = fit(&problem).unwrap();
        assert!((fit.test.pooled.unwrap() - case["r2_pooled"].as_f64().unwrap()).abs() < 1e-9, "{name}");
        assert!(
            (fit.test.per_output.unwrap() - case["r2_per_output"].as_f64().unwrap()).abs() < 1e-9,
            "{name}"
        );
    }
}

/// R2 is 1 for a target that is linear in the features, regardless of their scale. It is 1/2 with noise of
/// equal variance, and 0 for an unrelated target.
#[test]
fn scores_are_as_theory_says() {
    let x = noise(1, &[6000, 12]) * 1e-3 + 40.0;
    let signal = (&x - 40.0).matmul(&noise(2, &[12, 1])) * 1e3;
    let size = signal.std(true);
    let t = Tensor::cat(&[&signal, &(&signal + noise(3, &[6000, 1]) * &size), &noise(4, &[6000, 1])], 1);
    let fit = fit(&problem(4000, &x, &t)).unwrap();
    let r2: Vec<f64> = fit.test.outputs.iter().map(|r2| r2.unwrap()).collect();
    assert!(r2[0] > 1.0 - 1e-9, "{r2:?}");
    assert!((r2[1] - 0.5).abs() < 0.03, "{r2:?}");
    assert!(r2[2].abs() < 0.01, "{r2:?}");
    assert!(fit.lambda[2] > fit.lambda[0], "noise asks for the stronger shrinkage: {:?}", fit.lambda);
}

/// N = D is solved by the dual, N = D + 1 by the normal equations. Both satisfy the ridge equation X'(y - Xw)
/// = lambda w on standardised features.
#[test]
fn both_forms_solve_the_same_equation() {
    for n in [20, 21, 60] {
        let (x, t) = (noise(5, &[n, 20]), noise(6, &[n, 2]));
        let ridge = Ridge::fit("forms", &x, &t).unwrap();
        let (std, mean) = x.std_mean_dim(&[0i64][..], false, true);
        let z = (&x - mean) / std;
        let residual = &t - ridge.predict(&x);
        let slope = z.tr().matmul(&residual);
        // predictions of the standardised unit vectors are the weights plus the intercept
        let intercept = t.mean_dim(&[0i64][..], true, Kind::Double);
        let fitted = ridge.predict(&x) - &intercept;
        let weights = slope / test_tensor(&ridge.lambda);
        assert!(worst(&z.matmul(&weights), &fitted) < 1e-6 * fitted.abs().max().double_value(&[]), "N = {n}");
    }
}

/// Thirty copies of three columns, and a column that differs only between the splits, do not change the
/// result.
#[test]
fn redundant_and_dead_columns_are_harmless() {
    let x = noise(7, &[300, 3]);
    let t = &x.narrow(1, 0, 1) * 2.0 + noise(8, &[300, 1]) * 0.1;
    let lone = fit(&problem(200, &x, &t)).unwrap().test.per_output.unwrap();
    let still = Tensor::cat(
        &[
            Tensor::full([200, 1], 5.0, (Kind::Double, test_device())),
            Tensor::full([100, 1], 9.0, (Kind::Double, test_device())),
        ],
        0,
    );
    let wide = Tensor::cat(&[x.repeat([1, 30]), still], 1);
    let copied = fit(&problem(200, &wide, &t)).unwrap().test.per_output.unwrap();
    assert!((lone - copied).abs() < 1e-3, "{lone} {copied}");
}

#[test]
fn bad_input_is_refused() {
    let (x, t) = (noise(9, &[10, 2]), noise(10, &[10, 1]));
    let refused = |x: &Tensor, t: &Tensor| Ridge::fit("color", x, t).map(|_| ()).unwrap_err();
    assert!(matches!(refused(&x, &t.narrow(0, 0, 9)), Error::Shape { role: TensorRole::TrainTargets, .. }));
    assert!(matches!(
        refused(&x.narrow(0, 0, 2), &t.narrow(0, 0, 2)),
        Error::Shape { role: TensorRole::TrainFeatures, .. }
    ));
    let hole = x.copy();
    let _ = hole.get(3).fill_(f64::NAN);
    let error = refused(&hole, &t);
    assert!(
        matches!(error, Error::NonFinite { count: 2, .. }) && error.to_string().starts_with("color"),
        "{error}"
    );
}

/// Fewer rows than features, and one row doubled with another target: the linear probe must not interpolate
/// noise. Generalised cross-validation chose the weakest penalty here, because its error is 0 / 0 as soon as
/// the fit passes through every row but two.
#[test]
fn a_doubled_row_does_not_choose_the_weakest_penalty() {
    let (features, train) = (60, 40);
    let x = noise(12, &[train + 200, features]);
    x.narrow(0, 1, 1).copy_(&x.narrow(0, 0, 1));
    let t = noise(13, &[train + 200, 1]);
    let alone = fit(&problem(train, &x, &t)).unwrap();
    assert!(alone.lambda[0] >= 0.1 * train as f64, "{:?}", alone.lambda);
    assert!(alone.test.per_output.unwrap() > -0.4, "{:?}", alone.test);
    // every row twice is the same problem, with twice the rows
    let both = |t: &Tensor| {
        let train = t.narrow(0, 0, train);
        Tensor::cat(&[&train, &train, &t.narrow(0, 40, 200)], 0)
    };
    let twice = fit(&problem(2 * train, &both(&x), &both(&t))).unwrap();
    assert!((twice.lambda[0] / alone.lambda[0] - 2.0).abs() < 1e-9, "{:?} {:?}", twice.lambda, alone.lambda);
    assert!((twice.test.per_output.unwrap() - alone.test.per_output.unwrap()).abs() < 1e-9);
}

/// R2 is undefined for a constant target.
#[test]
fn a_constant_target_has_no_r2() {
    let fit = fit(&problem(8, &noise(11, &[12, 2]), &Tensor::ones([12, 1], (Kind::Double, test_device()))))
        .unwrap();
    assert_eq!((fit.test.pooled, fit.test.per_output), (None, None));
}
