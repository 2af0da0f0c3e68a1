//! Planted encoders, whose layers hold what their names say.

use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::transforms::Transform;
use eqr_datasets::{Dataset, Pack, SceneLatents, SetKind, Split};
use eqr_models::Place;
use ndarray::{Array2, Array4};
use rand::Rng;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::data::open::OpenedPack;
use crate::data::pairs::PairSource;
use crate::encoder::layer::{Layer, TokenKind};
use crate::run_folder::xray::{Reading, Xray, XrayMeasure};
use crate::suite_file::probe::Probe;
use crate::suite_file::transforms::Transforms;

const OBJECTS: usize = 60;
const VIEWS: usize = 4;
const SIDE: usize = 4;

/// Latents of every render of a split: angles and hues are independent.
fn latents(seed: u64) -> Array2<f32> {
    let mut rng = rng(seed, 0, 0, Purpose::Latents);
    Array2::from_shape_fn((OBJECTS * VIEWS, 7), |_| rng.r#gen())
}

/// Readings of `encoder` on splits made by `split`, which takes 0 for training and 1 for test.
fn xray(
    encoder: &dyn LayeredEncoder,
    kind: SetKind,
    transforms: &[Transform],
    split: impl Fn(u8) -> Split,
) -> Xray {
    let dataset = Dataset {
        name: "set".into(),
        kind,
        class_names: vec!["a".into(), "b".into()],
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
    let transforms = Transforms { active: transforms.to_vec(), ..Transforms::default() };
    let source = |name: &str| PairSource::new(&opened, name, &transforms, Device::Cpu).unwrap();
    let probe = Probe { train_pairs: 400, test_pairs: 200, ..Probe::default() };
    let (train, test) = (source("train"), source("test"));
    let evaluation = Evaluation {
        transforms: &transforms,
        probe: &probe,
        pack: &opened.pack,
        train: &train,
        test: &test,
        resamples: true,
    };
    measure(encoder, &evaluation, XrayProbe::Linear).unwrap()
}

fn reading<'a>(
    xray: &'a Xray,
    place: Place,
    measure: XrayMeasure,
    task: Option<&str>,
    output: Option<usize>,
) -> &'a Reading {
    let is_it = |reading: &&Reading| {
        (reading.layer == place.to_string())
            && (reading.measure, reading.task.as_deref(), reading.output) == (measure, task, output)
    };
    xray.readings.iter().find(is_it).unwrap()
}

/// Sees which render an image is, and knows its hues: not in the embedding, both in block 1, one of them in
/// block 2. The output is the same for all images.
struct Hues([Array2<f32>; 2]);

impl LayeredEncoder for Hues {
    fn layers(&self, images: &Tensor) -> Result<Vec<Layer>> {
        let pixels = (images.select(3, 0).select(2, 0) * 255.0).round().to_kind(Kind::Int64);
        let rows: Vec<[i64; 3]> = (0..images.size()[0])
            .map(|row| [0, 1, 2].map(|channel| pixels.int64_value(&[row, channel])))
            .collect();
        let of = |value: &dyn Fn(usize, usize) -> Vec<f32>| {
            let values: Vec<f32> =
                rows.iter().flat_map(|[image, split, _]| value(*image as usize, *split as usize)).collect();
            Tensor::from_slice(&values).view([rows.len() as i64, -1])
        };
        let hues = |image: usize, split: usize| [3, 6].map(|column| self.0[split][[image, column]]);
        let noise = |image: usize, split: usize| ((image * 7919 + split * 104_729 + 13) % 1009) as f32;
        let layer = |place, x| Layer { place, readouts: vec![(TokenKind::Mean, x)] };
        Ok(vec![
            layer(Place::Embedding, of(&|image, split| vec![noise(image, split)])),
            layer(Place::Block(1), of(&|image, split| hues(image, split).to_vec())),
            layer(Place::Block(2), of(&|image, split| vec![hues(image, split)[0], noise(image, split)])),
            layer(Place::Output, of(&|_, _| vec![1.0, 2.0])),
        ])
    }
}

