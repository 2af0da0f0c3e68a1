//! `probe` and `transfer` on feature files: the JSON, the table, and every kind of bad file.

use std::path::Path;
use std::process::{Command, Output};

use hdf5::File;
use ndarray::{Array1, Array2};
use serde_json::Value;

use crate::common::{eqr, eqr_ranks, has_mpi, is_installed, output, stderr, succeeded, writing_hdf5};
use crate::skip::skip;

/// Numbers in (-1, 1) that look random: column `salt` of row `i`.
fn wave(i: usize, salt: usize) -> f32 {
    let x = ((i * 7 + salt * 131 + 1) as f64 * 12.9898).sin() * 43758.5453;
    (2.0 * (x - x.floor()) - 1.0) as f32
}

fn matrix(rows: std::ops::Range<usize>, columns: usize, of: impl Fn(usize, usize) -> f32) -> Array2<f32> {
    let start = rows.start;
    Array2::from_shape_fn((rows.len(), columns), |(i, j)| of(start + i, j))
}

fn write<T: hdf5::H5Type, D: ndarray::Dimension>(file: &File, name: &str, values: &ndarray::Array<T, D>) {
    file.new_dataset_builder().with_data(values).create(name).unwrap();
}

/// A unit quaternion x, y, z, w of row `i`, w of either sign.
fn quaternion(i: usize, j: usize) -> f32 {
    let q: Vec<f32> = (0..4).map(|k| wave(i, 50 + k)).collect();
    q[j] / q.iter().map(|v| v * v).sum::<f32>().sqrt()
}

/// 400 training and 200 test pairs of 6 features. The difference of the views gives `color` linearly, the
/// features contain the rotation, and `still` is constant.
fn probe_file(path: &Path) {
    let _alone = writing_hdf5();
    let file = File::create(path).unwrap();
    for (split, rows) in [("train", 0..400), ("test", 400..600)] {
        write(&file, &format!("{split}/features_1"), &matrix(rows.clone(), 6, wave));
        let moved = |i: usize, j: usize| match j {
            0 | 1 => wave(i, j) + wave(i, 40 + j),
            _ => quaternion(i, j - 2),
        };
        write(&file, &format!("{split}/features_2"), &matrix(rows.clone(), 6, moved));
        write(&file, &format!("{split}/targets/color"), &matrix(rows.clone(), 2, |i, j| wave(i, 40 + j)));
        write(&file, &format!("{split}/targets/rotation"), &matrix(rows.clone(), 4, quaternion));
        write(&file, &format!("{split}/targets/still"), &matrix(rows.clone(), 1, |_, _| 0.5));
    }
}

/// 3 classes about 3 corners in 5 dimensions, with noise.
pub fn transfer_file(path: &Path) {
    let _alone = writing_hdf5();
    let file = File::create(path).unwrap();
    for (split, rows) in [("train", 0..300), ("val", 300..360), ("test", 360..480)] {
        let near = |i: usize, j: usize| wave(i, j) + if j == i % 3 { 1.0 } else { 0.0 };
        write(&file, &format!("{split}/features"), &matrix(rows.clone(), 5, near));
        write(&file, &format!("{split}/labels"), &Array1::from_iter(rows.map(|i| (i % 3) as i64)));
    }
}

fn json(output: &Output) -> Value {
    succeeded(output);
    serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else")
}

const QUICK: [&str; 11] =
    ["probe", "--features", "f.h5", "--epochs", "80", "--batch", "32", "--hidden", "32", "--seeds", "2"];

#[test]
fn probe_prints_the_contracts_json() {
    let folder = tempfile::tempdir().unwrap();
    probe_file(&folder.path().join("f.h5"));
    let output = eqr(folder.path(), &[&QUICK[..], &["--json"]].concat());
    let targets = &json(&output)["targets"];
    let number = |target: &str, probe: &str, key: &str| targets[target][probe][key].as_f64().unwrap();
    assert!(
        number("color", "linear", "r2_pooled") > 0.999 && number("color", "linear", "r2_per_output") > 0.999
    );
    assert!(number("color", "mlp", "r2_per_output") > 0.7);
    assert!(number("color", "constant", "r2_per_output").abs() < 0.05);
    // the features contain the raw quaternion: it is linear, the canonical one is not
    assert!(number("rotation", "linear", "r2_per_output") > 0.999);
    assert!(number("rotation_canonical", "linear", "r2_per_output") < 0.9);
    let mlp = &targets["color"]["mlp"];
    assert_eq!((mlp["outputs"].as_array().unwrap().len(), mlp["seeds"].as_array().unwrap().len()), (2, 2));
    // an undefined R2 is null, never 0, and a message says so
    for probe in ["mlp", "linear", "constant"] {
        assert!(
            targets["still"][probe]["r2_pooled"].is_null()
                && targets["still"][probe]["r2_per_output"].is_null()
        );
    }
    assert!(stderr(&output).contains("target still: column 0 does not vary"), "{}", stderr(&output));
}

