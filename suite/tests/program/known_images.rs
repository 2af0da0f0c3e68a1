//! Which pairs a method trains on: pairs that differ by one transform or by all, from known images or from
//! all images (protocol section 7).

use std::collections::BTreeSet;
use std::path::Path;

use eqr_bench::data::known_units::{known_units, training_units};
use eqr_bench::data::open::OpenedPack;
use eqr_bench::data::pairs::PairSource;
use eqr_bench::suite_file::suite::Suite;
use eqr_bench::suite_file::transforms::Transforms;
use eqr_datasets::transforms::Transform;
use eqr_datasets::{Dataset, Pack, SetKind, Split};
use eqr_models::MethodKind;
use ndarray::Array4;
use tch::{Device, Kind, Tensor};

use crate::common::{cell, eqr, folder, stderr, succeeded, tiny_on, writing_hdf5};

const IMAGES: usize = 60;

/// A set of `IMAGES` photographs, three classes, 16 pixels.
fn pack(path: &Path) -> Pack {
    let value =
        |(i, y, x, c): (usize, usize, usize, usize)| (i * 37 + y * (5 + i % 3) + x * 11 + c * 60) as u8;
    let split = || Split {
        images: Array4::from_shape_fn((IMAGES, 16, 16, 3), value),
        labels: (0..IMAGES as i32).map(|i| i % 3).collect(),
        scene: None,
    };
    let dataset = Dataset {
        name: "photos".into(),
        kind: SetKind::Photographs,
        class_names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        mean: [0.5; 3],
        std: [0.25; 3],
        train: split(),
        test: split(),
        provenance: serde_json::Value::Null,
    };
    let _alone = writing_hdf5();
    dataset.write(path).unwrap();
    Pack::open(path).unwrap()
}

fn source(transforms: &Transforms) -> PairSource {
    let folder = tempfile::tempdir().unwrap();
    let opened = OpenedPack { pack: pack(&folder.path().join("photos.h5")), side: 16 };
    PairSource::new(&opened, "train", transforms, Device::Cpu).unwrap()
}

fn suite(fraction: &str) -> Suite {
    Suite::load("cifar10-reduced", &[format!("train.known_fraction={fraction}")]).unwrap()
}

fn kind(name: &str) -> MethodKind {
    name.parse().unwrap()
}

#[test]
fn single_pairs_differ_by_one_transform_each_and_combined_ones_by_all() {
    let transforms = Transforms { active: Transform::ALL.to_vec(), ..Transforms::default() };
    let identity = |t: Transform| match t {
        Transform::Crop => vec![0.0, 0.0, 1.0, 1.0],
        Transform::Flip | Transform::Blur => vec![-1.0],
        other => vec![0.0; other.dim()],
    };
    let source = source(&transforms);
    let single = source.paired_for(&kind("SIE(all, single each time)")).pairs(1, 0, source.units()).unwrap();
    let combined = source.pairs(1, 0, source.units()).unwrap();
    let changed = |parameters: &Tensor, row: i64| -> Vec<Transform> {
        let values = Vec::<f32>::try_from(parameters.get(row)).unwrap();
        let mut rest = &values[..];
        let of = |t: &Transform| {
            let (own, after) = rest.split_at(t.dim());
            rest = after;
            own != identity(*t)
        };
        transforms.active.iter().copied().filter(of).collect()
    };
    let mut drawn = BTreeSet::new();
    for row in 0..IMAGES as i64 {
        let one = changed(&single.parameters, row);
        // a drawn flip flips only half of the images
        assert!(one.len() <= 1, "pair {row}: {one:?}");
        drawn.extend(one.iter().map(|t| t.name()));
        assert!(changed(&combined.parameters, row).len() >= 5, "pair {row}");
    }
    assert_eq!(drawn.len(), 6, "every transform is drawn: {drawn:?}");
    assert_eq!(single.view1, combined.view1);
    assert_ne!(single.view2, combined.view2);
    assert_eq!(
        single.view2,
        source.paired_for(&kind("SIE(all, single each time)")).pairs(1, 0, source.units()).unwrap().view2
    );
}

