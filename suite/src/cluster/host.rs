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

/// The CPU's model name, as the kernel reports it; on aarch64, where it reports numbers, the name that Arm
/// and others publish for them, or the numbers.
pub fn cpu_model() -> String {
    model_in(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// Processors of servers by "CPU implementer" and "CPU part". (GH200 and GB200 have Neoverse V2.)
const ARM_CORES: [(&str, &str, &str); 7] = [
    ("0x41", "0xd0c", "Arm Neoverse N1"),
    ("0x41", "0xd40", "Arm Neoverse V1"),
    ("0x41", "0xd49", "Arm Neoverse N2"),
    ("0x41", "0xd4f", "Arm Neoverse V2"),
    ("0x41", "0xd84", "Arm Neoverse V3"),
    ("0x46", "0x001", "Fujitsu A64FX"),
    ("0xc0", "0xac3", "Ampere-1"),
];

fn model_in(cpuinfo: &str) -> String {
    let value = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
        line.split_once(": ").map(|(_, value)| value.trim())
    };
    if let Some(name) = value("model name") {
        return name.to_owned();
    }
    let (Some(implementer), Some(part)) = (value("CPU implementer"), value("CPU part")) else {
        return "unknown".to_owned();
    };
    let known = ARM_CORES.iter().find(|core| (core.0, core.1) == (implementer, part));
    known.map_or(format!("implementer {implementer}, part {part}"), |core| core.2.to_owned())
}

#[cfg(test)]
mod tests {
    use super::model_in;

    #[test]
    fn processors_with_and_without_a_name() {
        let x86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 1\nmodel name\t: AMD EPYC 9654\n";
        assert_eq!(model_in(x86), "AMD EPYC 9654");
        let arm = |part: &str| {
            format!("processor\t: 0\nBogoMIPS\t: 2000.00\nCPU implementer\t: 0x41\nCPU part\t: {part}\n")
        };
        assert_eq!(model_in(&arm("0xd4f")), "Arm Neoverse V2");
        assert_eq!(model_in(&arm("0xfff")), "implementer 0x41, part 0xfff");
        assert_eq!(model_in(""), "unknown");
    }
}
