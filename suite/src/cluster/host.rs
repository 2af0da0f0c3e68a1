//! This machine and its job.

/// Name of this machine.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Slurm's job id, or the id of an array task.
pub fn slurm_job() -> Option<String> {
    std::env::var("SLURM_JOB_ID").ok()
}

/// How often Slurm has started this job again.
pub fn slurm_restarts() -> u64 {
    std::env::var("SLURM_RESTART_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// The CPU's model name, as the kernel reports it.
pub fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned()
}
