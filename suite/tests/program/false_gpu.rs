//! The GPU path without a GPU: the program on the false one of [false_gpu.cpp](../false_gpu/false_gpu.cpp),
//! which is built here. Its kernels are the CPU's, so its numbers must be, too.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

use crate::common::{
    PROGRAM, folder, is_refusal, output, run_args, same_losses, stderr, succeeded, tiny_run,
};

/// The libtorch that the program uses, with the false GPU as its CUDA half.
pub static LIBTORCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let own = std::env::var_os("LIBTORCH").map_or_else(|| repository.join(".libtorch"), PathBuf::from);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("false-gpu");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("lib")).unwrap();
    for library in std::fs::read_dir(own.join("lib")).unwrap().flatten() {
        let (from, to) =
            (library.path().canonicalize().unwrap(), folder.join("lib").join(library.file_name()));
        // not a symbolic link, whose target the launcher would take for the libtorch
        std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop)).unwrap();
    }
    for file in ["version", "build-version"].into_iter().filter(|file| own.join(file).is_file()) {
        std::fs::copy(own.join(file), folder.join(file)).unwrap();
    }
    let mut build = Command::new(repository.join("scripts/build-false-gpu.sh"));
    let own = own.canonicalize().unwrap();
    succeeded(&output(build.arg(own).arg(folder.join("lib"))));
    folder
});

/// What lets the program use its kernels. The false GPU runs their threads one after the other, which is
/// slow, so only tests that are about them do.
pub const KERNELS: (&str, &str) = ("EQR_KERNELS", "1");

/// Runs the program on `devices` false GPUs, without kernels unless `variables` has [`KERNELS`].
pub fn on_gpus(folder: &Path, devices: usize, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(folder).env("LIBTORCH", &*LIBTORCH);
    command.env("EQR_FALSE_GPUS", devices.to_string()).env("EQR_FALSE_GPU_OPEN", "1");
    command.env(KERNELS.0, "0");
    output(command.envs(variables.iter().copied()))
}

#[test]
fn the_program_sees_false_gpus() {
    let folder = folder();
    let seen = on_gpus(folder.path(), 2, &[], &["doctor", "--json"]);
    succeeded(&seen);
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!(seen["gpus"], 2, "{seen}");
    let none = on_gpus(folder.path(), 0, &[], &["doctor", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&none.stdout).unwrap()["gpus"], 0);
}

/// Between operations the host cannot touch the memory of the device: a raw read of it would end the process.
#[test]
fn a_training_on_a_false_gpu_has_the_losses_of_the_cpu() {
    let folder = folder();
    let here = folder.path();
    let args = run_args("run", &["--methods", "Ours", "--pretrain-only"]);
    let closed = [("EQR_FALSE_GPU_OPEN", "0"), ("EQR_FALSE_GPU_COUNTS", "counts.json")];
    succeeded(&on_gpus(here, 1, &closed, &args));
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(here.join("run/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["provenance"]["device"], "Cuda(0)", "{manifest}");
    same_losses(&here.join("run"), tiny_run(), "pretrain-ours-seed0", 4);
    let counts: Value = serde_json::from_slice(&std::fs::read(here.join("counts.json")).unwrap()).unwrap();
    assert!(counts["operations"].as_u64().unwrap() > 1000 && counts["scalar_reads"].is_u64(), "{counts}");
}

#[test]
fn a_device_without_memory_is_said() {
    let folder = folder();
    let small = [("EQR_FALSE_GPU_BYTES", "1000000")];
    let refused = on_gpus(folder.path(), 1, &small, &run_args("run", &["--methods", "Ours"]));
    assert_eq!(refused.status.code(), Some(3));
    let text = stderr(&refused);
    assert!(text.contains("error: out of memory: CUDA out of memory. Tried to allocate"), "{text}");
    assert!(text.contains("hint: a smaller network, image or batch"), "{text}");
}

/// libtorch rounds the factors of convolutions to TF32 unless it is told not to.
#[test]
fn float32_is_computed_in_float32_and_deterministically_if_asked() {
    let folder = folder();
    let here = folder.path();
    let counted = [("EQR_FALSE_GPU_COUNTS", "counts.json")];
    for (out, more, is_deterministic) in
        [("plain", vec![], false), ("repeats", vec!["--deterministic"], true)]
    {
        let args = run_args(out, &["--methods", "Ours", "--pretrain-only"]);
        succeeded(&on_gpus(here, 1, &counted, &[args, more].concat()));
        let counts: Value =
            serde_json::from_slice(&std::fs::read(here.join("counts.json")).unwrap()).unwrap();
        let [rounded, emptied, repeated] =
            ["operations_with_tf32", "emptied_caches", "deterministic_operations"].map(|key| &counts[key]);
        assert_eq!((rounded, emptied), (&0.into(), &1.into()), "{counts}");
        // a few operations come before the settings
        assert_eq!(repeated.as_u64() > Some(1000), is_deterministic, "{out}: {counts}");
    }
    let variable = [("CUBLAS_WORKSPACE_CONFIG", ":0:0")];
    let refused = on_gpus(here, 1, &variable, &run_args("refused", &["--deterministic"]));
    is_refusal(&refused, &["--deterministic: CUBLAS_WORKSPACE_CONFIG=:0:0", "hint: "]);
}
