//! Budgets of what slows a GPU down, counted on the false one: how often the host waits for it, copies for
//! which it waits for the host, and operations. They hold the numbers that were reached, so that a change
//! that adds a copy or a read to every step is found on machines without a GPU.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{
    class_folders, eqr, folder, photographs, run_args, stderr, succeeded, takes_long, tiny_on, tiny_run,
};
use crate::false_gpu::{KERNELS, on_gpus};

/// The counts of one process on one false GPU.
type Counts = BTreeMap<String, f64>;

fn counts(here: &Path, args: &[&str]) -> Counts {
    let file = here.join("counts.json");
    succeeded(&on_gpus(here, 1, &[KERNELS, ("EQR_FALSE_GPU_COUNTS", "counts.json")], args));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// How often the host waited for the device.
fn waits(counts: &Counts) -> f64 {
    ["scalar_reads", "copies_to_host", "synchronisations"].iter().map(|key| counts[*key]).sum()
}

/// Where the images of a training are and what they show.
#[derive(Clone, Copy, Debug)]
enum Data {
    /// Renders on the device.
    Renders,
    /// Photographs on the device.
    Photographs,
    /// Photographs that are read from their pack.
    Streamed,
}

impl Data {
    /// Training pairs of an epoch.
    fn pairs(self) -> usize {
        match self {
            // 16 classes of 6 objects, of which one is held out
            Data::Renders => 80,
            // one view each
            Data::Photographs => 80,
            // 4 classes of 24, of which a quarter is held out
            Data::Streamed => 72,
        }
    }

    /// The tiny suite for one epoch of `steps` steps on this data.
    fn suite(self, here: &Path, steps: usize) -> String {
        let solids = |views: &str| {
            let spec = "name = \"solids\", side = 16, objects_per_class = 6, seed = 0";
            format!("[data]\nsource = \"solids\"\nspec = {{ {spec}, {views} }}\n")
        };
        let data = match self {
            Data::Renders => solids("views = 4"),
            Data::Photographs => solids("views = 1, kind = \"photographs\""),
            Data::Streamed => {
                class_folders(here, "photos", 4, 24, |_| (20, 24));
                let pack = ["data", "pack", "class-folders", "photos", "--out", "photos.h5"];
                succeeded(&eqr(here, &[&pack[..], &["--test-fraction", "0.25"]].concat()));
                "[data]\nsource = \"pack\"\nfile = \"photos.h5\"\nside = 16\n".to_owned()
            }
        };
        let batch = format!("batch = {}", self.pairs() / steps);
        tiny_on(&data).replace("batch = 25", &batch).replace("epochs = 7", "epochs = 1")
    }

    /// The counts of a training of `steps` steps.
    fn training(self, method: &str, steps: usize, options: &[&str]) -> Counts {
        let folder = folder();
        let here = folder.path();
        std::fs::write(here.join("tiny.toml"), self.suite(here, steps)).unwrap();
        let run = ["--methods", method, "--pretrain-only", "--data-root", "."];
        let args = run_args("run", &[&run[..], options].concat());
        let counts = counts(here, &args);
        let cells = std::fs::read_dir(here.join("run/cells")).unwrap();
        let cell = cells.flatten().map(|cell| cell.path()).next().expect("one training");
        let cell: serde_json::Value = serde_json::from_slice(&std::fs::read(cell).unwrap()).unwrap();
        assert_eq!(cell["step"], steps, "{self:?}");
        counts
    }

    /// The counts of one step more: whatever a training does once cancels.
    fn of_a_step(self, method: &str, options: &[&str]) -> Counts {
        let [short, long] = [3, 5].map(|steps| self.training(method, steps, options));
        long.into_iter()
            .map(|(key, count)| {
                let before = short[&key];
                (key, (count - before) / 2.0)
            })
            .collect()
    }
}

/// The most operations of a step. Without the kernels of eqr-device, in this order: 510, 420, 330, 205, 630,
/// 541, 450, 325 and 615. Most of the difference is the colour jitter of photographs, which has 65
/// operations.
const OPERATIONS: [(Data, &str, f64); 9] = [
    (Data::Renders, "Ours", 498.0),
    (Data::Renders, "SIE(rot+color)", 413.0),
    (Data::Renders, "VICReg", 323.0),
    (Data::Renders, "Supervised", 198.0),
    (Data::Photographs, "Ours", 553.0),
    (Data::Photographs, "SIE(all)", 469.0),
    (Data::Photographs, "VICReg", 378.0),
    (Data::Photographs, "Supervised", 253.0),
    (Data::Streamed, "Ours", 538.0),
];

/// The host waits once a step: for the losses of the step before, which it reads together. No step waits for
/// a copy to the device: what a batch needs goes there in one copy, and images of a pack in another.
#[test]
fn a_training_step_waits_once() {
    hold_budgets(|method| method == "Ours");
}

#[test]
fn a_training_step_of_other_methods_waits_once() {
    if takes_long() {
        hold_budgets(|method| method != "Ours");
    }
}

fn hold_budgets(chosen: fn(&str) -> bool) {
    for (data, method, most) in OPERATIONS.into_iter().filter(|(_, method, _)| chosen(method)) {
        let step = data.of_a_step(method, &[]);
        let case = format!("{method} on {data:?}: {step:?}");
        let copies_that_wait = step["blocking_copies_to_device"] + step["copies_from_pageable_memory"];
        assert_eq!((waits(&step), copies_that_wait), (1.0, 0.0), "{case}");
        let copies = if matches!(data, Data::Streamed) { 2.0 } else { 1.0 };
        assert_eq!(step["queued_copies_to_device"], copies, "{case}");
        assert!(step["operations"] > 100.0 && step["operations"] <= most, "{case}");
    }
}

/// Encoder, losses and their gradients are one launch. Left are the making of the batch, the update, and what
/// is read of the step.
#[test]
fn a_recorded_step_is_launched_whole() {
    let step = Data::Photographs.of_a_step("Ours", &["--cuda-graph"]);
    assert_eq!((waits(&step), step["queued_copies_to_device"]), (1.0, 1.0), "{step:?}");
    assert_eq!((step["blocking_copies_to_device"], step["recorded_operations"]), (0.0, 0.0), "{step:?}");
    assert!(step["operations"] > 10.0 && step["operations"] <= 82.0, "{step:?}");
}

/// A batch is made on a stream of its own. If the training did not wait for it, it would be noticed.
#[test]
fn a_training_waits_for_its_batches() {
    let folder = folder();
    let here = folder.path();
    std::fs::write(here.join("tiny.toml"), Data::Streamed.suite(here, 3)).unwrap();
    let train = |out: &str, variables: &[(&str, &str)]| {
        let args = run_args(out, &["--methods", "Ours", "--pretrain-only", "--data-root", "."]);
        on_gpus(here, 1, variables, &args)
    };
    succeeded(&train("right", &[]));
    let early = train("early", &[("EQR_FALSE_GPU_NO_WAITS", "default")]);
    assert!(
        !early.status.success() && stderr(&early).contains("race on the false GPU"),
        "{}",
        stderr(&early)
    );
}

/// A photograph of a pack is read, cut and sent to the device once for the second views of all transforms.
#[test]
fn probes_of_more_transforms_send_no_image_again() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    let encoder = tiny_run().join("checkpoints/ours-seed0").display().to_string();
    let sent = |transforms: &str| {
        let probe = ["probe", "--encoder", &encoder, "--data", "photos.h5", "--transforms", transforms];
        let short = ["--train-pairs", "100", "--test-pairs", "50", "--epochs", "1", "--seeds", "1"];
        let args = [&probe[..], &short, &["--no-floor", "--threads", "1"]].concat();
        counts(here, &args)["queued_copies_to_device"]
    };
    let (one, three) = (sent("color"), sent("color,rotation,flip"));
    // two transforms more send their parameters, for two draws of each split, which are one batch each
    assert_eq!(three - one, 2.0 * 4.0, "{one} {three}");
}

/// The factors of L-BFGS stay on the device, and what all its searches decide by is read together, twice an
/// iteration: 615 waits. Each search by itself made 2,112, and with factors on the host 19,994.
#[test]
fn linear_classification_seldom_waits() {
    let folder = folder();
    let run = tiny_run();
    let encoder = run.join("checkpoints/ours-seed0").display().to_string();
    let pack = run.join("data/solids.h5").display().to_string();
    let args = ["transfer", "--encoder", &encoder, "--data", &pack, "--no-floor", "--threads", "1"];
    let waits = waits(&counts(folder.path(), &args));
    assert!(waits > 100.0 && waits <= 700.0, "{waits}");
}
