//! The energy of trainings: GPUs by a false NVML, which is built here from
//! [false_nvml.c](../false_gpu/false_nvml.c), and nodes by false commands of Slurm.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{
    PROGRAM, cell, eqr, eqr_ranks_command, folder, has_mpi, output, run_args, spawn, stderr, succeeded,
};
use crate::false_gpu::{KERNELS, LIBTORCH};

const TRAINING: &str = "pretrain-ours-seed0";

/// The library.
static NVML: LazyLock<PathBuf> = LazyLock::new(|| {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libfalse-nvml.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/false_gpu/false_nvml.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-fPIC", "-shared", "-Wall", "-Wextra"]).arg(source).arg("-o").arg(&library);
    succeeded(&output(&mut compiler));
    library
});

/// One short training.
fn training(name: &str) -> Vec<&str> {
    run_args(name, &["--methods", "Ours", "--pretrain-only", "--set", "train.epochs=1"])
}

/// Counters of a processor that stands still.
fn powercap(folder: &Path) -> PathBuf {
    let zone = folder.join("powercap/intel-rapl:0");
    fs::create_dir_all(&zone).unwrap();
    for (file, text) in [("name", "package-0"), ("energy_uj", "5"), ("max_energy_range_uj", "1000")] {
        fs::write(zone.join(file), text).unwrap();
    }
    folder.join("powercap")
}

fn energy(run: &Path) -> Value {
    cell(run, TRAINING)["energy"].clone()
}

/// Two false GPUs with NVML.
fn on_gpus<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command.env("LIBTORCH", &*LIBTORCH).env("EQR_FALSE_GPUS", "2").env("EQR_FALSE_GPU_OPEN", "1");
    command.env(KERNELS.0, "0");
    command.env("EQR_NVML", &*NVML).env("EQR_NCCL", "0").env("EQR_POWERCAP", powercap(folder))
}

#[test]
fn the_gpu_of_every_rank_is_counted_beside_the_processors() {
    let folder = folder();
    let here = folder.path();
    let one = |name: &str| {
        let mut command = Command::new(PROGRAM);
        on_gpus(command.args(training(name)).current_dir(here), here);
        command
    };
    succeeded(&output(&mut one("one")));
    assert_eq!(energy(&here.join("one")), json!({"processors_wh": 0.0, "gpus_wh": 2.0}));
    if has_mpi() {
        let mut two = eqr_ranks_command(here, 2, &training("two"));
        succeeded(&output(on_gpus(&mut two, here)));
        assert_eq!(energy(&here.join("two")), json!({"processors_wh": 0.0, "gpus_wh": 6.0}));
    }
    // a GPU without a counter: what is known stays, and there is no sum
    succeeded(&output(one("old").env("EQR_FALSE_NVML_UNSUPPORTED", "1")));
    let old = energy(&here.join("old"));
    let cause =
        "GPU-00010101-0101-0101-0101-010101010101: nvmlDeviceGetTotalEnergyConsumption: Not Supported";
    assert_eq!(old, json!({"processors_wh": 0.0, "not_available": cause}));
    succeeded(&output(one("without").env("EQR_NVML", "/nowhere/libnvidia-ml.so.1")));
    let without = energy(&here.join("without"));
    let cause = without["not_available"].as_str().unwrap();
    assert!(cause.starts_with("EQR_NVML=/nowhere/libnvidia-ml.so.1: "), "{without}");
}

/// A command of Slurm.
fn command(folder: &Path, name: &str, script: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Each reading of the counter is a watt-hour more than the one before.
#[test]
fn slurm_counts_the_nodes_of_a_job_that_has_them_for_itself() {
    let folder = folder();
    let here = folder.path();
    let commands = here.join("slurm");
    fs::create_dir(&commands).unwrap();
    let config = "AcctGatherEnergyType    = acct_gather_energy/ipmi\nJobAcctGatherFrequency  = 1";
    command(&commands, "scontrol", &format!("echo '{config}'"));
    // ten samples pass at the first reading
    let sstat = "[ -e \"$0.joules\" ] || sleep 10; n=$(($(cat \"$0.joules\" 2>/dev/null || echo 0) + 3600)); echo $n | tee \"$0.joules\"";
    command(&commands, "sstat", &format!("[ \"$4\" = 7.batch ] || exit 1\n{sstat}"));
    let run = |name: &str, shares: &str| {
        command(&commands, "squeue", &format!("echo {shares}"));
        let path = format!("{}:{}", commands.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(PROGRAM);
        command.args(training(name)).current_dir(here).env("PATH", path).env("SLURM_JOB_ID", "7");
        let done = output(command.env("EQR_POWERCAP", "/nowhere"));
        succeeded(&done);
        (energy(&here.join(name)), stderr(&done))
    };
    let (alone, said) = run("alone", "NO");
    assert_eq!(alone, json!({"nodes_wh": 1.0}));
    assert!(said.contains("1.00 Wh of the nodes, "), "{said}");
    let (shared, said) = run("shared", "OK");
    let cause = shared["not_available"].as_str().unwrap();
    assert!(cause.contains("/nowhere shows no counters") && cause.contains("(OverSubscribe=OK)"), "{shared}");
    assert!(!said.contains("Wh"), "{said}");

    let views = cell(&here.join("alone"), TRAINING)["views"].as_f64().unwrap();
    let table = eqr(here, &["report", "alone", "--only", "cost", "--format", "markdown"]);
    succeeded(&table);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("Wh per million views (nodes)") && table.contains("1.000"), "{table}");
    assert!(table.contains(&format!("{:.3}", 1e6 / views)), "{table}");
    let table = eqr(here, &["report", "shared", "--only", "cost", "--format", "csv"]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("views per second"));
}

/// A whole run says its energy where its other values stand.
#[test]
fn the_energy_is_in_manifest_report_and_comparison() {
    let folder = folder();
    let here = folder.path();
    let counters = powercap(here);
    let counter = counters.join("intel-rapl:0/energy_uj");
    fs::write(counters.join("intel-rapl:0/max_energy_range_uj"), "1000000000000").unwrap();
    let args = run_args("run", &["--methods", "Ours", "--set", "train.epochs=1"]);
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(here).env("EQR_POWERCAP", counters);
    let mut run = spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    // a processor that takes energy as time goes on
    let next = here.join("energy_uj");
    let mut microjoules = 5u64;
    let ended = loop {
        microjoules += 1_000_000;
        fs::write(&next, microjoules.to_string()).unwrap();
        fs::rename(&next, &counter).unwrap();
        if let Some(ended) = run.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended.success(), "{ended}");
    let manifest: Value = serde_json::from_slice(&fs::read(here.join("run/manifest.json")).unwrap()).unwrap();
    let own = &manifest["energy"][TRAINING];
    let [all, million] =
        ["processors_wh", "wh_per_million_views"].map(|key| own[key].as_f64().unwrap_or_default());
    let views = cell(&here.join("run"), TRAINING)["views"].as_f64().unwrap();
    assert!(all > 0.0 && (million / (all / views * 1e6) - 1.0).abs() < 1e-9, "{own}");
    for file in ["report.html", "tables/table-main.md", "tables/table-main.csv", "tables/table-main.tex"] {
        let text = fs::read_to_string(here.join("run").join(file)).unwrap();
        assert!(text.contains("Wh per million views (processors)"), "{file}");
    }
    let compared = eqr(here, &["compare", "run", "run"]);
    succeeded(&compared);
    let text = String::from_utf8(compared.stdout).unwrap();
    assert!(text.contains("Ours (processors), Wh per million views"), "{text}");
    succeeded(&eqr(here, &["verify", "run"]));
}