/// The same target as it is, in thousandths, and in seconds since 1970 with a spread of seconds, which
/// float32 does not resolve.
#[test]
fn the_unit_of_a_target_does_not_change_its_r2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.h5");
    probe_file(&path);
    changed(&path, |file| {
        for (split, rows) in [("train", 0..400), ("test", 400..600)] {
            for (name, unit, origin) in [("plain", 1.0, 0.0), ("small", 1e-3, 0.0), ("date", 10.0, 1.7e9)] {
                let target = |i: usize, j: usize| unit * f64::from(wave(i, j) + 0.3 * wave(i, 70)) + origin;
                let values = Array2::from_shape_fn((rows.len(), 2), |(i, j)| target(rows.start + i, j));
                write(file, &format!("{split}/targets/{name}"), &values);
            }
        }
    });
    let found = json(&eqr(folder.path(), &[&QUICK[..], &["--json"]].concat()));
    let r2 = |target: &str, probe: &str| found["targets"][target][probe]["r2_per_output"].as_f64().unwrap();
    for (probe, tolerance) in [("mlp", 5e-3), ("linear", 1e-6)] {
        let plain = r2("plain", probe);
        assert!(plain > 0.6, "{found}");
        for target in ["small", "date"] {
            assert!((r2(target, probe) - plain).abs() < tolerance, "{target}, {probe}: {found}");
        }
    }
}

#[test]
fn probe_prints_a_table_and_can_take_bf16() {
    let folder = tempfile::tempdir().unwrap();
    probe_file(&folder.path().join("f.h5"));
    let args = [
        "probe",
        "--features",
        "f.h5",
        "--epochs",
        "3",
        "--hidden",
        "32",
        "--seeds",
        "2",
        "--precision",
        "bf16",
    ];
    let output = eqr(folder.path(), &args);
    succeeded(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("| rotation_canonical | linear") && text.contains("undefined") && !text.contains("NaN"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2 + 4 * 3, "{text}");
}

#[test]
fn transfer_prints_the_contracts_json() {
    let folder = tempfile::tempdir().unwrap();
    transfer_file(&folder.path().join("f.h5"));
    let result = json(&eqr(folder.path(), &["transfer", "--features", "f.h5", "--json"]));
    let top1 = result["top1"].as_f64().unwrap();
    // 40 test samples a class: both accuracies are equal
    assert!(top1 > 0.7 && (top1 - result["mean_per_class"].as_f64().unwrap()).abs() < 1e-12, "{result}");
    let lambda = result["lambda"].as_f64().unwrap();
    let grid = result["grid"].as_array().unwrap();
    assert!(
        grid.len() == 45 && grid.iter().any(|point| point["lambda"] == lambda && point["converged"] == true)
    );
    assert!(result["knn"]["k"] == 20 && result["knn"]["top1"].as_f64().unwrap() > 0.6);
    let lines = eqr(folder.path(), &["transfer", "--features", "f.h5"]);
    succeeded(&lines);
    assert!(String::from_utf8(lines.stdout).unwrap().contains(&format!("top1 {top1:.4}")));
}

/// Classes are separated by one feature each: more images find it.
#[test]
fn few_images_of_each_class_are_drawn_several_times() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    transfer_file(&here.join("f.h5"));
    let args = ["transfer", "--features", "f.h5", "--threads", "1", "--few-shot", "1,20"];
    let found = json(&eqr(here, &[&args[..], &["--draws", "6", "--json"]].concat()));
    let [one, many] = [0, 1].map(|place| &found["few_shot"][place]);
    assert!(one["shots"] == 1 && many["shots"] == 20 && one["lambda"] == 1.0, "{found}");
    let number = |value: &Value| value.as_f64().unwrap();
    let draws: Vec<f64> = one["top1"]["draws"].as_array().unwrap().iter().map(number).collect();
    assert!(draws.len() == 6 && draws.iter().any(|draw| *draw != draws[0]), "{found}");
    assert!((number(&one["top1"]["mean"]) - draws.iter().sum::<f64>() / 6.0).abs() < 1e-12);
    assert!(number(&many["top1"]["mean"]) > number(&one["top1"]["mean"]) + 0.05, "{found}");
    assert!(number(&one["top1"]["ci95"][0]) < number(&one["mean_per_class"]["mean"]), "{found}");
    let without = json(&eqr(here, &[&args[..5], &["--json"]].concat()));
    assert!(without["few_shot"].is_null() && without["top1"] == found["top1"]);

    let output = eqr(here, &args);
    succeeded(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("mean over 10 draws [95% interval over the draws]")
            && text.contains("  20 a class  top1 0."),
        "{text}"
    );
    // 100 images of each class
    refused(here, &["transfer", "--features", "f.h5", "--few-shot", "101"], &["class 0 has 100", "2 more"]);
    let output = eqr(here, &["transfer", "--features", "f.h5", "--few-shot", "5,2"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("ascending numbers"));
    if has_mpi() {
        let shared = json(&eqr_ranks(here, 3, &[&args[..], &["--draws", "6", "--json"]].concat()));
        assert_eq!(shared["few_shot"], found["few_shot"]);
    }
}

/// Ranks share the grid of strengths.
#[test]
fn transfer_does_not_depend_on_the_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    transfer_file(&folder.path().join("f.h5"));
    let args = ["transfer", "--features", "f.h5", "--json", "--threads", "1"];
    let alone = json(&eqr(folder.path(), &args));
    for ranks in [2, 3, 4] {
        if !has_mpi() {
            return;
        }
        let found = json(&eqr_ranks(folder.path(), ranks, &args));
        for key in ["top1", "mean_per_class", "lambda", "knn"] {
            assert_eq!(found[key], alone[key], "{ranks} ranks: {key}");
        }
        assert_eq!(found["grid"].as_array().unwrap().len(), 45);
    }
}