#[test]
fn the_layer_that_holds_a_parameter_is_found_on_renders() {
    let both = [1, 2].map(latents);
    let split = |which: u8| Split {
        images: Array4::from_shape_fn((OBJECTS * VIEWS, SIDE, SIDE, 3), |(i, _, _, channel)| {
            [i as u8, which, 0][channel]
        }),
        labels: (0..OBJECTS * VIEWS).map(|i| (i / VIEWS % 2) as i32).collect(),
        scene: Some(SceneLatents { latents: both[which as usize].clone(), views: VIEWS }),
    };
    let xray = xray(&Hues(both.clone()), SetKind::Renders, &[], split);
    assert_eq!((xray.train_pairs, xray.test_pairs, xray.test_objects), (400, 200, OBJECTS));
    let r2 = |place, task, output| reading(&xray, place, XrayMeasure::LinearR2, Some(task), output);
    let value = |reading: &Reading| reading.value.unwrap();
    assert!(value(r2(Place::Embedding, "color", None)) < 0.1);
    assert!(value(r2(Place::Block(1), "color", None)) > 0.999);
    assert!(value(r2(Place::Block(1), "rotation", None)) < 0.1);
    let half = r2(Place::Block(2), "color", None);
    let (low, high) = half.ci95.unwrap();
    assert!(low < value(half) && value(half) < high && (0.4..0.6).contains(&value(half)), "{half:?}");
    assert!(value(r2(Place::Block(2), "color", Some(0))) > 0.999);
    assert!(value(r2(Place::Block(2), "color", Some(1))) < 0.1);
    assert!(value(r2(Place::Output, "color", None)).abs() < 0.1, "a constant");
    // hues move block 1, and rotations do not
    let moved = |place, task| reading(&xray, place, XrayMeasure::Sensitivity, Some(task), None);
    // two hues of a uniform distribution move by as much as two images differ
    assert!(
        (value(moved(Place::Block(1), "color")) - 1.0).abs() < 0.1,
        "{:?}",
        moved(Place::Block(1), "color")
    );
    assert!(value(moved(Place::Block(1), "rotation")) < 0.2);
    assert_eq!(moved(Place::Output, "color").value, None);
    let rank = |place| value(reading(&xray, place, XrayMeasure::EffectiveRank, None, None));
    assert!((rank(Place::Embedding) - 1.0).abs() < 1e-6 && rank(Place::Block(1)) > 1.9);
    assert_eq!(rank(Place::Output), 0.0);
    let top1 = reading(&xray, Place::Block(1), XrayMeasure::Neighbours, None, None);
    assert!((0.3..0.7).contains(&value(top1)) && top1.ci95.is_some(), "chance is 1/2: {top1:?}");
}

/// How much brighter the left half of an image is than the right half.
struct Asymmetry;

impl LayeredEncoder for Asymmetry {
    fn layers(&self, images: &Tensor) -> Result<Vec<Layer>> {
        let half = |from: i64| {
            let half = images.narrow(3, from, SIDE as i64 / 2);
            half.mean_dim([1i64, 2, 3].as_slice(), false, None::<Kind>).unsqueeze(1)
        };
        let [left, right] = [half(0), half(SIDE as i64 / 2)];
        let layer = |place, x| Layer { place, readouts: vec![(TokenKind::Mean, x)] };
        Ok(vec![layer(Place::Block(1), &left + &right), layer(Place::Output, left - right)])
    }
}

/// Images become darker from left to right. The first view is flipped or not, so the difference a between the
/// halves has mean 0. A flip moves it by 2 a: S² = s² mean a² / (2 mean a²) with s² = 1 for a fair coin.
#[test]
fn the_layer_that_holds_a_transform_is_found_on_photographs() {
    let slope = |image: usize, which: u8| 20 + (image * 7 + usize::from(which) * 3) % 20;
    let split = |which: u8| Split {
        images: Array4::from_shape_fn((240, SIDE, SIDE, 3), |(i, _, x, _)| (150 - x * slope(i, which)) as u8),
        labels: (0..240).map(|i| i % 2).collect(),
        scene: None,
    };
    let transforms = [Transform::Flip, Transform::Color];
    let xray = xray(&Asymmetry, SetKind::Photographs, &transforms, split);
    assert_eq!((xray.train_pairs, xray.test_pairs, xray.test_objects), (400, 200, 100));
    let brightness =
        |place| reading(&xray, place, XrayMeasure::LinearR2, Some("color"), Some(0)).value.unwrap();
    let (sum, difference) = (brightness(Place::Block(1)), brightness(Place::Output));
    assert!(sum > 0.8 && difference < 0.2, "{sum} {difference}");
    let sensitivity =
        |place, task| reading(&xray, place, XrayMeasure::Sensitivity, Some(task), None).value.unwrap();
    assert!(sensitivity(Place::Block(1), "flip") < 1e-6);
    let flip = sensitivity(Place::Output, "flip");
    assert!((flip - 0.5f64.sqrt()).abs() < 0.05, "{flip}");
    let color = sensitivity(Place::Block(1), "color");
    assert!(color > 0.5, "brightness moves the sum: {color}");
}
