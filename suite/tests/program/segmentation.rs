//! `segment` on small scenes with a small TorchScript encoder: scores, ranks, bad input, cells of a suite.

use std::path::Path;
use std::process::Output;

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::common::{
    TINY, cell, class_folders, eqr, eqr_ranks, has_mpi, shared, stderr, succeeded, takes_long, tiny_run,
    traced,
};

const QUICK: [&str; 19] = [
    "segment",
    "--encoder",
    "e.pt",
    "--data",
    "d.h5",
    "--threads",
    "1",
    "--crop",
    "32",
    "--width",
    "12",
    "--lr",
    "1e-2",
    "--batch",
    "4",
    "--scale",
    "0.8,1.25",
    "--seeds",
    "2",
];

/// Arguments of a quick `segment` of `d.h5` with `more` options, which replace its own.
pub fn quick<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = QUICK.to_vec();
    for option in more.chunks(2) {
        match args.iter().position(|arg| *arg == option[0]) {
            Some(at) => args[at + 1] = option[1],
            None => args.extend(option),
        }
    }
    args
}

/// Ids of the scenes' masks.
const GROUND: u8 = 1;
const RED: u8 = 2;
const GREEN: u8 = 3;

/// Class of a pixel of scene `salt`: two squares on the ground, and a first line of void.
fn id(salt: u32, x: u32, y: u32) -> u8 {
    let square = |left: u32, top: u32| (left..left + 16).contains(&x) && (top..top + 16).contains(&y);
    match () {
        () if y == 0 => 0,
        () if square(salt * 7 % 20, 2 + salt * 5 % 12) => RED,
        () if square(24 - salt * 11 % 20, 20 + salt * 3 % 4) => GREEN,
        () => GROUND,
    }
}

fn pixel(salt: u32, x: u32, y: u32) -> Rgb<u8> {
    let noise = (salt.wrapping_mul(977) + x * 131 + y * 313).wrapping_mul(2_654_435_761) >> 27;
    let noise = noise as u8;
    match id(salt, x, y) {
        RED => Rgb([200 + noise, 40, noise]),
        GREEN => Rgb([noise, 180 + noise, 40]),
        _ => Rgb([30, noise, 120 + noise]),
    }
}

/// Packs 8 training and 4 validation scenes as `d.h5`. `mask` maps the ids of a split's masks.
fn pack(folder: &Path, names: &[&str], mask: impl Fn(&str, u8) -> u8) {
    pack_scenes(folder, 4, names, mask);
}

/// Packs 8 training and `tests` validation scenes of unequal sizes, in ADE20K's layout, as `d.h5`.
fn pack_scenes(folder: &Path, tests: u32, names: &[&str], mask: impl Fn(&str, u8) -> u8) {
    let root = folder.join("tree");
    for (split, scenes) in [("training", 0..8), ("validation", 20..20 + tests)] {
        let [images, masks] = ["images", "annotations"].map(|kind| root.join(kind).join(split));
        for place in [&images, &masks] {
            std::fs::create_dir_all(place).unwrap();
        }
        for salt in scenes {
            let (width, height) = (48 - salt % 3 * 6, 40 + salt % 2 * 8);
            RgbImage::from_fn(width, height, |x, y| pixel(salt, x, y))
                .save(images.join(format!("{salt}.png")))
                .unwrap();
            let mask = GrayImage::from_fn(width, height, |x, y| Luma([mask(split, id(salt, x, y))]));
            mask.save(masks.join(format!("{salt}.png"))).unwrap();
        }
    }
    let lines = names.iter().enumerate().map(|(index, name)| format!("{}\t{name}\n", index + 1));
    std::fs::write(root.join("objectInfo150.txt"), format!("Idx\tName\n{}", lines.collect::<String>()))
        .unwrap();
    succeeded(&eqr(folder, &["data", "pack", "ade20k", "tree", "--out", "d.h5"]));
}

/// Writes the scenes `d.h5`.
pub fn plain_pack(folder: &Path) {
    pack(folder, &["ground", "red", "green", "nowhere"], |_, id| id);
}

