//! Compares few-shot transfer with scikit-learn on the same draws, and tests it on any number of ranks.

use eqr_models::Solo;
use eqr_models::test_device::{test_device, test_tensor};
use eqr_models::thread_team::{Sums, run_on_threads};
use eqr_probes::Error;
use eqr_probes::few_shot::{DRAWS, FewShot, FewShotConfig, drawn, few_shot};
use eqr_probes::logistic::LogisticConfig;
use eqr_probes::transfer::{LabelledSplit, TransferData};
use serde_json::Value;
use tch::{Kind, Tensor};

const CLASSES: usize = 5;

/// The features and labels of `scripts/reference/logistic.py`: 12 features, so that draws of 1 and 2 images
/// of each class have fewer images than features. The validation split is not used.
fn data() -> TransferData {
    let all: Value = serde_json::from_str(include_str!("reference/logistic.json")).unwrap();
    let x: Vec<Vec<f64>> = serde_json::from_value(all["x"].clone()).unwrap();
    let y: Vec<i64> = serde_json::from_value(all["y"].clone()).unwrap();
    let train = all["train"].as_i64().unwrap();
    let part = |start: i64, end: i64| LabelledSplit {
        x: Tensor::from_slice2(&x).to_device(test_device()).to_kind(Kind::Float).narrow(
            0,
            start,
            end - start,
        ),
        y: test_tensor(&y).narrow(0, start, end - start),
    };
    TransferData {
        name: "birds".into(),
        train: part(0, train),
        val: part(0, 5),
        test: part(train, y.len() as i64),
        shifted: None,
        classes: CLASSES,
    }
}

fn config() -> FewShotConfig {
    FewShotConfig { shots: vec![1, 2, 5, 10], draws: DRAWS }
}

fn found() -> Vec<FewShot> {
    few_shot(&data(), &config(), &LogisticConfig::default(), &Solo, &mut |_, _| {}).unwrap()
}

/// At most one of 200 test samples is classified otherwise.
#[test]
fn agrees_with_scikit_learn_on_the_same_draws() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("reference/few_shot.json")).unwrap();
    let (data, found) = (data(), found());
    let labels: Vec<i64> = Vec::try_from(&data.train.y).unwrap();
    assert_eq!(recorded.len(), 40);
    for fit in &recorded {
        let (shots, draw) = (fit["shots"].as_u64().unwrap(), fit["draw"].as_u64().unwrap());
        let rows: Vec<i64> = serde_json::from_value(fit["rows"].clone()).unwrap();
        assert_eq!(drawn(&labels, CLASSES, shots, draw), rows, "{shots} a class, draw {draw}");
        let own = found.iter().find(|own| own.shots == shots).unwrap();
        let (own, theirs) = (own.accuracies[draw as usize], &fit["top1"]);
        let off = (own.top1 - theirs.as_f64().unwrap()).abs();
        assert!(off < 0.0051, "{shots} a class, draw {draw}: {own:?} {theirs}");
        let off = (own.mean_per_class - fit["mean_per_class"].as_f64().unwrap()).abs();
        assert!(off < 0.01, "{shots} a class, draw {draw}: {own:?} {fit}");
    }
    assert!(found.iter().all(|of_shots| of_shots.unfinished == 0));
}

#[test]
fn more_images_classify_better_and_the_interval_is_over_the_draws() {
    let found = found();
    let [one, .., ten] = &found[..] else { panic!("four numbers of images") };
    assert!(ten.top1().mean > one.top1().mean + 0.05, "{found:?}");
    let values: Vec<f64> = one.accuracies.iter().map(|accuracy| accuracy.top1).collect();
    let (low, high) = one.top1().ci95.unwrap();
    let mean = values.iter().sum::<f64>() / 10.0;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 9.0;
    // Student's t with 9 degrees of freedom: 2.2622
    assert!(((high - low) / 2.0 / (2.262_157 * (variance / 10.0).sqrt()) - 1.0).abs() < 1e-6);
}

#[test]
fn images_of_fewer_shots_are_among_those_of_more() {
    let labels: Vec<i64> = (0..60).map(|row| row % 3).collect();
    let (few, many) = (drawn(&labels, 3, 2, 4), drawn(&labels, 3, 9, 4));
    assert!(few.iter().all(|row| many.contains(row)) && few.len() == 6 && many.len() == 27);
    let classes = many.iter().map(|&row| labels[row as usize]);
    assert!(classes.eq((0..27).map(|place| place / 9)));
    assert_ne!(drawn(&labels, 3, 9, 5), many);
}

#[test]
fn ranks_change_nothing() {
    let alone = found();
    for ranks in [2, 3] {
        for other in run_on_threads(ranks, Sums::AtOnce, |ranks| {
            few_shot(&data(), &config(), &LogisticConfig::default(), ranks, &mut |_, _| {}).unwrap()
        }) {
            assert_eq!(other, alone, "{ranks} ranks");
        }
    }
}

#[test]
fn small_classes_and_odd_numbers_are_refused() {
    let refused = |shots: &[u64], draws: u64| {
        let config = FewShotConfig { shots: shots.to_vec(), draws };
        few_shot(&data(), &config, &LogisticConfig::default(), &Solo, &mut |_, _| {}).unwrap_err()
    };
    let small = refused(&[1, 100], 2);
    assert!(
        matches!(&small, Error::FewImages { shots: 100, found, .. } if found.iter().all(|(_, count)| *count < 100)),
        "{small}"
    );
    for (shots, draws) in [(&[][..], 2), (&[2, 1], 2), (&[0, 1], 2), (&[1, 1001], 2), (&[1], 0)] {
        assert!(matches!(refused(shots, draws), Error::Config { .. }), "{shots:?}");
    }
}
