//! Kernels for GPUs on the false one: its compiler compiles their own sources for the CPU, by
//! [false_nvrtc.cpp](../false_gpu/false_nvrtc.cpp), and its driver runs them on the device's memory.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::common::{cell, folder, run_args, same_losses, stderr, succeeded, tiny_on};
use crate::false_gpu::{KERNELS, on_gpus};

/// The only training of [`train`].
const TRAINING: &str = "pretrain-ours-seed0";

/// Photographs, whose second views have other colours.
const PHOTOGRAPHS: &str = "[data]\nsource = \"solids\"\n\
    spec = { name = \"solids\", kind = \"photographs\", side = 16, objects_per_class = 6, views = 1, seed = 0 }\n";

/// Trains "Ours" on photographs in float32.
fn train(here: &Path, out: &str, devices: usize, variables: &[(&str, &str)], more: &[&str]) -> Output {
    std::fs::write(here.join("tiny.toml"), tiny_on(PHOTOGRAPHS).replace("epochs = 7", "epochs = 1")).unwrap();
    let args = [&["--methods", "Ours", "--pretrain-only"], more].concat();
    let trained = on_gpus(here, devices, &[&[KERNELS], variables].concat(), &run_args(out, &args));
    succeeded(&trained);
    trained
}

/// The points of a training's curve.
fn curve(here: &Path, out: &str) -> Value {
    cell(&here.join(out), TRAINING)["curve"].clone()
}

#[test]
fn doctor_says_what_compiles_them() {
    let folder = folder();
    let kernels = |devices, variables: &[(&str, &str)]| {
        let variables = [&[KERNELS], variables].concat();
        let seen = on_gpus(folder.path(), devices, &variables, &["doctor", "--json"]);
        succeeded(&seen);
        let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
        seen["kernels"].as_str().expect("a text").to_owned()
    };
    assert_eq!(kernels(1, &[]), "compiled by NVRTC 13.0 for sm_90");
    assert_eq!(kernels(0, &[]), "none: they are for GPUs");
    assert_eq!(kernels(1, &[("EQR_KERNELS", "0")]), "turned off by EQR_KERNELS=0");
    let missing = kernels(1, &[("EQR_NVRTC", "/nowhere/libnvrtc.so")]);
    assert!(missing.starts_with("none: EQR_NVRTC=/nowhere/libnvrtc.so: "), "{missing}");
}

/// The memory is inaccessible to the host between operations, and a kernel may only use that of its own
/// device.
#[test]
fn a_training_with_them_has_the_losses_of_the_cpu() {
    let folder = folder();
    let here = folder.path();
    let told = |out: &str, more: &[(&str, &str)]| {
        stderr(&train(here, out, 1, &[&[("EQR_FALSE_GPU_OPEN", "0")], more].concat(), &[]))
    };
    train(here, "cpu", 0, &[], &[]);
    let with = told("with", &[]);
    assert!(!with.contains("kernel"), "{with}");
    let without = told("without", &[("EQR_KERNELS", "0")]);
    assert!(without.contains("note: EQR_KERNELS=0: "), "{without}");
    for out in ["with", "without"] {
        same_losses(&here.join("cpu"), &here.join(out), TRAINING, 3);
    }
    // otherwise the kernels were not used
    assert_ne!(curve(here, "with"), curve(here, "without"));
    // they are recorded as libtorch's are, after they were tried
    train(here, "recorded", 1, &[], &["--cuda-graph"]);
    assert_eq!(curve(here, "with"), curve(here, "recorded"));
}

/// Blocks that are computed again in the backward pass, and pairs that are encoded a few at a time.
#[test]
fn a_training_that_saves_memory_has_the_losses_of_the_cpu() {
    let folder = folder();
    let here = folder.path();
    train(here, "cpu", 0, &[], &[]);
    for (out, more) in [("again", ["--set", "train.recompute=true"]), ("pieces", ["--micro-batch", "5"])] {
        let told = stderr(&train(here, out, 1, &[], &more));
        assert!(!told.contains("kernel"), "{told}");
        same_losses(&here.join("cpu"), &here.join(out), TRAINING, 3);
    }
}

/// Texts of the sources are replaced before they are compiled, so that every kernel computes something else,
/// or does not compile.
#[test]
fn a_kernel_that_is_wrong_is_not_used() {
    let folder = folder();
    let here = folder.path();
    train(here, "without", 1, &[("EQR_KERNELS", "0")], &[]);
    for (out, which) in [("wrong", 0), ("broken", 1)] {
        let faults: Vec<&str> = FAULTS.iter().map(|fault| fault.replaced[which].0).collect();
        let told = stderr(&train(here, out, 1, &[("EQR_FALSE_NVRTC_FAULT", &faults.join("\n"))], &[]));
        for Fault { kernels, replaced } in FAULTS {
            for form in kernels {
                let says = replaced[which].1;
                let note = format!("note: the GPU kernel for {form} is not used, but libtorch's operations");
                let line = told.lines().find(|line| line.starts_with(&note));
                assert!(line.is_some_and(|line| line.contains(says)), "{note} .. {says}: {told}");
                assert_eq!(told.matches(&note).count(), 1, "{told}");
            }
        }
        assert!(told.contains("hint: EQR_KERNELS=0"), "{told}");
        assert_eq!(curve(here, out), curve(here, "without"), "{out}");
    }
}

/// Mistakes in the source of a kernel.
struct Fault {
    /// What the notes call the kernel in the forms that the training uses.
    kernels: &'static [&'static str],
    /// `this=>that`, and what is said of the kernel: first a wrong number, then a function that does not
    /// exist.
    replaced: [(&'static str, &'static str); 2],
}

const FAULTS: [Fault; 3] = [
    Fault {
        kernels: &["colour jitter (float32)"],
        replaced: [
            ("0.587f=>0.5f", ": the result differs from libtorch's by "),
            ("floorf=>no_such_function", ": nvrtcCompileProgram: status 6: kernels.cu:"),
        ],
    },
    Fault {
        kernels: &[
            "residual and layer normalisation (float32, width 32)",
            "residual and layer normalisation (float32, width 16)",
        ],
        replaced: [
            (
                "standard[k] * products=>0.9f * standard[k] * products",
                ": the gradient of one summand differs",
            ),
            ("sqrtf=>no_such_function", ": nvrtcCompileProgram: status 6: kernels.cu:"),
        ],
    },
    Fault {
        kernels: &["GELU (float32)"],
        replaced: [
            ("0.39894228f=>0.4f", ": the gradient of the input differs from libtorch's by "),
            ("erff=>no_such_function", ": nvrtcCompileProgram: status 6: kernels.cu:"),
        ],
    },
];