/// Means over patches of 4 pixels, with fixed mixes of the colours as channels.
fn patches(path: &Path) {
    let mix = (Tensor::arange(18, (Kind::Float, Device::Cpu)) * 1.3).sin().view([6, 3, 1, 1]);
    traced(path, 32, |images| {
        let mixed = images.conv2d::<Tensor>(&mix, None, [1, 1], [0, 0], [1, 1], 1);
        mixed.avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None)
    });
}

pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    plain_pack(folder.path());
    patches(&folder.path().join("e.pt"));
    folder
}

fn json(output: &Output) -> Value {
    succeeded(output);
    serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else")
}

#[test]
fn scores_rise_with_steps_and_are_written_whole() {
    let folder = folder();
    let run = |more: &[&str]| eqr(folder.path(), &quick(more));
    let untrained = json(&run(&["--steps", "1", "--json"]));
    let trained = run(&["--steps", "60", "--out", "out/here", "--pictures", "3", "--json"]);
    let said = stderr(&trained);
    let trained = json(&trained);
    let miou = |result: &Value| result["mIoU"]["mean"].as_f64().unwrap();
    assert!(miou(&trained) > 0.8 && miou(&untrained) < 0.6, "{trained}\n{untrained}");
    assert!(said.contains("seed 1, step 60/60: loss 0."), "{said}");
    for metric in ["mIoU", "mAcc", "aAcc"] {
        let values: Vec<f64> = serde_json::from_value(trained[metric]["values"].clone()).unwrap();
        let mean = trained[metric]["mean"].as_f64().unwrap();
        assert!(values.len() == 2 && (mean - (values[0] + values[1]) / 2.0).abs() < 1e-12, "{trained}");
    }
    let classes = trained["classes"].as_array().unwrap();
    assert_eq!(
        classes.iter().map(|class| class["name"].as_str().unwrap()).collect::<Vec<_>>()[..3],
        ["ground", "red", "green"]
    );
    // no scene has this class, and after training no prediction
    assert_eq!(
        (&classes[3]["pixels"], &classes[3]["accuracy"]),
        (&0.into(), &serde_json::json!([null, null]))
    );
    let pixels: u64 = classes.iter().map(|class| class["pixels"].as_u64().unwrap()).sum();
    let expected: u32 = (20..24).map(|salt| (48 - salt % 3 * 6) * (39 + salt % 2 * 8)).sum();
    assert_eq!(pixels, u64::from(expected), "every pixel below the line of void");
    let curve = trained["seeds"][0]["curve"].as_array().unwrap();
    assert!(
        curve.last().unwrap()["step"] == 60
            && curve[0]["loss"].as_f64() > curve.last().unwrap()["loss"].as_f64()
    );

    let out = folder.path().join("out/here");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 2);
    let csv = std::fs::read_to_string(out.join("classes.csv")).unwrap();
    assert!(csv.lines().count() == 9 && csv.contains("nowhere,0,1,,"), "{csv}");
    let picture = image::open(out.join("scenes.png")).unwrap();
    assert!(picture.width() > 600 && picture.height() > 3 * 150, "three rows of three");
    let table = run(&["--steps", "1", "--seeds", "1"]);
    succeeded(&table);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.starts_with("mIoU 0.") && table.contains("1 seed") && table.contains("| green "),
        "{table}"
    );
}

#[test]
fn ranks_change_nothing() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let run = |ranks: usize| {
        let args = quick(&["--steps", "20", "--batch", "5", "--out", "out", "--json"]);
        json(&eqr_ranks(folder.path(), ranks, &args))
    };
    let alone = run(1);
    let losses = |result: &Value| -> Vec<f64> {
        let curves =
            result["seeds"].as_array().unwrap().iter().flat_map(|seed| seed["curve"].as_array().unwrap());
        curves.map(|point| point["loss"].as_f64().unwrap()).collect()
    };
    assert_eq!(losses(&alone).len(), 40, "a point a step");
    for ranks in [2, 3] {
        let found = run(ranks);
        for (step, (one, many)) in losses(&alone).into_iter().zip(losses(&found)).enumerate() {
            assert!((one - many).abs() <= 1e-3 * one, "{ranks} ranks, step {step}: {one} {many}");
        }
        let metric = |result: &Value, name: &str| result[name]["mean"].as_f64().unwrap();
        for name in ["mIoU", "aAcc"] {
            let (one, many) = (metric(&alone, name), metric(&found, name));
            assert!((one - many).abs() < 0.01, "{ranks} ranks: {name} {one} {many}");
        }
        for (a, b) in alone["classes"].as_array().unwrap().iter().zip(found["classes"].as_array().unwrap()) {
            assert_eq!(a["pixels"], b["pixels"], "{ranks} ranks");
        }
    }
}

