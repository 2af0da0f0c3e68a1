//! Why this process sees no GPU, and what can be done about it.

use std::fmt::{Display, Formatter, Result};

use crate::cluster::accelerator::Accelerator;
use crate::cluster::gpu_signs::GpuSigns;

/// The oldest driver for each CUDA: major versions, from NVIDIA's release notes.
const LEAST_DRIVERS: [(i64, u32); 3] = [(11, 450), (12, 525), (13, 580)];

/// Why this process sees no GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingGpu {
    /// libtorch has no CUDA half.
    NoCudaHalf {
        /// The libtorch in use.
        libtorch: String,
    },
    /// The driver is older than libtorch's CUDA.
    OldDriver {
        /// Version of the driver.
        driver: String,
        /// Version of CUDA.
        cuda: String,
        /// The driver's least major version.
        least: u32,
    },
    /// The CUDA half is loaded, and counts no device.
    NoDevice {
        /// Version of CUDA.
        cuda: String,
    },
}

impl MissingGpu {
    /// Why `accelerator` has no GPU.
    pub fn find(accelerator: Accelerator, signs: &GpuSigns) -> MissingGpu {
        match accelerator.cuda_version() {
            None => MissingGpu::NoCudaHalf {
                libtorch: std::env::var("EQR_LIBTORCH").unwrap_or_else(|_| "found by the loader".into()),
            },
            Some(number) => Self::with_cuda(number, signs.driver.as_deref()),
        }
    }

    /// `number` is CUDA's own: 13000 is 13.0.
    fn with_cuda(number: i64, driver: Option<&str>) -> MissingGpu {
        let (major, cuda) = (number / 1000, format!("{}.{}", number / 1000, number % 1000 / 10));
        let least = LEAST_DRIVERS.iter().find(|(cuda, _)| *cuda == major).map(|&(_, least)| least);
        let own = driver.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        match (driver, own, least) {
            (Some(driver), Some(own), Some(least)) if own < least => {
                MissingGpu::OldDriver { driver: driver.to_owned(), cuda, least }
            }
            _ => MissingGpu::NoDevice { cuda },
        }
    }

    /// What can be done.
    pub fn remedy(&self) -> &'static str {
        match self {
            MissingGpu::NoCudaHalf { .. } => {
                "set LIBTORCH to a PyTorch 2.11 with CUDA (the folder of python's `torch`, which is only \
                 taken by itself where there is no .libtorch folder)"
            }
            MissingGpu::OldDriver { .. } => {
                "update the driver, or set LIBTORCH to a PyTorch 2.11 for an older CUDA"
            }
            MissingGpu::NoDevice { .. } => {
                "see `nvidia-smi`, CUDA_VISIBLE_DEVICES, and whether the job asked for GPUs (--gres=gpu:N)"
            }
        }
    }
}

impl Display for MissingGpu {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            MissingGpu::NoCudaHalf { libtorch } => {
                write!(f, "the libtorch in use ({libtorch}) has no CUDA half (lib/libtorch_cuda.so)")
            }
            MissingGpu::OldDriver { driver, cuda, least } => {
                write!(f, "its driver {driver} is too old for libtorch's CUDA {cuda}, which needs {least}")
            }
            MissingGpu::NoDevice { cuda } => write!(f, "libtorch's CUDA {cuda} is loaded and sees 0 devices"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_told_from_a_missing_device() {
        let found = |driver| MissingGpu::with_cuda(13_000, driver).to_string();
        let old = found(Some("570.124.06"));
        assert!(old.contains("570.124.06") && old.contains("CUDA 13.0, which needs 580"), "{old}");
        for driver in [Some("580.65.06"), Some("600.1"), None] {
            assert_eq!(found(driver), "libtorch's CUDA 13.0 is loaded and sees 0 devices");
        }
        assert_eq!(
            MissingGpu::with_cuda(12_080, Some("570.1")),
            MissingGpu::NoDevice { cuda: "12.8".to_owned() }
        );
    }
}