#[test]
fn own_pairs_differ_by_the_known_transforms_and_half_of_a_regressions_by_one() {
    let transforms = Transforms { active: Transform::ALL.to_vec(), ..Transforms::default() };
    let source = source(&transforms);
    let pairs = |name: &str| source.paired_for(&kind(name)).pairs(1, 0, source.units()).unwrap();
    let combined = source.pairs(1, 0, source.units()).unwrap();
    // rotation, translation (2), crop (4), flip, color (4), blur
    let own = pairs("SIE(rot+blur, own pairs)").parameters;
    for (start, length, kept) in [(0, 1, true), (1, 2, false), (8, 4, false), (12, 1, true)] {
        let [own, drawn] = [&own, &combined.parameters].map(|all| all.narrow(1, start, length));
        assert!(if kept { own == drawn } else { own == own.zeros_like() }, "{start}");
    }
    // of the angles, all are drawn; of the shifts, those of the combined half
    let half = pairs("Direct regression(rot)").parameters;
    assert_eq!(half.select(1, 0), combined.parameters.select(1, 0));
    let shifted = half.select(1, 1).not_equal(0.0).sum(Kind::Int64).int64_value(&[]);
    assert!((IMAGES as i64 / 4..IMAGES as i64 * 3 / 4).contains(&shifted), "{shifted} of {IMAGES}");
}

#[test]
fn methods_that_need_targets_train_on_the_known_images_alone() {
    let source = source(&Transforms::default());
    let suite = suite("0.2");
    let known = known_units(&suite, &source, 7).unwrap();
    assert_eq!(known.units().len(), 12);
    for name in
        ["SIE(all)", "SIE(all, single each time)", "Supervised", "Direct regression", "Ours, known part"]
    {
        let part = training_units(&suite, &source, &kind(name), 7).unwrap();
        assert_eq!(part.units(), known.units(), "{name}");
        let mut order = part.order(7, 3);
        assert_ne!(order, part.order(7, 4), "{name}");
        order.sort_unstable();
        assert_eq!(order, known.units(), "{name}");
    }
    for name in ["Ours", "Ours(SimCLR)", "VICReg", "SimCLR", "Barlow Twins"] {
        let part = training_units(&suite, &source, &kind(name), 7).unwrap();
        assert_eq!(part.units().len(), IMAGES, "{name}");
    }
    assert_ne!(known_units(&suite, &source, 8).unwrap().units(), known.units());
    // withholding other images does not change the pair of an image
    let units = &known.units()[..4];
    assert_eq!(known.pairs(7, 0, units).unwrap().view2, source.pairs(7, 0, units).unwrap().view2);
}

#[test]
fn without_a_fraction_every_method_trains_on_everything() {
    let source = source(&Transforms::default());
    let suite = Suite::load("cifar10-reduced", &[]).unwrap();
    let part = training_units(&suite, &source, &kind("SIE(all)"), 7).unwrap();
    assert_eq!((part.units(), part.order(1, 2)), (source.units(), source.order(1, 2)));
    assert_eq!(known_units(&suite, &source, 7).unwrap().units().len(), IMAGES);
}

/// The images of restricted renders are those of their objects.
#[test]
fn images_of_chosen_units() {
    let source = source(&Transforms::default());
    assert_eq!(source.restricted(&[3, 8]).indices(), [3, 8]);
    assert_eq!(source.indices().len(), IMAGES);
}