/// The command ends with exit code 2, one `error:` that contains all of `says`, and nothing on stdout.
fn refused(folder: &Path, args: &[&str], says: &[&str]) {
    let output = eqr(folder, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(
        output.stdout.is_empty()
            && text.lines().filter(|line| line.starts_with("error: ")).count() == 1
            && !text.contains("panicked"),
        "{text}"
    );
    for part in says {
        assert!(text.contains(part), "should say `{part}`: {text}");
    }
}

#[test]
fn options_and_encoders_that_cannot_be_used() {
    let folder = folder();
    let here = folder.path();
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--stride", "33"], &["stride = 33", "1 to `crop`"]),
        (&["--scale", "2,1"], &["scale = 2, 1"]),
        (&["--steps", "0"], &["steps = 0"]),
        (&["--scale", "2"], &["two numbers"]),
        (&["--data", "absent.h5"], &["absent.h5"]),
        (&["--encoder", "absent.pt"], &["absent.pt"]),
        (&["--encoder", "d.h5"], &["d.h5"]),
    ];
    for (more, says) in cases {
        refused(here, &quick(more), says);
    }
    traced(&here.join("e.pt"), 32, |images| images.mean_dim([2i64, 3].as_slice(), false, None));
    refused(here, &QUICK, &["e.pt", "token map"]);
    traced(&here.join("e.pt"), 32, |images| {
        images.reshape([-1, 3, 8, 4, 8, 4]).mean_dim([3i64, 5].as_slice(), false, None)
    });
    refused(here, &quick(&["--crop", "40"]), &["e.pt"]);
}

#[test]
fn packs_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    patches(&here.join("e.pt"));
    class_folders(here, "classes", 2, 3, |_| (40, 40));
    succeeded(&eqr(here, &["data", "pack", "class-folders", "classes", "--out", "d.h5"]));
    refused(here, &QUICK, &["d.h5", "train images", "no masks", "hint:"]);
    std::fs::remove_file(here.join("d.h5")).unwrap();
    for (voided, named) in [("training", "train"), ("validation", "test")] {
        pack(here, &["ground", "red", "green"], |split, id| if split == voided { 0 } else { id });
        refused(here, &QUICK, &["d.h5", &format!("{named} images"), "void (0) only"]);
    }
    pack(here, &["all"], |_, id| id.min(1));
    refused(here, &QUICK, &["d.h5", "one class only, `all`"]);
}

/// One rank reads a damaged mask. The others do not wait for it.
#[test]
fn a_damaged_scene_ends_all_ranks() {
    let folder = folder();
    let path = folder.path().join("d.h5");
    let mut bytes = std::fs::read(&path).unwrap();
    // the pixels of the PNG files, which the pack's seal does not cover, but not their headers
    let starts: Vec<usize> = (0..bytes.len() - 4).filter(|&at| &bytes[at..at + 4] == b"IDAT").collect();
    assert_eq!(starts.len(), 24, "8 + 4 images and their masks");
    for start in &starts[1..8] {
        bytes[start + 4..start + 24].fill(0);
    }
    std::fs::write(&path, bytes).unwrap();
    let args = quick(&["--steps", "20"]);
    if !has_mpi() {
        return;
    }
    let output = eqr_ranks(folder.path(), 2, &args);
    let text = stderr(&output);
    assert!(output.status.code() == Some(2) && text.contains("is damaged"), "{:?}: {text}", output.status);
}

/// Street scenes: a few minutes.
#[test]
fn a_head_learns_real_scenes() {
    let Some(archive) = shared("camvid-ade-layout.tar.gz") else { return };
    if !takes_long() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    succeeded(&eqr(here, &["data", "pack", "ade20k", archive.to_str().unwrap(), "--out", "d.h5"]));
    patches(&here.join("e.pt"));
    let miou = |steps: &str| {
        let args = quick(&["--crop", "128", "--width", "24", "--seeds", "1", "--steps", steps, "--json"]);
        json(&eqr(here, &args))["mIoU"]["mean"].as_f64().unwrap()
    };
    let (start, end) = (miou("2"), miou("150"));
    assert!(end > start + 0.05, "{start} {end}");
}

