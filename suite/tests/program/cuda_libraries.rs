//! The real CUDA half of libtorch and the real NCCL on a machine without a driver: what can be known of them
//! before there is a GPU. `make test-cuda-libs` names a Python whose torch has CUDA; other runs skip this.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{PROGRAM, folder, output, run_args, stderr, succeeded};
use crate::false_gpu::on_gpus;
use crate::skip::skipped;

/// The Python of `make test-cuda-libs`.
fn python() -> Option<Command> {
    let python = std::env::var_os("EQR_TEST_CUDA_PYTHON");
    if python.is_none() {
        skipped("EQR_TEST_CUDA_PYTHON names no Python whose torch has CUDA (make test-cuda-libs)");
    }
    python.map(Command::new)
}

/// The folder of its torch.
fn torch(mut python: Command) -> PathBuf {
    let script = "import os, torch; assert torch.version.cuda, 'torch without CUDA'; print(os.path.dirname(torch.__file__))";
    let found = output(python.args(["-c", script]));
    succeeded(&found);
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
}

/// Every symbol of the CUDA half resolves; without a driver it counts no device.
#[test]
fn the_cuda_half_of_libtorch_loads_without_a_driver() {
    let Some(python) = python() else { return };
    let seen = output(Command::new(PROGRAM).args(["doctor", "--json"]).env("LIBTORCH", torch(python)));
    succeeded(&seen);
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!((&seen["cuda"], &seen["gpus"]), (&"loaded".into(), &0.into()), "{seen}");
}

/// Graphs are made by functions that are looked up by their names, which the linker does not check.
#[test]
fn the_cuda_half_has_the_functions_of_graphs() {
    let Some(python) = python() else { return };
    let source = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/device/native/graph.cpp"),
    )
    .unwrap();
    let quoted = source.split('"').skip(1).step_by(2);
    let names: Vec<&str> = quoted.filter(|text| text.starts_with("_Z")).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    let library = torch(python).join("lib/libtorch_cuda.so");
    let table = output(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    succeeded(&table);
    let table = String::from_utf8_lossy(&table.stdout);
    for name in names {
        assert!(table.lines().any(|line| line.ends_with(&format!(" T {name}"))), "{name}");
    }
}

/// What the program computes on a GPU is computed there: every operation that the false GPU met has a CUDA
/// kernel.
#[test]
fn every_operation_of_a_run_has_a_cuda_kernel() {
    let Some(mut python) = python() else { return };
    let folder = folder();
    let here = folder.path();
    let methods = ["--methods", "Random init,VICReg,SIE(rot+color),Supervised,Direct regression,Ours"];
    succeeded(&on_gpus(here, 1, &[("EQR_FALSE_GPU_OPERATIONS", "operations")], &run_args("run", &methods)));
    let operations = std::fs::read_to_string(here.join("operations")).unwrap();
    assert!(operations.lines().count() > 60, "{operations}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/reference/cuda_kernels.py");
    let ask = |operations: &str, python: &mut Command| {
        let asked = python.arg(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut asked = asked.spawn().unwrap();
        asked.stdin.take().unwrap().write_all(operations.as_bytes()).unwrap();
        let answer = asked.wait_with_output().unwrap();
        assert!(answer.status.success(), "{}", stderr(&answer));
        String::from_utf8(answer.stdout).unwrap()
    };
    let without = ask(&format!("{operations}aten::mkldnn_linear\n"), &mut python);
    assert_eq!(without, "aten::mkldnn_linear\n", "the one of the CPU alone, which was added here");
}
