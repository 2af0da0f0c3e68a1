//! The program and the machine of a run, recorded when it starts.

use std::fs::File;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::cluster::accelerator::gpu_details;
use crate::cluster::host::{cpu_model, host, slurm_job};
use crate::cluster::precision::Choice;
use crate::cluster::worker::Worker;

/// Dependencies of this program, as it was built.
const CARGO_LOCK: &[u8] = include_bytes!("../../../Cargo.lock");

/// The first second that RFC 3339 cannot write.
const YEAR_10000: u64 = 253_402_300_800;

/// Program, versions, machine and job of this call, as this rank sees them; `hosts` are the machines of all
/// ranks, `precision` is the number type of the run.
pub fn provenance(worker: &Worker, hosts: &[String], precision: Choice) -> Value {
    let mut nodes = hosts.to_vec();
    nodes.sort_unstable();
    nodes.dedup();
    json!({
        "started": point_in_time(SystemTime::now()),
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
        "gpus": gpu_details(worker.device),
        "ranks": worker.ranks.size(),
        "threads": worker.threads,
        "precision": precision.to_string(),
        "device": format!("{:?}", worker.device),
    })
}

/// A point in time as RFC 3339; `None` if a clock that is not set says a time before 1970 or after 9999.
fn point_in_time(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (seconds < YEAR_10000).then(|| humantime::format_rfc3339_seconds(time).to_string())
}

/// The first line that a program prints; `None` if the program is absent or fails.
fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// The current state of the checkout that contains this program. It may have changed since the build. Null
/// outside a checkout.
fn checkout() -> Value {
    let program = std::env::current_exe().unwrap_or_default();
    let Some(root) =
        program.ancestors().find(|folder| folder.join(".git").exists() && folder.join("suite").exists())
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
    json!({
        "rustc": env!("EQR_RUSTC"),
        "libtorch": libtorch(),
        "cuda": worker.accelerator.cuda_version(),
        "cudnn": worker.accelerator.cudnn_version(),
        "transport": worker.ranks.transport(),
        "hdf5": eqr_datasets::hdf5_version(),
    })
}

/// Version of the libtorch in use, as found by the launcher.
fn libtorch() -> String {
    std::env::var("EQR_LIBTORCH_VERSION").unwrap_or_else(|_| "not said by the launcher".to_owned())
}

/// The scheduler's data about the job; null outside a job.
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
    let found =
        named.into_iter().filter_map(|(key, name)| Some((key.to_owned(), json!(std::env::var(name).ok()?))));
    let mut all: Map<String, Value> = found.collect();
    all.insert("job".to_owned(), json!(job));
    Value::Object(all)
}

/// The items of an environment variable that is a list separated by colons.
fn list(variable: &str) -> Vec<String> {
    let text = std::env::var(variable).unwrap_or_default();
    text.split(':').filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_not_set_is_no_reason_to_panic() {
        let second = Duration::from_secs(1);
        assert_eq!(point_in_time(UNIX_EPOCH - second), None);
        assert_eq!(point_in_time(UNIX_EPOCH).as_deref(), Some("1970-01-01T00:00:00Z"));
        let last = UNIX_EPOCH + Duration::from_secs(YEAR_10000 - 1);
        assert_eq!(point_in_time(last).as_deref(), Some("9999-12-31T23:59:59Z"));
        assert_eq!(point_in_time(last + second), None);
    }
}