/// Cells of a suite segment with every row's encoder, on one rank and on two. A set without labels and a
/// module without a token map are named, and the other cells are done.
#[test]
fn a_suite_segments_with_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    pack(here, &["ground", "red", "green"], |split, id| if split == "training" { 0 } else { id });
    std::fs::rename(here.join("d.h5"), here.join("void.h5")).unwrap();
    std::fs::remove_dir_all(here.join("tree")).unwrap();
    plain_pack(here);
    patches(&here.join("e.pt"));
    traced(&here.join("flat.pt"), 32, |images| images.mean_dim([2i64, 3].as_slice(), false, None));
    let head = "head = { width = 12, lr = 1e-2, steps = 60, batch = 4, crop = 32, stride = 24, scale = [0.8, 1.25] }";
    let set = |file: &str| {
        format!("\n[[segmentation]]\nfile = \"{file}\"\nmade_by = \"the test\"\nseeds = 2\n{head}\n")
    };
    let text = TINY.replace("[\"Random init\", \"Ours\"]", "[\"Random init\", \"PCA of the pixels (8)\"]");
    std::fs::write(here.join("one.toml"), format!("{text}{}", set("d.h5"))).unwrap();
    let args = |out| {
        let options = ["--data-root", ".", "--threads", "1", "--precision", "fp32", "--out", out];
        let rows = ["--external", "Patches=e.pt", "--external", "Flat=flat.pt"];
        [&["run", "one.toml"][..], &options, &rows].concat()
    };
    let output = eqr(here, &args("run"));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in
        ["2 of the measurements failed", "segment-d-external-flat-head0", "segmentation reads a token map"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let metrics = |out: &str| {
        let text = std::fs::read_to_string(here.join(out).join("metrics.csv")).unwrap();
        text.lines()
            .filter(|line| line.contains(",segmentation,"))
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let found = metrics("run");
    let miou = |method: &str| -> Vec<f64> {
        let lines = found.iter().filter(|line| line.contains(method) && line.contains(",mIoU,"));
        lines.map(|line| line.split(',').nth(8).unwrap().parse().unwrap()).collect()
    };
    assert!(miou("Patches").len() == 2 && miou("Patches").iter().all(|&miou| miou > 0.7), "{found:?}");
    assert_eq!([miou("Random init").len(), miou("Flat").len(), miou("PCA").len()], [2, 0, 0]);
    let table = std::fs::read_to_string(here.join("run/tables/table-main.md")).unwrap();
    assert!(table.contains("mIoU") && table.contains("Patches"), "{table}");
    assert!(table.contains("without segmentation: PCA of the pixels (8)."), "{table}");
    assert!(here.join("run/figures/segment-d-external-patches-head0.png").is_file());
    if has_mpi() {
        assert_eq!(eqr_ranks(here, 2, &args("two")).status.code(), Some(2));
        assert_eq!(metrics("two"), found);
    }

    // a set that no encoder can segment is refused before the first cell
    class_folders(here, "classes", 2, 3, |_| (40, 40));
    succeeded(&eqr(here, &["data", "pack", "class-folders", "classes", "--out", "classes.h5"]));
    for (set, says) in [
        (set("classes.h5"), "the train images have no masks"),
        (set("d.h5").replace("crop = 32, stride = 24", "crop = 30, stride = 24"), "head.crop = 30"),
    ] {
        std::fs::write(here.join("two.toml"), format!("{text}{set}")).unwrap();
        let mut args = args("refused");
        args[1] = "two.toml";
        let output = eqr(here, &args);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr(&output).contains(says) && !here.join("refused/cells").exists(),
            "{}",
            stderr(&output)
        );
    }

    std::fs::write(here.join("two.toml"), format!("{text}{}", set("void.h5"))).unwrap();
    let mut args = args("void");
    args[1] = "two.toml";
    let output = eqr(here, &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("void (0) only"), "{}", stderr(&output));
    assert!(here.join("void/cells/probe-random-init-seed0.json").is_file(), "the probes are done");
}

