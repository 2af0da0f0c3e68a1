//! The closed forms of [`Plant`] against least squares on the features of planted encoders, with the
//! products that their derivation names as columns. No probe of the suite takes part.

use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::{Dataset, Pack, SceneLatents, SetKind, Split};
use ndarray::{Array2, Array4};
use rand::Rng;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::data::open::OpenedPack;
use crate::data::pairs::PairSource;
use crate::measure::pair_features::PairFeatures;
use crate::registry::{Predictor, Readout};
use crate::suite_file::plant::{CARRIED, Code};
use crate::suite_file::probe::Probe;
use crate::suite_file::transforms::Transforms;

const OBJECTS: usize = 6000;
const VIEWS: usize = 2;
const SIDE: usize = 4;

/// Angles are turned by less than half a turn, as in 3DIEBench, and hues are uniform.
fn split(which: u8) -> Split {
    let mut rng = rng(u64::from(which), 0, 0, Purpose::Latents);
    let pixel = |image: usize, channel: usize| [image as u8, (image >> 8) as u8, which][channel];
    Split {
        images: Array4::from_shape_fn((OBJECTS * VIEWS, SIDE, SIDE, 3), |(i, _, _, c)| pixel(i, c)),
        labels: vec![0; OBJECTS * VIEWS],
        scene: Some(SceneLatents {
            latents: Array2::from_shape_fn((OBJECTS * VIEWS, 7), |_| rng.r#gen_range(0.0..1.0)),
            views: VIEWS,
        }),
    }
}

/// Mean R2 over the outputs of the test pairs, of least squares on `columns` of the features of both views.
fn least_squares(train: &PairFeatures, test: &PairFeatures, columns: impl Fn(&Tensor) -> Tensor) -> f64 {
    let design = |pairs: &PairFeatures| {
        let x = columns(&pairs.read(Readout::Y).to_kind(Kind::Double));
        Tensor::cat(&[x.ones_like().narrow(1, 0, 1), x], 1)
    };
    let (x, t) = (design(train), train.target.to_kind(Kind::Double));
    let slopes = x.tr().matmul(&x).pinverse(1e-12).matmul(&x.tr().matmul(&t));
    let t = test.target.to_kind(Kind::Double);
    let mean = |x: &Tensor| x.mean_dim([0i64].as_slice(), true, Kind::Double);
    let residual = mean(&(&t - design(test).matmul(&slopes)).square());
    let variance = mean(&(&t - mean(&t)).square());
    (1.0f64 - residual / variance).mean(Kind::Double).double_value(&[])
}

/// All products of a column of `range` of the first view with one of the second: (N, length²). A view has
/// half of the columns of `x`.
fn products(x: &Tensor, start: i64, length: i64) -> Tensor {
    let view = |from: i64| x.narrow(1, from + start, length);
    let [first, second] = [view(0), view(x.size()[1] / 2)];
    (first.unsqueeze(2) * second.unsqueeze(1)).reshape([-1, length * length])
}

/// Hues of both views from the columns e h1, e h2, e of each: (N, 4).
fn decoded(x: &Tensor) -> Tensor {
    let view = |from: i64| x.narrow(1, from, 2) * x.narrow(1, from + 2, 1);
    Tensor::cat(&[view(0), view(x.size()[1] / 2)], 1)
}

#[test]
fn least_squares_attains_what_the_closed_forms_say() {
    let dataset = Dataset {
        name: "set".into(),
        kind: SetKind::Renders,
        class_names: vec!["a".into()],
        mean: [0.0; 3],
        std: [1.0; 3],
        train: split(0),
        test: split(1),
        provenance: serde_json::Value::Null,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    dataset.write(&path).unwrap();
    let opened = OpenedPack { pack: Pack::open(&path).unwrap(), side: SIDE };
    let transforms = Transforms::default();
    let source = |name: &str| PairSource::new(&opened, name, &transforms, Device::Cpu).unwrap();
    let (train, test) = (source("train"), source("test"));
    let probe = Probe { train_pairs: OBJECTS, test_pairs: OBJECTS, ..Probe::default() };
    let evaluation = Evaluation {
        transforms: &transforms,
        probe: &probe,
        pack: &opened.pack,
        train: &train,
        test: &test,
        resamples: true,
    };
    let known = KnownImages::of(&evaluation).unwrap();
    for code in [Code::Plain, Code::Signed] {
        for r2 in [0.0, 0.2, 0.5, 1.0] {
            let planted = Plant { code, r2 };
            let encoder = PlantedEncoder::new(&known, planted, 0, CARRIED + 2);
            let sets = evaluation.pair_sets(&encoder, false).unwrap();
            for set in sets.iter().filter(|set| planted.carries(&set.task)) {
                let found =
                    |columns: &dyn Fn(&Tensor) -> Tensor| least_squares(&set.train, &set.test, columns);
                let attained = match (planted.code, set.task.as_str()) {
                    (Code::Plain, "color") => found(&Tensor::shallow_clone),
                    (Code::Plain, _) => found(&|x| products(x, 0, 4)),
                    (Code::Signed, _) => found(&decoded),
                };
                let expected = planted.attainable(&set.task, Predictor::Mlp).unwrap();
                assert!((attained - expected).abs() < 0.04, "{planted:?} {}: {attained}", set.task);
                let linear = found(&Tensor::shallow_clone);
                match planted.attainable(&set.task, Predictor::Linear) {
                    Some(expected) => {
                        assert!((linear - expected).abs() < 0.04, "{planted:?} {}: {linear}", set.task);
                    }
                    None => assert!(linear < attained, "{planted:?} {}: {linear}", set.task),
                }
            }
        }
    }
}
