//! No probe depends on the unit or the origin of a target or a feature.

use eqr_models::Solo;
use eqr_models::test_device::{test_device, test_tensor};
use eqr_probes::linear_classification::{ClassifyConfig, LabelledFeatures, classify};
use eqr_probes::logistic::{LogisticConfig, fit as logistic};
use eqr_probes::mlp::{self, ProbeConfig};
use eqr_probes::r2::{R2, constant_predictor};
use eqr_probes::transfer::{GridEnd, LabelledSplit, TransferData, transfer};
use eqr_probes::{Problem, ridge};
use rand::distributions::{Distribution, Uniform};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Kind, Tensor};

/// Values with mean 0 and variance 1.
fn noise(seed: u64, size: &[i64]) -> Tensor {
    let side = 3f64.sqrt();
    let count = size.iter().product::<i64>() as usize;
    let draws = Uniform::new(-side, side).sample_iter(Pcg64::seed_from_u64(seed)).take(count);
    test_tensor(&draws.collect::<Vec<f64>>()).view(size)
}

/// An affine map of each column.
#[derive(Debug, Clone)]
struct Affine {
    unit: Vec<f64>,
    origin: Vec<f64>,
}

impl Affine {
    fn apply(&self, x: &Tensor) -> Tensor {
        let row = |values: &[f64]| test_tensor(values).unsqueeze(0);
        (x + row(&self.origin)) * row(&self.unit)
    }
}

/// A map of `columns` columns: units of either sign over twelve decades, origins up to 1000 standard
/// deviations from the mean.
fn affine(draw: &mut Pcg64, columns: usize) -> Affine {
    let sign = |draw: &mut Pcg64| if draw.r#gen() { -1.0 } else { 1.0 };
    let unit = (0..columns).map(|_| sign(draw) * 10f64.powf(draw.gen_range(-6.0..6.0))).collect();
    Affine { unit, origin: (0..columns).map(|_| draw.gen_range(-1e3..1e3)).collect() }
}

const FEATURES: usize = 6;
const OUTPUTS: usize = 3;

/// Features and targets of 120 training and 80 test rows. The targets are partly explained.
fn data() -> (Tensor, Tensor) {
    let x = noise(1, &[200, FEATURES as i64]);
    let t = x.matmul(&noise(2, &[FEATURES as i64, OUTPUTS as i64])) + noise(3, &[200, OUTPUTS as i64]);
    (x, t)
}

fn problem(x: &Tensor, t: &Tensor) -> Problem {
    let rest = |t: &Tensor| t.narrow(0, 120, 80);
    let (train_x, train_t) = (x.narrow(0, 0, 120), t.narrow(0, 0, 120));
    Problem { name: "angle".into(), train_x, train_t, redraw: None, test_x: rest(x), test_t: rest(t) }
}

fn linear(x: &Tensor, t: &Tensor) -> Vec<f64> {
    let fit = ridge::fit(&problem(x, t)).unwrap();
    fit.test.outputs.into_iter().chain(fit.train.outputs).map(Option::unwrap).collect()
}