#[test]
fn a_run_with_withheld_parameters_takes_fewer_steps_where_they_are_needed() {
    let folder = folder();
    let run = |out: &str, more: &[&str]| {
        let fixed = ["run", "tiny.toml", "--out", out, "--precision", "fp32", "--threads", "1"];
        eqr(folder.path(), &[&fixed[..], more].concat())
    };
    let methods = ["--methods", "Random init,VICReg,SIE(rot)", "--set", "train.probe_every=3"];
    succeeded(&run("known", &[&methods[..], &["--set", "train.known_fraction=0.65"]].concat()));
    let run_folder = folder.path().join("known");
    // 80 training objects, 52 known; batch 25: 3 and 2 steps per epoch
    assert_eq!(cell(&run_folder, "pretrain-vicreg-seed0")["step"], 21);
    assert_eq!(cell(&run_folder, "pretrain-sie-rot-seed0")["step"], 14);
    // the second row takes as many steps as the others, with the same learning rates: ten and a half passes
    let equal = cell(&run_folder, "pretrain-sie-rot-equal-steps-seed0");
    assert_eq!((&equal["step"], &equal["method"]), (&21.into(), &"SIE(rot), equal steps".into()));
    let schedule = |training: &str| {
        let path = run_folder.join("checkpoints").join(training).join("step-21/manifest.json");
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        manifest["identity"]["schedule"].clone()
    };
    assert_eq!(schedule("sie-rot-equal-steps-seed0"), schedule("vicreg-seed0"));
    let table = std::fs::read_to_string(run_folder.join("tables/table-main.md")).unwrap();
    assert!(table.contains("| SIE(rot), equal steps |") && table.contains("for as many steps."), "{table}");
    let exported = ["export", "known", "--method", "SIE(rot), equal steps", "--out", "sie.safetensors"];
    succeeded(&eqr(folder.path(), &exported));
    cell(&run_folder, "probe-vicreg-seed0-step9");
    cell(&run_folder, "probe-sie-rot-seed0-step6");
    cell(&run_folder, "probe-sie-rot-equal-steps-seed0");
    cell(&run_folder, "probe-random-init-seed0");

    let refused = run("few", &[&methods[..], &["--set", "train.known_fraction=0.2"]].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("leaves 16 of 80 objects; at least 25 are needed"),
        "{}",
        stderr(&refused)
    );
    let refused = run("single", &["--methods", "SIE(all, single each time)"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("use a set of photographs"), "{}", stderr(&refused));
}

#[test]
fn photographs_are_trained_on_by_the_new_rows() {
    let folder = folder();
    pack(&folder.path().join("photos.h5"));
    let data = "[data]\nsource = \"pack\"\nfile = \"photos.h5\"\nmade_by = \"the test\"\n\n";
    std::fs::write(folder.path().join("photos.toml"), tiny_on(data)).unwrap();
    let methods = "SIE(all, single each time),SIE(all, no prediction variance),SimCLR,Barlow Twins,Ours(SimCLR),Ours(Barlow Twins)";
    let output = eqr(
        folder.path(),
        &[
            "run",
            "photos.toml",
            "--out",
            "out",
            "--data-root",
            ".",
            "--methods",
            methods,
            "--precision",
            "fp32",
            "--threads",
            "1",
            "--set",
            "train.epochs=2",
            "--set",
            "train.batch=20",
            "--set",
            "train.known_fraction=0.5",
        ],
    );
    succeeded(&output);
    let out = folder.path().join("out");
    for (id, step) in [
        ("pretrain-sie-all-single-each-time-seed0", 2),
        ("pretrain-sie-all-no-prediction-variance-seed0", 2),
        ("pretrain-simclr-seed0", 6),
        ("pretrain-barlow-twins-seed0", 6),
        ("pretrain-ours-simclr-seed0", 6),
        ("pretrain-ours-barlow-twins-seed0", 6),
    ] {
        assert_eq!(cell(&out, id)["step"], step, "{id}");
    }
    let csv = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
    assert!(csv.contains("\"SIE(all, single each time)\"") && csv.contains("Ours(Barlow Twins)"), "{csv}");
}
