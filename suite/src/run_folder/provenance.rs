//! Where and by what a run is made, as found when it starts.

use std::fs::File;
use std::process::Command;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tch::Device;

use crate::cluster::accelerator::load_cuda;
use crate::cluster::host::{cpu_model, host, slurm_job};
use crate::cluster::worker::Worker;

/// Dependencies of this program, as it was built.
const CARGO_LOCK: &[u8] = include_bytes!("../../../Cargo.lock");

/// What this call of the program is: program, versions, machine, job. Of one rank; the ranks' hosts are `hosts`.
pub fn provenance(worker: &Worker, hosts: &[String]) -> Value {
    let mut nodes = hosts.to_vec();
    nodes.sort_unstable();
    nodes.dedup();
    json!({
        "started": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "git": env!("EQR_GIT"),
        "checkout": checkout(),
        "program": program_hash(),
        "cargo_lock": blake3::hash(CARGO_LOCK).to_hex().as_str(),
        "versions": versions(worker),
        "host": host(),
        "nodes": nodes,
        "slurm": slurm(),
        "modules": list("LOADEDMODULES"),
        "cpu": cpu_model(),
        "gpus": gpus(worker.device),
        "ranks": worker.ranks.size(),
        "threads": worker.threads,
        "device": format!("{:?}", worker.device),
    })
}

/// First line of what a program prints; none where there is no such program or it fails.
fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// The checkout that this program lies in, as it is now: it may have changed since the program was built. Null elsewhere.
fn checkout() -> Value {
    let program = std::env::current_exe().unwrap_or_default();
    let Some(root) = program.ancestors().find(|folder| folder.join(".git").exists() && folder.join("suite").exists())
    else {
        return Value::Null;
    };
    let git = |args: &[&str]| first_line("git", &[&["-C", &root.to_string_lossy()], args].concat());
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    json!({"commit": git(&["rev-parse", "HEAD"]), "dirty": changed.is_some_and(|line| !line.is_empty())})
}

/// BLAKE3 of the program's file.
fn program_hash() -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open("/proc/self/exe").ok()?).ok()?;
    Some(hasher.finalize().to_hex().to_string())
}

fn versions(worker: &Worker) -> Value {
    let cuda = load_cuda() == Ok(true);
    let of_cuda = |version: fn() -> i64| cuda.then(version);
    json!({
        "rustc": env!("EQR_RUSTC"),
        "libtorch": libtorch(),
        "cuda": of_cuda(tch::utils::version_cudart),
        "cudnn": of_cuda(tch::utils::version_cudnn),
        "transport": worker.ranks.transport(),
        "hdf5": eqr_datasets::hdf5_version(),
    })
}

/// Version of the libtorch in use, which the launcher has read.
fn libtorch() -> String {
    std::env::var("EQR_LIBTORCH_VERSION").unwrap_or_else(|_| "not said by the launcher".to_owned())
}

/// What the scheduler says of the job; null outside one.
fn slurm() -> Value {
    let Some(job) = slurm_job() else { return Value::Null };
    let named = [
        ("name", "SLURM_JOB_NAME"),
        ("partition", "SLURM_JOB_PARTITION"),
        ("nodes", "SLURM_JOB_NODELIST"),
        ("array_job", "SLURM_ARRAY_JOB_ID"),
        ("array_task", "SLURM_ARRAY_TASK_ID"),
        ("restarts", "SLURM_RESTART_COUNT"),
    ];
    let found = named.into_iter().filter_map(|(key, name)| Some((key.to_owned(), json!(std::env::var(name).ok()?))));
    let mut all: Map<String, Value> = found.collect();
    all.insert("job".to_owned(), json!(job));
    Value::Object(all)
}

/// The entries of a variable that is a list, separated by colons.
fn list(variable: &str) -> Vec<String> {
    let text = std::env::var(variable).unwrap_or_default();
    text.split(':').filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// Model, driver, clocks (MHz) and memory of this node's GPUs, as the driver's own tool prints them; null on a CPU.
fn gpus(device: Device) -> Value {
    if !device.is_cuda() {
        return Value::Null;
    }
    let keys = ["name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "memory.total"];
    let query = format!("--query-gpu={}", keys.join(","));
    let output = Command::new("nvidia-smi").args([&query, "--format=csv,noheader"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let gpu = |line: &str| -> Value {
        keys.iter().zip(line.split(", ")).map(|(key, value)| ((*key).to_owned(), json!(value.trim()))).collect()
    };
    text.lines().map(gpu).collect()
}
