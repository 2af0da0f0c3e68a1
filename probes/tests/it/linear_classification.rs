//! Tests the linear classification probe on separable classes, noise, several views and invalid input.

use eqr_models::test_device::{test_device, test_tensor};
use eqr_probes::linear_classification::{ClassifyConfig, LabelledFeatures, classify, classify_with_progress};
use eqr_probes::{Error, TensorRole};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Kind, Tensor};

const CLASSES: usize = 5;

fn quick() -> ClassifyConfig {
    ClassifyConfig { epochs: 30, ..ClassifyConfig::default() }
}

/// Units whose classes cycle through `CLASSES`. Each has `views` rows of 10 features: the direction of its
/// class times `signal`, plus uniform noise in [-1, 1] for each view.
fn features(seed: u64, units: i64, views: i64, signal: f64) -> (Tensor, Tensor) {
    let mut rng = Pcg64::seed_from_u64(seed);
    let noise: Vec<f32> = (0..units * views * 10).map(|_| rng.gen_range(-1.0..1.0)).collect();
    let labels: Vec<i64> = (0..units * views).map(|row| row / views % CLASSES as i64).collect();
    let labels = test_tensor(&labels);
    let direction = labels.one_hot(CLASSES as i64).to_kind(Kind::Float).constant_pad_nd([2, 3]) * signal;
    (test_tensor(&noise).view([-1, 10]) + direction, labels)
}

fn data(views: usize, signal: f64) -> LabelledFeatures {
    let (train_x, train_y) = features(1, 600, views as i64, signal);
    let (test_x, test_y) = features(2, 1000, 1, signal);
    LabelledFeatures { name: "blobs".into(), train_x, train_y, test_x, test_y, views, classes: CLASSES }
}

#[test]
fn default_is_the_protocols() {
    assert_eq!(ClassifyConfig::default(), ClassifyConfig { epochs: 300, batch: 256, lr: 1e-3 });
}

#[test]
fn separable_classes_are_separated() {
    let config = ClassifyConfig { epochs: 300, ..quick() };
    for top1 in classify(&data(1, 3.0), &[0, 1], &config).unwrap() {
        assert!(top1.train > 0.99 && top1.test > 0.99, "{top1:?}");
    }
}

#[test]
fn noise_stays_at_chance() {
    for top1 in classify(&data(1, 0.0), &[0, 1, 2], &quick()).unwrap() {
        assert!((0.14..0.26).contains(&top1.test), "{top1:?}");
    }
}

/// Each epoch uses one view of a unit, and all views are used over the epochs. Training on eight noisy views
/// gives a higher accuracy than training on one.
#[test]
fn views_are_all_used() {
    let config = ClassifyConfig { epochs: 200, ..quick() };
    let many = classify(&data(8, 0.7), &[0], &config).unwrap()[0];
    let full = data(8, 0.7);
    let first = Tensor::arange_start_step(0, 4800, 8, (Kind::Int64, test_device()));
    let (train_x, train_y) = (full.train_x.index_select(0, &first), full.train_y.index_select(0, &first));
    let one = classify(&LabelledFeatures { train_x, train_y, views: 1, ..full }, &[0], &config).unwrap()[0];
    assert!(many.test > one.test, "{many:?} {one:?}");
    assert!(many.train - many.test < one.train - one.test, "{many:?} {one:?}");
}

#[test]
fn seeds_train_together_as_alone_and_repeat() {
    let data = data(3, 0.6);
    let config = ClassifyConfig { epochs: 3, ..quick() };
    let mut ticks = 0;
    let together = classify_with_progress(&data, &[4, 5, 6], &config, &mut |_, of| {
        assert_eq!(of, 3);
        ticks += 1;
    })
    .unwrap();
    assert_eq!(ticks, 3);
    assert_eq!(together, classify(&data, &[4, 5, 6], &config).unwrap());
    assert!(together[0] != together[1] || together[1] != together[2], "{together:?}");
    for (s, seed) in [4, 5, 6].into_iter().enumerate() {
        let alone = classify(&data, &[seed], &config).unwrap()[0];
        assert!((alone.test - together[s].test).abs() < 2e-3, "{alone:?} {together:?}");
    }
}

#[test]
fn bad_input_names_the_data() {
    let refused = |data: LabelledFeatures| classify(&data, &[0], &quick()).unwrap_err();

    let error = refused(LabelledFeatures { classes: 4, ..data(1, 1.0) });
    assert!(matches!(
        error,
        Error::Labels { role: TensorRole::TrainTargets, min: 0, max: 4, classes: 4, .. }
    ));
    assert!(error.to_string().starts_with("blobs: training targets lie in 0..=4, expected 0..4"), "{error}");

    assert!(matches!(
        refused(LabelledFeatures { classes: 1, ..data(1, 1.0) }),
        Error::Config { key: "classes", .. }
    ));
    let uneven = LabelledFeatures { views: 7, ..data(1, 1.0) };
    assert!(matches!(refused(uneven), Error::Shape { role: TensorRole::TrainFeatures, .. }));
    let fine = data(1, 1.0);
    let short = LabelledFeatures { test_y: fine.test_y.narrow(0, 0, 10), ..fine };
    assert!(matches!(refused(short), Error::Shape { role: TensorRole::TestTargets, .. }));
    let fine = data(1, 1.0);
    let floats = LabelledFeatures { test_y: fine.test_y.to_kind(Kind::Float), ..fine };
    assert!(matches!(refused(floats), Error::Shape { role: TensorRole::TestTargets, .. }));
    let nan = data(1, 1.0);
    let _ = nan.test_x.get(3).fill_(f64::NAN);
    assert!(matches!(refused(nan), Error::NonFinite { role: TensorRole::TestFeatures, count: 10, .. }));
    assert!(matches!(classify(&data(1, 1.0), &[], &quick()), Err(Error::Empty { .. })));
}
