//! The regression probe finds the information that features contain, and nothing else.

use std::rc::Rc;

use eqr_models::test_device::{test_device, test_tensor};
use eqr_probes::mlp::{Fit, Precision, ProbeConfig, fit, fit_with_progress, permuted};
use eqr_probes::r2::constant_predictor;
use eqr_probes::redraw::{EpochPairs, PairDraw, Redraw, TargetOfPairs};
use eqr_probes::ridge;
use eqr_probes::{Error, Problem, TensorRole};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Kind, Tensor};

const TRAIN: i64 = 3000;
const TEST: i64 = 1000;

fn quick() -> ProbeConfig {
    ProbeConfig { hidden: 64, epochs: 20, batch: 64, ..ProbeConfig::default() }
}

/// Standard normal values.
fn normal(seed: u64, size: &[i64]) -> Tensor {
    let mut rng = Pcg64::seed_from_u64(seed);
    let count: i64 = size.iter().product();
    let mut one = || {
        let (u, v): (f64, f64) = (rng.gen_range(f64::MIN_POSITIVE..1.0), rng.r#gen());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    test_tensor(&(0..count).map(|_| one()).collect::<Vec<_>>()).view(size)
}

/// A problem from the features and targets of all rows. The last `TEST` rows are the test split.
fn problem(name: &str, x: &Tensor, t: &Tensor) -> Problem {
    let split = |t: &Tensor, start, length| t.narrow(0, start, length);
    Problem {
        name: name.into(),
        train_x: split(x, 0, TRAIN),
        train_t: split(t, 0, TRAIN),
        redraw: None,
        test_x: split(x, TRAIN, TEST),
        test_t: split(t, TRAIN, TEST),
    }
}

fn copy(p: &Problem) -> Problem {
    let [train_x, train_t, test_x, test_t] =
        [&p.train_x, &p.train_t, &p.test_x, &p.test_t].map(Tensor::shallow_clone);
    Problem {
        name: p.name.clone(),
        train_x,
        train_t,
        redraw: p.redraw.as_ref().map(Redraw::shallow_clone),
        test_x,
        test_t,
    }
}

fn per_output(fit: &Fit) -> f64 {
    fit.test.per_output.expect("targets vary")
}

/// For targets that are linear in the features, almost all of the variance is explained.
#[test]
fn linear_targets_are_found() {
    let x = normal(1, &[TRAIN + TEST, 16]);
    let t = x.matmul(&normal(2, &[16, 3])) * 5.0 + 7.0;
    let fits = fit(&[problem("linear", &x, &t)], &[0, 1], &quick()).unwrap();
    for fit in &fits[0] {
        assert!(per_output(fit) > 0.98, "{fit:?}");
        assert!(fit.train.per_output > fit.test.per_output, "{fit:?}");
    }
}

/// The target is a signal plus noise of equal variance. The best possible R2 is 1/2, and the probe comes
/// within 0.05 of it.
#[test]
fn noise_of_known_size_costs_what_theory_says() {
    let x = normal(3, &[TRAIN + TEST, 8]);
    let signal = x.narrow(1, 0, 1);
    let t = &signal + normal(4, &[TRAIN + TEST, 1]);
    let config = ProbeConfig { hidden: 32, epochs: 6, ..ProbeConfig::default() };
    let fits = fit(&[problem("noisy", &x, &t)], &[0, 1, 2], &config).unwrap();
    let clean = problem("noisy", &x, &signal);
    let ceiling =
        eqr_probes::r2::R2::new(&clean.test_t, &problem("noisy", &x, &t).test_t).unwrap().pooled.unwrap();
    assert!((ceiling - 0.5).abs() < 0.05, "the sample's own ceiling {ceiling}");
    for fit in &fits[0] {
        assert!((ceiling - 0.05..ceiling + 0.01).contains(&per_output(fit)), "{fit:?} against {ceiling}");
    }
}

/// A product of two features has no linear component, but the MLP can learn it.
#[test]
fn nonlinear_targets_are_found() {
    let x = normal(5, &[TRAIN + TEST, 4]).clamp(-2.0, 2.0);
    let t = x.narrow(1, 0, 1) * x.narrow(1, 1, 1);
    let fits = fit(&[problem("product", &x, &t)], &[0], &quick()).unwrap();
    assert!(per_output(&fits[0][0]) > 0.9, "{:?}", fits[0][0]);
}

/// With features that contain no information, R2 per output is at most 0.02.
#[test]
fn unrelated_targets_are_not_found() {
    let x = normal(6, &[TRAIN + TEST, 16]);
    let unrelated = problem("unrelated", &x, &normal(8, &[TRAIN + TEST, 2]));
    for fit in fit(&[unrelated], &[0, 1], &quick()).unwrap().iter().flatten() {
        assert!(per_output(fit) <= 0.02, "{fit:?}");
    }
}

/// Targets in random order. A single permutation of 3,000 rows correlates with the original targets by
/// chance. This changes the R2 of a target that the features determine by 2 / sqrt(3000) = 0.04. The mean
/// over ten permutations is at most 0.02.
#[test]
fn shuffled_targets_teach_nothing() {
    let x = normal(6, &[TRAIN + TEST, 16]);
    let t = x.matmul(&normal(7, &[16, 2]));
    let shuffled = |seed| {
        let intact = problem("shuffled", &x, &t);
        Problem { train_t: permuted(&intact.train_t, seed, 0), ..intact }
    };
    let problems: Vec<Problem> = (0..10).map(shuffled).collect();
    let fits = fit(&problems, &[0], &quick()).unwrap();
    let mean = fits.iter().map(|fits| per_output(&fits[0])).sum::<f64>() / 10.0;
    assert!(mean <= 0.02, "{mean}");
    let constant = constant_predictor(&problems[0].train_t, &problems[0].test_t).unwrap();
    assert!(constant.per_output.unwrap().abs() < 0.01);
}

/// The same target in other units: a t + b. The probe sees the same standardised numbers.
#[test]
fn r2_does_not_depend_on_the_unit_of_the_target() {
    let x = normal(22, &[TRAIN + TEST, 6]).to_kind(Kind::Double);
    let t = x.narrow(1, 0, 2).tanh() + normal(23, &[TRAIN + TEST, 2]).to_kind(Kind::Double) * 0.3;
    let maps = [(1.0, 0.0), (1e-3, 0.0), (57.3, 180.0), (100.0, 600.0), (1.0, 1e4), (10.0, 1.7e9)];
    let problems: Vec<Problem> = maps.iter().map(|(a, b)| problem("affine", &x, &(&t * *a + *b))).collect();
    let fits = fit(&problems, &[0], &quick()).unwrap();
    let reference = per_output(&fits[0][0]);
    assert!(reference > 0.5, "{reference}");
    for ((problem, fits), map) in problems.iter().zip(&fits).zip(maps) {
        assert!((per_output(&fits[0]) - reference).abs() < 2e-3, "{map:?}: {fits:?} against {reference}");
        let linear = [&problems[0], problem].map(|p| ridge::fit(p).unwrap().test.per_output.unwrap());
        assert!((linear[0] - linear[1]).abs() < 1e-6, "{map:?}: {linear:?}");
    }
}

/// Outputs of different sizes are learned alike.
#[test]
fn no_output_drowns_another() {
    let x = normal(24, &[TRAIN + TEST, 4]);
    let t = x.narrow(1, 0, 2).sin() * test_tensor(&[1e3f32, 1e-3]);
    let fits = fit(&[problem("two sizes", &x, &t)], &[0], &quick()).unwrap();
    for r2 in &fits[0][0].test.outputs {
        assert!(r2.unwrap() > 0.95, "{fits:?}");
    }
}

/// Pairs of 40 images with features (40, 3). The parameters are the differences of the features, and the test
/// target is the first of them.
fn drawn_anew(rows: i64, target: fn(&Tensor, u64) -> Tensor) -> Problem {
    let images = normal(25, &[40, 3]);
    let values = images.shallow_clone();
    let pairs: PairDraw = Rc::new(move |epoch| {
        let mut rng = Pcg64::seed_from_u64(epoch);
        let mut index = || test_tensor(&(0..rows).map(|_| rng.gen_range(0..40i64)).collect::<Vec<_>>());
        let (first, second) = (index(), index());
        let parameters = values.index_select(0, &second) - values.index_select(0, &first);
        EpochPairs { first, second, parameters }
    });
    let redraw = Redraw { images, pairs, target: Rc::new(target) };
    let [train, test] = [0, 1_000_000].map(|epoch| (redraw.pairs)(epoch));
    Problem {
        name: "drawn".into(),
        train_x: redraw.features(&train),
        train_t: redraw.targets(&train, 0),
        test_x: redraw.features(&test),
        test_t: test.parameters.narrow(1, 0, 1),
        redraw: Some(redraw),
    }
}

/// With 30 pairs, a probe that sees the same pairs in every epoch overfits. Drawn anew, they cover the
/// images.
#[test]
fn new_pairs_in_every_epoch_teach_more_than_the_same_pairs() {
    let config = ProbeConfig { hidden: 64, epochs: 150, batch: 15, ..ProbeConfig::default() };
    let product = |t: &Tensor, _: u64| t.narrow(1, 0, 1) * t.narrow(1, 1, 1);
    let anew = drawn_anew(30, product);
    let test = (anew.redraw.as_ref().unwrap().pairs)(1_000_000).parameters;
    let anew = Problem { test_t: product(&test, 0), ..anew };
    let same = Problem { redraw: None, ..copy(&anew) };
    let [anew, same] = [anew, same].map(|problem| per_output(&fit(&[problem], &[0], &config).unwrap()[0][0]));
    assert!(anew > same + 0.2, "{anew} {same}");
}

/// Problems that share their pairs score as each of them alone, beside problems whose pairs stay.
#[test]
fn redrawn_problems_score_as_single_ones() {
    let config = ProbeConfig { hidden: 16, epochs: 4, batch: 16, ..ProbeConfig::default() };
    let first = drawn_anew(60, |t, _| t.narrow(1, 0, 1));
    let squares: TargetOfPairs = Rc::new(|t, _| t.square());
    let redraw = Redraw { target: squares, ..first.redraw.as_ref().unwrap().shallow_clone() };
    let [train, test] = [0, 1_000_000].map(|epoch| (redraw.pairs)(epoch).parameters.square());
    let second = Problem { train_t: train, test_t: test, redraw: Some(redraw), ..copy(&first) };
    let fixed = Problem { train_x: first.train_x.copy(), redraw: None, ..copy(&first) };
    let problems = [first, second, fixed];
    let together = fit(&problems, &[0, 1], &config).unwrap();
    for (problem, found) in problems.iter().zip(&together) {
        for (seed, found) in [0, 1].into_iter().zip(found) {
            assert_close(found, &fit(&[copy(problem)], &[seed], &config).unwrap()[0][0]);
        }
    }
    assert_ne!(together[0][0], together[2][0]);
}

/// Targets that are permuted within the pairs of every epoch.
#[test]
fn redrawn_pairs_with_shuffled_targets_teach_nothing() {
    let config = ProbeConfig { hidden: 64, epochs: 20, batch: 64, ..ProbeConfig::default() };
    let problem = drawn_anew(2000, |t, epoch| permuted(&t.narrow(1, 0, 1), 0, epoch));
    let found = per_output(&fit(&[problem], &[0], &config).unwrap()[0][0]);
    assert!(found < 0.02, "{found}");
}

fn assert_close(a: &Fit, b: &Fit) {
    for (a, b) in [(&a.train, &b.train), (&a.test, &b.test)] {
        assert!((a.pooled.unwrap() - b.pooled.unwrap()).abs() < 1e-4, "{a:?} {b:?}");
        assert!((a.per_output.unwrap() - b.per_output.unwrap()).abs() < 1e-4, "{a:?} {b:?}");
        assert_eq!(a.outputs.len(), b.outputs.len());
    }
}

/// Problems of several widths, with shared and with separate features, are fitted together and one at a time.
/// With 3,000 rows, each epoch ends with a shorter batch.
#[test]
fn batched_problems_score_as_single_ones() {
    let x = normal(9, &[TRAIN + TEST, 12]);
    let other = normal(10, &[TRAIN + TEST, 12]);
    let wide = normal(11, &[TRAIN + TEST, 20]);
    let problems = [
        problem("a", &x, &x.narrow(1, 0, 1).sin()),
        problem("b", &wide, &wide.narrow(1, 0, 2).cos()),
        problem("c", &x, &x.narrow(1, 2, 4).abs()),
        problem("d", &other, &other.narrow(1, 0, 3).square()),
    ];
    let config = ProbeConfig { hidden: 24, epochs: 4, ..ProbeConfig::default() };
    let mut ticks = Vec::new();
    let together = fit_with_progress(Precision::Fp32, &problems, &[5, 6, 7], &config, &mut |done, of| {
        ticks.push((done, of))
    })
    .unwrap();
    assert_eq!(ticks, (1..=8).map(|done| (done, 8)).collect::<Vec<_>>());
    for (p, problem) in problems.iter().enumerate() {
        for (s, seed) in [5, 6, 7].into_iter().enumerate() {
            let alone = fit(&[copy(problem)], &[seed], &config).unwrap();
            assert_close(&together[p][s], &alone[0][0]);
        }
    }
}

#[test]
fn seeds_differ_and_repeat() {
    let x = normal(12, &[TRAIN + TEST, 6]);
    let problems = [problem("seeds", &x, &x.narrow(1, 0, 2).sin())];
    let config = ProbeConfig { hidden: 16, epochs: 2, ..ProbeConfig::default() };
    let first = fit(&problems, &[1, 2, 1], &config).unwrap();
    assert_close(&first[0][0], &first[0][2]);
    assert_ne!(first[0][0], first[0][1]);
    tch::manual_seed(99);
    let draw = Tensor::rand([4], (Kind::Float, test_device()));
    tch::manual_seed(99);
    assert_eq!(first, fit(&problems, &[1, 2, 1], &config).unwrap());
    assert!(Tensor::rand([4], (Kind::Float, test_device())).equal(&draw), "torch's generator was touched");
}

#[test]
fn fewer_rows_than_a_batch() {
    let x = normal(13, &[10, 3]);
    let t = x.narrow(1, 0, 1);
    let small = Problem {
        name: "small".into(),
        train_x: x.narrow(0, 0, 7),
        train_t: t.narrow(0, 0, 7),
        redraw: None,
        test_x: x.narrow(0, 7, 3),
        test_t: t.narrow(0, 7, 3),
    };
    let fits =
        fit(&[small], &[0], &ProbeConfig { epochs: 200, hidden: 16, ..ProbeConfig::default() }).unwrap();
    assert!(fits[0][0].train.per_output.unwrap() > 0.9, "{fits:?}");
}

#[test]
fn constant_targets_do_not_stop_the_others() {
    let x = normal(14, &[TRAIN + TEST, 4]);
    let constant = problem("constant", &x, &Tensor::ones([TRAIN + TEST, 1], (Kind::Float, test_device())));
    let fits = fit(&[constant, problem("linear", &x, &x.narrow(1, 0, 1))], &[0], &quick()).unwrap();
    assert_eq!((fits[0][0].test.per_output, fits[0][0].test.pooled), (None, None));
    assert!(per_output(&fits[1][0]) > 0.98, "{:?}", fits[1][0]);
}

/// Other floating kinds are accepted as input.
#[test]
fn double_features() {
    let x = normal(15, &[TRAIN + TEST, 4]).to_kind(Kind::Double);
    let fits = fit(&[problem("double", &x, &x.narrow(1, 0, 1))], &[0], &quick()).unwrap();
    assert!(per_output(&fits[0][0]) > 0.98, "{fits:?}");
}

#[test]
fn bad_input_names_the_problem() {
    let x = normal(16, &[TRAIN + TEST, 4]);
    let good = problem("fine", &x, &x.narrow(1, 0, 1));
    let fit_one = |p: Problem| fit(&[copy(&good), p], &[0], &quick()).unwrap_err();

    let broken = x.copy();
    let _ = broken.get(5).fill_(f64::NAN);
    let error = fit_one(problem("broken", &broken, &x.narrow(1, 0, 1)));
    assert!(matches!(error, Error::NonFinite { role: TensorRole::TrainFeatures, count: 4, .. }));
    assert!(error.to_string().contains("broken: training features hold 4 NaN"), "{error}");

    let short = Problem { train_t: good.train_t.narrow(0, 0, 10), name: "short".into(), ..copy(&good) };
    let error = fit_one(short);
    assert!(
        error.to_string().starts_with("short: training targets have shape [10, 1], expected 3000 rows"),
        "{error}"
    );

    let uneven = Problem { test_x: good.test_x.narrow(1, 0, 3), name: "uneven".into(), ..copy(&good) };
    assert!(matches!(fit_one(uneven), Error::Shape { role: TensorRole::TestFeatures, .. }));

    let flat = Problem { test_t: good.test_t.view(-1), name: "flat".into(), ..copy(&good) };
    assert!(matches!(fit_one(flat), Error::Shape { role: TensorRole::TestTargets, .. }));
}

#[test]
fn bad_configurations_name_the_key() {
    let x = normal(17, &[TRAIN + TEST, 4]);
    let problems = [problem("fine", &x, &x.narrow(1, 0, 1))];
    let with = |config: ProbeConfig| fit(&problems, &[0], &config).unwrap_err().to_string();
    assert!(with(ProbeConfig { hidden: 0, ..quick() }).contains("hidden = 0, expected at least 1"));
    assert!(with(ProbeConfig { epochs: 0, ..quick() }).contains("epochs = 0"));
    assert!(with(ProbeConfig { batch: 0, ..quick() }).contains("batch = 0"));
    assert!(with(ProbeConfig { lr: f64::NAN, ..quick() }).contains("lr = NaN"));
    assert!(matches!(fit(&problems, &[], &quick()), Err(Error::Empty { what: "probe seed" })));
    assert!(matches!(fit(&[], &[0], &quick()), Err(Error::Empty { what: "problem" })));
}

#[test]
fn divergence_names_problem_and_seed() {
    let x = normal(18, &[TRAIN + TEST, 4]);
    let wild = ProbeConfig { lr: 1e30, epochs: 3, hidden: 8, ..ProbeConfig::default() };
    let error = fit(&[problem("wild", &x, &x.narrow(1, 0, 1))], &[42], &wild).unwrap_err();
    assert!(matches!(error, Error::Diverged { ref name, seed: 42 } if name == "wild"), "{error}");
}

/// bfloat16 products change the R2 by less than 0.005.
#[test]
fn half_width_products_find_the_same() {
    let x = normal(20, &[TRAIN + TEST, 12]);
    let t = x.narrow(1, 0, 2).tanh() + normal(21, &[TRAIN + TEST, 2]) * 0.3;
    let problems = [problem("tanh", &x, &t)];
    let score = |precision| {
        per_output(
            &fit_with_progress(precision, &problems, &[0, 1, 2], &quick(), &mut |_, _| {}).unwrap()[0][0],
        )
    };
    let (whole, half) = (score(Precision::Fp32), score(Precision::Bf16));
    assert!(whole > 0.5 && (whole - half).abs() < 0.005 && whole != half, "{whole} {half}");
}
