//! The kind of device that the user wants, and the device that a rank takes.

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use eqr_models::collective::NodePlace;
use tch::Device;

use crate::cluster::accelerator::Accelerator;
use crate::cluster::gpu_signs::GpuSigns;
use crate::cluster::missing_gpu::MissingGpu;

/// A kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    /// A GPU for each rank, or the CPU of a machine without one.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU for each rank.
    Cuda,
}

impl DeviceKind {
    /// The GPUs that this process can use; none are looked for if it computes on the CPU.
    ///
    /// # Errors
    /// A CUDA half of libtorch that does not load.
    pub fn accelerator(self) -> Result<Accelerator> {
        if self == DeviceKind::Cpu {
            return Ok(Accelerator::default());
        }
        Accelerator::load().map_err(|text| {
            let hint = "hint: point LIBTORCH at a libtorch 2.11 whose CUDA libraries are complete";
            anyhow!("libtorch_cuda.so does not load: {text}\n{hint}")
        })
    }

    /// The device of the rank at `place` on its node of this machine.
    ///
    /// # Errors
    /// As [`Self::accelerator`] and [`Self::choose`].
    pub fn device(self, place: NodePlace) -> Result<Device> {
        self.choose(self.accelerator()?, place, &GpuSigns::of_this_machine())
    }

    /// The device of this kind of the rank at `place` on its node. `signs` are those of a GPU on this
    /// machine.
    ///
    /// # Errors
    /// No GPU, although one is asked for or the machine has one; fewer GPUs than ranks of this node.
    pub fn choose(self, accelerator: Accelerator, place: NodePlace, signs: &GpuSigns) -> Result<Device> {
        match self {
            DeviceKind::Cpu => Ok(Device::Cpu),
            DeviceKind::Auto | DeviceKind::Cuda if accelerator.gpus > 0 => accelerator.own_device(place),
            DeviceKind::Auto => signs.first.as_ref().map_or(Ok(Device::Cpu), |sign| {
                let missing = MissingGpu::find(accelerator, signs);
                let said = "but this program would compute on the CPU";
                let hint = "`--device cpu` computes on the CPU all the same";
                Err(anyhow!("there is a GPU ({sign}), {said}: {missing}\nhint: {}; {hint}", missing.remedy()))
            }),
            DeviceKind::Cuda => {
                let missing = MissingGpu::find(accelerator, signs);
                Err(anyhow!("--device cuda: {missing}\nhint: {}", missing.remedy()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Accelerator = Accelerator { has_cuda: false, gpus: 0 };

    fn signs(first: Option<&str>) -> GpuSigns {
        GpuSigns { first: first.map(str::to_owned), driver: None }
    }

    #[test]
    fn a_machine_without_a_gpu_computes_on_its_cpu() {
        for has_cuda in [false, true] {
            let none = Accelerator { has_cuda, ..NONE };
            assert_eq!(DeviceKind::Auto.choose(none, NodePlace::ALONE, &signs(None)).unwrap(), Device::Cpu);
        }
    }

    #[test]
    fn a_machine_with_a_gpu_uses_its_cpu_only_if_asked() {
        let seen = signs(Some("SLURM_JOB_GPUS=0"));
        let text = DeviceKind::Auto.choose(NONE, NodePlace::ALONE, &seen).unwrap_err().to_string();
        assert!(text.starts_with("there is a GPU (SLURM_JOB_GPUS=0), but this program would"), "{text}");
        assert!(text.contains("has no CUDA half") && text.contains("`--device cpu`"), "{text}");
        assert_eq!(DeviceKind::Cpu.choose(NONE, NodePlace::ALONE, &seen).unwrap(), Device::Cpu);
    }

    #[test]
    fn a_gpu_that_is_asked_for_is_not_replaced() {
        let text = DeviceKind::Cuda.choose(NONE, NodePlace::ALONE, &signs(None)).unwrap_err().to_string();
        assert!(text.starts_with("--device cuda: ") && text.contains("\nhint: "), "{text}");
        let one = Accelerator { has_cuda: true, gpus: 1 };
        assert!(DeviceKind::Cuda.choose(one, NodePlace::ALONE, &signs(None)).unwrap().is_cuda());
        assert_eq!(DeviceKind::Cpu.choose(one, NodePlace::ALONE, &signs(None)).unwrap(), Device::Cpu);
    }
}