/// 95% intervals of one encoder, over the test scenes: on the command line, and of a row of a run.
#[test]
fn one_encoder_has_intervals_over_the_test_scenes() {
    let folder = folder();
    let here = folder.path();
    let few = json(&eqr(here, &quick(&["--steps", "1", "--json"])));
    assert!(few["mIoU"]["ci95"].is_null() && few["mIoU"]["mean"].is_number(), "4 scenes: {few}");
    pack_scenes(here, 24, &["ground", "red", "green", "nowhere"], |_, id| id);
    let args = quick(&["--steps", "30"]);
    let found = json(&eqr(here, &[&args[..], &["--json"]].concat()));
    for metric in ["mIoU", "mAcc", "aAcc"] {
        let (of, ends) = (&found[metric], &found[metric]["ci95"]);
        let [low, mean, high] = [&ends[0], &of["mean"], &ends[1]].map(|value| value.as_f64().unwrap());
        assert!(low < mean && mean < high && high - low < 0.2, "{metric}: {found}");
    }
    let text = String::from_utf8(eqr(here, &args).stdout).unwrap();
    assert!(text.starts_with("mIoU 0.") && text.contains("[95% interval over test scenes]"), "{text}");

    let head = "head = { width = 12, lr = 1e-2, steps = 30, batch = 4, crop = 32, stride = 24, scale = [0.8, 1.25] }";
    let set = format!("\n[[segmentation]]\nfile = \"d.h5\"\nseeds = 2\n{head}\n");
    std::fs::write(here.join("one.toml"), format!("{TINY}{set}")).unwrap();
    let run =
        ["run", "one.toml", "--data-root", ".", "--threads", "1", "--precision", "fp32", "--out", "run"];
    let rows = ["--methods", "", "--external", "Patches=e.pt", "--set", "probe.seeds=0"];
    succeeded(&eqr(here, &[&run[..], &rows].concat()));
    let draws = [0, 1].map(|head| {
        let cell = cell(&here.join("run"), &format!("segment-d-external-patches-head{head}"));
        let of_miou = cell["resampled"].as_array().unwrap().iter().find(|draws| draws["metric"] == "mIoU");
        serde_json::from_value::<Vec<f64>>(of_miou.unwrap()["values"].clone()).unwrap()
    });
    assert!(draws[0].len() == 1000 && draws[0] != draws[1]);
    let mut mean: Vec<f64> = draws[0].iter().zip(&draws[1]).map(|(a, b)| (a + b) / 2.0).collect();
    mean.sort_by(f64::total_cmp);
    let table = eqr(here, &["report", "run", "--only", "segmentation", "--format", "csv"]);
    succeeded(&table);
    let table = String::from_utf8(table.stdout).unwrap();
    // between the 25th and the 26th of 1000 draws
    let low = mean[24] + 0.975 * (mean[25] - mean[24]);
    let mut numbers = table.split([',', '\n']).filter_map(|field| field.parse::<f64>().ok());
    assert!(numbers.any(|number| (number - low).abs() < 1e-9), "{low}: {table}");
}

/// The floor: heads on the same architecture with random weights.
#[test]
fn heads_are_also_trained_on_random_weights() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    plain_pack(here);
    let run = tiny_run().display().to_string();
    succeeded(&eqr(here, &["export", &run, "--method", "Ours", "--out", "ours.safetensors"]));
    let args = quick(&["--encoder", "ours.safetensors", "--steps", "30", "--seeds", "1"]);
    let found = |more: &[&str]| -> Value {
        let output = eqr(here, &[&args[..], more].concat());
        succeeded(&output);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let with_floor = found(&["--json"]);
    let floor = &with_floor["random_weights"]["mIoU"]["mean"];
    assert!(floor.is_number() && *floor != with_floor["mIoU"]["mean"], "{with_floor}");
    assert!(found(&["--json", "--no-floor"])["random_weights"].is_null());
    let text = String::from_utf8(eqr(here, &args).stdout).unwrap();
    assert!(text.lines().nth(1).unwrap().ends_with("(random weights)"), "{text}");
}