fn neural(x: &Tensor, t: &Tensor) -> Vec<f64> {
    let config = ProbeConfig { hidden: 32, epochs: 20, batch: 32, lr: 1e-3 };
    let fit = mlp::fit(&[problem(x, t)], &[0], &config).unwrap().remove(0).remove(0);
    fit.test.outputs.into_iter().chain(fit.train.outputs).map(Option::unwrap).collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Runs `case` on `count` pairs of maps, of the features and of the targets.
fn for_maps(count: u64, case: impl Fn(&Affine, &Affine)) {
    for seed in 0..count {
        let mut draw = Pcg64::seed_from_u64(seed);
        let (on_x, on_t) = (affine(&mut draw, FEATURES), affine(&mut draw, OUTPUTS));
        case(&on_x, &on_t);
    }
}

#[test]
fn ridge_is_the_same_in_every_unit() {
    let (x, t) = data();
    let plain = linear(&x, &t);
    for_maps(64, |on_x, on_t| {
        let off = largest_difference(&plain, &linear(&on_x.apply(&x), &on_t.apply(&t)));
        assert!(off < 1e-9, "R2 differ by {off}: {on_x:?} {on_t:?}");
    });
}

#[test]
fn the_constant_predictor_is_the_same_in_every_unit() {
    let (_, t) = data();
    let of = |t: &Tensor| constant_predictor(&t.narrow(0, 0, 120), &t.narrow(0, 120, 80)).unwrap();
    let outputs = |r2: R2| r2.outputs.into_iter().map(Option::unwrap).collect::<Vec<f64>>();
    let plain = outputs(of(&t));
    for_maps(64, |_, on_t| {
        assert!(largest_difference(&plain, &outputs(of(&on_t.apply(&t)))) < 1e-9, "{on_t:?}");
    });
}

/// Signs are left alone: the weights that a network starts from are not symmetric.
#[test]
fn the_mlp_is_the_same_in_every_unit() {
    let upright =
        |map: &Affine| Affine { unit: map.unit.iter().map(|unit| unit.abs()).collect(), ..map.clone() };
    let (x, t) = data();
    let plain = neural(&x, &t);
    for_maps(16, |on_x, on_t| {
        let off = largest_difference(&plain, &neural(&upright(on_x).apply(&x), &upright(on_t).apply(&t)));
        assert!(off < 1e-3, "R2 differ by {off}: {on_x:?} {on_t:?}");
    });
}

/// One unit for all features and lambda times its square, an origin for each: the same problem.
#[test]
fn logistic_fits_are_the_same_in_every_unit() {
    let (x, t) = data();
    let y = t.argmax(1, false);
    let of = |x: &Tensor, unit: f64| {
        let lambdas = [1e-3, 1.0, 1e3, 1e12].map(|lambda: f64| lambda * unit * unit);
        logistic("units", x, &y, OUTPUTS as i64, &lambdas, &LogisticConfig::default()).unwrap()
    };
    let plain = of(&x, 1.0);
    for_maps(16, |map, _| {
        let unit = map.unit[0].powi(5);
        let mapped = Affine { unit: vec![unit; FEATURES], ..map.clone() }.apply(&x);
        for (a, b) in plain.iter().zip(of(&mapped, unit)) {
            assert!((a.objective / b.objective - 1.0).abs() < 3e-6, "{} {}", a.objective, b.objective);
            let equal = a.predict(&x).eq_tensor(&b.predict(&mapped)).to_kind(Kind::Double);
            let equal = equal.mean(Kind::Double).double_value(&[]);
            assert!(
                equal > 0.98,
                "lambda {}: {equal} of the predictions are equal in units of {unit}",
                a.lambda
            );
        }
    });
}

/// Targets in seconds since 1970, in every unit that the reports named.
#[test]
fn times_and_degrees() {
    let (x, t) = data();
    let (ridge, mlp) = (linear(&x, &t), neural(&x, &t));
    for (unit, origin) in [(180.0, 180.0), (100.0, 600.0), (1.0, 1e4), (1e-3, 0.0), (86_400.0, 1.7e9)] {
        let mapped = &t * unit + origin;
        let off = largest_difference(&ridge, &linear(&x, &mapped));
        assert!(off < 1e-9, "ridge at {unit}, {origin}: {off}");
        let off = largest_difference(&mlp, &neural(&x, &mapped));
        assert!(off < 1e-3, "MLP at {unit}, {origin}: {off}");
    }
}

/// Three overlapping classes, (240, 2) and labels (240).
fn three_classes() -> (Tensor, Tensor) {
    let y = Tensor::arange(240, (Kind::Int64, test_device())).remainder(3);
    let centres = test_tensor(&[3.0, 0.0, 0.0, 3.0, -3.0, -3.0]).view([3, 2]);
    (centres.index_select(0, &y) + noise(7, &[240, 2]) * 1.5, y)
}

/// Units are powers of two, so that no feature is rounded. The last one makes features of deviation 5e-9.
#[test]
fn classification_is_the_same_in_every_unit() {
    let (x, y) = three_classes();
    let of = |unit: f64| {
        let split = |start: i64| LabelledSplit {
            x: (x.narrow(0, start, 80) * unit).to_kind(Kind::Float),
            y: y.narrow(0, start, 80),
        };
        let data = TransferData {
            name: "unit".into(),
            train: split(0),
            val: split(80),
            test: split(160),
            shifted: None,
            classes: 3,
        };
        let found = transfer(&data, &LogisticConfig::default(), &Solo, &mut |_, _| {}).unwrap();
        let data = LabelledFeatures {
            name: "unit".into(),
            train_x: split(0).x,
            train_y: split(0).y,
            test_x: split(160).x,
            test_y: split(160).y,
            views: 1,
            classes: 3,
        };
        let config = ClassifyConfig { epochs: 100, batch: 16, lr: 1e-2 };
        let on_validation: Vec<f64> = found.grid.iter().map(|point| point.val_top1).collect();
        let linear = classify(&data, &[0], &config).unwrap()[0].test;
        (found.accuracy.top1, found.knn.top1, found.lambda, on_validation, linear)
    };
    let plain = of(1.0);
    assert!(plain.0 > 0.85 && plain.1 > 0.8 && plain.4 > 0.8, "{plain:?}");
    assert!(plain.3.iter().any(|&top1| top1 < plain.0 - 0.1), "the strength makes no difference: {plain:?}");
    for unit in [66, 20, -20, -28].map(|power| 2f64.powi(power)) {
        assert_eq!(of(unit), plain, "features times {unit}");
    }
}

#[test]
fn an_end_of_the_grid_is_recognised() {
    let ends = [1.0, 1e-6, 1e5].map(GridEnd::of);
    assert_eq!(ends, [None, Some(GridEnd::Weakest), Some(GridEnd::Strongest)]);
}
