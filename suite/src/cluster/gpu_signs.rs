//! Signs that this machine has a GPU, whether libtorch can use it or not.

use std::path::Path;

/// What the driver says of itself, on machines that have one.
const DRIVER: &str = "/proc/driver/nvidia/version";

/// Values of `CUDA_VISIBLE_DEVICES` that hide every GPU; the last one is Slurm's.
const HIDDEN: [&str; 3] = ["", "-1", "NoDevFiles"];

/// Signs of a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuSigns {
    /// The first sign found, in words; `None` if there is none, or if GPUs are hidden from this process.
    pub first: Option<String>,
    /// Version of the driver, as in 580.65.06.
    pub driver: Option<String>,
}

impl GpuSigns {
    /// The signs on this machine.
    pub fn of_this_machine() -> GpuSigns {
        GpuSigns::read(Path::new(DRIVER), |name| std::env::var(name).ok())
    }

    /// The signs in `driver`, a file that a driver writes, and in environment variables.
    fn read(driver: &Path, variable: impl Fn(&str) -> Option<String>) -> GpuSigns {
        let text = std::fs::read_to_string(driver).ok();
        let version = text.as_deref().and_then(driver_version);
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned());
        let named = |name: &str| set(name).filter(|value| !HIDDEN.contains(&value.as_str()));
        let sign = |name: &str| named(name).map(|value| format!("{name}={value}"));
        let of_driver = || text.as_ref().map(|_| driver.display().to_string());
        let first = match set("CUDA_VISIBLE_DEVICES") {
            Some(_) => sign("CUDA_VISIBLE_DEVICES"),
            None => sign("SLURM_JOB_GPUS").or_else(of_driver),
        };
        GpuSigns { first, driver: version }
    }
}

/// The version in the driver's text: the first word that begins with `number.`.
fn driver_version(text: &str) -> Option<String> {
    let is_version =
        |word: &&str| word.split_once('.').is_some_and(|(major, _)| major.parse::<u32>().is_ok());
    text.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n\
                        GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n";

    fn first(has_driver: bool, set: &[(&str, &str)]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("version");
        if has_driver {
            std::fs::write(&file, TEXT).unwrap();
        }
        let variable = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).into());
        let found = GpuSigns::read(&file, variable);
        assert_eq!(found.driver.as_deref(), has_driver.then_some("570.124.06"));
        found.first.map(|sign| sign.replace(&file.display().to_string(), "the driver's file"))
    }

    #[test]
    fn every_sign_is_found() {
        assert_eq!(first(false, &[]), None);
        assert_eq!(first(true, &[]).as_deref(), Some("the driver's file"));
        assert_eq!(first(false, &[("SLURM_JOB_GPUS", "2,3")]).as_deref(), Some("SLURM_JOB_GPUS=2,3"));
        let visible = [("CUDA_VISIBLE_DEVICES", "0"), ("SLURM_JOB_GPUS", "2")];
        assert_eq!(first(true, &visible).as_deref(), Some("CUDA_VISIBLE_DEVICES=0"));
    }

    #[test]
    fn hidden_gpus_are_no_sign() {
        for value in HIDDEN {
            assert_eq!(first(true, &[("CUDA_VISIBLE_DEVICES", value), ("SLURM_JOB_GPUS", "2")]), None);
        }
    }
}
