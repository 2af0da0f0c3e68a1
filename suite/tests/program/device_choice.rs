//! The device of a rank: a machine with a GPU never computes on its CPU without being asked to.

use std::process::Command;

use serde_json::Value;

use crate::common::{
    GPUS, PROGRAM, eqr_ranks_command, folder, has_mpi, is_installed, is_refusal, mpirun, output, run_args,
    stderr, succeeded,
};
use crate::false_gpu::{LIBTORCH, on_gpus};

/// Commands with small work.
const SMALL: [&[&str]; 3] = [
    &["run", "tiny.toml", "--out", "run", "--dry-run"],
    &["perf", "transforms", "--img", "8", "--batch", "2"],
    &["perf", "allreduce", "--mib", "1"],
];

/// Commands that look for their device before they read a file.
const ABSENT: [&[&str]; 5] = [
    &["probe", "--encoder", "absent.pt", "--data", "absent.h5"],
    &["transfer", "--features", "absent.h5"],
    &["segment", "--encoder", "absent.pt", "--data", "absent.h5"],
    &["xray", "--encoder", "absent.pt", "--data", "absent.h5"],
    &["perf", "train"],
];

/// The libtorch of the tests has no CUDA half.
#[test]
fn a_gpu_that_libtorch_cannot_use_refuses_every_command() {
    let folder = folder();
    let with_gpu =
        |args: &[&str]| output(Command::new(PROGRAM).args(args).current_dir(folder.path()).env(GPUS, "0"));
    let says = ["there is a GPU (CUDA_VISIBLE_DEVICES=0)", "has no CUDA half", "hint: ", "--device cpu"];
    for args in SMALL.iter().chain(&ABSENT) {
        is_refusal(&with_gpu(args), &says);
    }
    for args in SMALL {
        succeeded(&with_gpu(&[args, &["--device", "cpu"]].concat()));
    }
}

#[test]
fn a_cuda_half_that_sees_no_device_is_no_reason_to_use_the_cpu() {
    let folder = folder();
    let args = run_args("run", &["--dry-run"]);
    let says = ["SLURM_JOB_GPUS=1", "libtorch's CUDA 13.0 is loaded and sees 0 devices"];
    let mut command = Command::new(PROGRAM);
    command.args(&args).current_dir(folder.path()).env("LIBTORCH", &*LIBTORCH).env("EQR_FALSE_GPUS", "0");
    is_refusal(&output(command.env_remove(GPUS).env("SLURM_JOB_GPUS", "1")), &says);
    let asked = [&args[..], &["--device", "cuda"]].concat();
    is_refusal(&on_gpus(folder.path(), 0, &[], &asked), &["--device cuda: libtorch's CUDA 13.0 is loaded"]);
    // a machine without a GPU
    succeeded(&on_gpus(folder.path(), 0, &[], &args));
}

#[test]
fn the_cpu_of_a_machine_with_gpus_can_be_asked_for() {
    let folder = folder();
    let rate = |device: &str| -> Value {
        let args = [SMALL[2], &["--json", "--threads", "1", "--device", device]].concat();
        let timed = on_gpus(folder.path(), 1, &[], &args);
        succeeded(&timed);
        serde_json::from_slice(&timed.stdout).unwrap()
    };
    assert_eq!(rate("cpu")["config"]["device"], "Cpu");
    assert_eq!(rate("cuda")["config"]["device"], "Cuda(0)");
}

#[test]
fn ranks_of_different_kinds_are_refused_and_named() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let args = run_args("run", &["--methods", "Ours"]);
    let mut command = mpirun(folder.path(), 1);
    for gpus in [2, 0] {
        if gpus == 0 {
            command.args([":", "-n", "1"]);
        }
        command.args(["env", &format!("EQR_FALSE_GPUS={gpus}"), PROGRAM]).args(&args);
    }
    let refused = output(command.env("LIBTORCH", &*LIBTORCH));
    is_refusal(
        &refused,
        &["different kinds of devices: a GPU has each of the ranks 0 (", "on the CPU are 1 ("],
    );
}

#[test]
fn more_ranks_than_gpus_are_refused_before_anything_starts() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let mut command = eqr_ranks_command(folder.path(), 3, &run_args("run", &[]));
    let refused = output(command.env("LIBTORCH", &*LIBTORCH).env("EQR_FALSE_GPUS", "2"));
    is_refusal(
        &refused,
        &["3 ranks on ", " and 2 GPU(s): ", "hint: one rank per GPU (`mpirun --map-by ppr:2:node`"],
    );
    assert!(!folder.path().join("run").exists());
}

#[test]
fn more_ranks_than_cores_are_said() {
    if !has_mpi() || !is_installed("taskset") {
        return;
    }
    let folder = folder();
    let core = first_allowed_core();
    for (ranks, is_said) in [(1, false), (2, true)] {
        let mut command = mpirun(folder.path(), ranks);
        let timed = output(command.args(["taskset", "-c", &core, PROGRAM]).args(SMALL[2]));
        succeeded(&timed);
        let text = stderr(&timed);
        assert_eq!(text.matches("note: 2 ranks on ").count(), usize::from(is_said), "{text}");
        assert_eq!(
            text.contains(" share 1 core(s): ") && text.contains("hint: at most 1 rank(s)"),
            is_said,
            "{text}"
        );
    }
}

fn first_allowed_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    list.split([',', '-']).next().unwrap().to_owned()
}