/// The command ends with exit code 2 and one `error:` that names the file and contains all of `says`.
fn refused(folder: &Path, args: &[&str], says: &[&str]) {
    let output = eqr(folder, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(
        output.stdout.is_empty() && text.matches("error:").count() == 1 && !text.contains("panicked"),
        "{text}"
    );
    for part in says.iter().chain(&["f.h5"]) {
        assert!(text.contains(part), "should say `{part}`: {text}");
    }
}

/// Changes the file.
fn changed(path: &Path, change: impl Fn(&File)) {
    let _alone = writing_hdf5();
    change(&File::open_rw(path).unwrap());
}

/// Replaces a dataset of the file.
fn replace<T: hdf5::H5Type, D: ndarray::Dimension>(file: &File, name: &str, values: &ndarray::Array<T, D>) {
    file.unlink(name).unwrap();
    write(file, name, values);
}

#[test]
fn bad_files_of_probes() {
    type Change<'a> = (&'a dyn Fn(&File), &'a [&'a str]);
    let hole = |i: usize, j: usize| if (i, j) == (401, 2) { f32::NAN } else { wave(i, j) };
    let cases: [Change; 10] = [
        (&|f| f.unlink("test").unwrap(), &["test/targets: missing", "holds train"]),
        (&|f| f.unlink("train/features_2").unwrap(), &["train/features_2: missing", "features_1, targets"]),
        (&|f| f.unlink("test/targets/color").unwrap(), &["test/targets", "rotation, still", "color"]),
        (
            &|f| replace(f, "train/features_2", &matrix(0..399, 6, wave)),
            &["train/features_2", "[399, 6]", "[400, 6]"],
        ),
        (
            &|f| replace(f, "train/targets/color", &matrix(0..9, 2, wave)),
            &["train/targets/color", "9 rows", "400"],
        ),
        (
            &|f| replace(f, "test/targets/color", &matrix(0..200, 3, wave)),
            &["test/targets/color", "3 columns", "2"],
        ),
        (
            &|f| replace(f, "test/features_1", &matrix(400..600, 6, hole)),
            &["test/features_1", "1 NaN", "row 1, column 2"],
        ),
        (
            &|f| replace(f, "train/features_1", &Array1::from_vec(vec![0f32; 4])),
            &["train/features_1", "[4]", "(N, D)"],
        ),
        (
            &|f| replace(f, "train/features_1", &Array2::<i64>::zeros((400, 6))),
            &["train/features_1", "floats"],
        ),
        (
            &|f| replace(f, "train/features_1", &Array2::<f32>::zeros((0, 6))),
            &["train/features_1", "no value"],
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.h5");
    refused(folder.path(), &QUICK, &["No such file"]);
    std::fs::write(&path, "not HDF5").unwrap();
    refused(folder.path(), &QUICK, &["expected a feature file, which is HDF5, found a text file"]);
    for (change, says) in cases {
        probe_file(&path);
        changed(&path, change);
        refused(folder.path(), &QUICK, says);
    }
    probe_file(&path);
    let with = |option: &'static str, value: &'static str| {
        eqr(folder.path(), &["probe", "--features", "f.h5", option, value])
    };
    for (option, value) in
        [("--epochs", "0"), ("--hidden", "0"), ("--batch", "0"), ("--lr", "0"), ("--seeds", "0")]
    {
        let output = with(option, value);
        let name = option.trim_start_matches('-');
        assert!(
            output.status.code() == Some(2) && stderr(&output).contains(name),
            "{option}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn bad_files_of_transfer() {
    type Change<'a> = (&'a dyn Fn(&File), &'a [&'a str]);
    let labels = |n: usize, of: fn(usize) -> i64| Array1::from_iter((0..n).map(of));
    let cases: [Change; 8] = [
        (&|f| f.unlink("val").unwrap(), &["val/features: missing", "test, train"]),
        (&|f| f.unlink("test/labels").unwrap(), &["test/labels: missing", "features"]),
        (&|f| replace(f, "val/labels", &labels(59, |i| i as i64 % 3)), &["val/labels", "59 rows", "60"]),
        (&|f| replace(f, "test/labels", &labels(120, |i| i as i64 % 4)), &["test/labels", "0..=3", "0..3"]),
        (&|f| replace(f, "train/labels", &labels(300, |i| i as i64 % 3 - 1)), &["train/labels", "-1..=1"]),
        (&|f| replace(f, "train/labels", &labels(300, |_| 0)), &["one class only"]),
        (
            &|f| replace(f, "train/labels", &labels(300, |i| 3 * i as i64)),
            &["300 training samples for 898 classes"],
        ),
        (&|f| replace(f, "test/features", &matrix(0..120, 4, wave)), &["test/features", "4 columns", "5"]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.h5");
    for (change, says) in cases {
        transfer_file(&path);
        changed(&path, change);
        refused(folder.path(), &["transfer", "--features", "f.h5"], says);
    }
    // a class without test samples has no accuracy
    transfer_file(&path);
    changed(&path, |f| replace(f, "test/labels", &labels(120, |i| i as i64 % 2)));
    let output = eqr(folder.path(), &["transfer", "--features", "f.h5"]);
    let text = stderr(&output);
    assert!(output.status.success() && text.contains("test/labels: no sample of class `2`"), "{text}");
}

/// Both commands read the exporter's files. Needs a Python with numpy and h5py.
#[test]
fn the_exporter_writes_what_is_read() {
    let python = std::env::var("EQR_PYTHON").unwrap_or("python3".into());
    if !is_installed(&python)
        || !output(Command::new(&python).args(["-c", "import numpy, h5py"])).status.success()
    {
        return skip("python", "no python3 (or $EQR_PYTHON) with numpy and h5py");
    }
    let folder = tempfile::tempdir().unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let script = "
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from export_features import probe_split, transfer_split
rng = np.random.default_rng(0)
encode = lambda images: images.reshape(len(images), -1) * 2
def pairs(batches):
    for _ in range(batches):
        a, t = rng.normal(size=(50, 3, 2)), rng.normal(size=(50, 6))
        yield a, a + t.reshape(50, 3, 2), {'shift': t}
def images(batches):
    for _ in range(batches):
        y = np.arange(50) % 2
        yield rng.normal(size=(50, 4)) + 3 * y[:, None], y
probe_split('p.h5', 'train', encode, pairs(6))
probe_split('p.h5', 'test', encode, pairs(2))
for split in 'train', 'val', 'test':
    transfer_split('t.h5', split, encode, images(4))
";
    succeeded(&output(Command::new(python).args(["-c", script]).arg(scripts).current_dir(folder.path())));
    let args = ["probe", "--features", "p.h5", "--epochs", "2", "--hidden", "8", "--json"];
    let probe = json(&eqr(folder.path(), &args));
    assert!(probe["targets"]["shift"]["linear"]["r2_pooled"].as_f64().unwrap() > 0.999, "{probe}");
    let transfer = json(&eqr(folder.path(), &["transfer", "--features", "t.h5", "--json"]));
    assert!(transfer["top1"].as_f64().unwrap() > 0.95, "{transfer}");
}
