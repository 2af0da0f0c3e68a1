//! The kernels of GPUs, and what is said where they are not used.

use eqr_device::kernels::{self, Absence};
use tch::Device;

use crate::console::say_aloud;

/// Uses kernels on a GPU from now on. Rank 0 says why, if there are none; every rank says which of its own
/// turn out to be unusable.
pub fn use_kernels(device: Device, rank: usize) {
    let Device::Cuda(gpu) = device else { return };
    if let Err(absence) = kernels::begin(gpu, say_aloud)
        && rank == 0
    {
        say_aloud(&note(&absence));
    }
}

/// What compiles the kernels of a device, or why it has none.
pub fn description(device: Device) -> String {
    match device {
        Device::Cuda(gpu) => match kernels::description(gpu) {
            Ok(compiler) => format!("compiled by {compiler}"),
            Err(Absence::TurnedOff) => format!("turned off by {}=0", kernels::VARIABLE),
            Err(Absence::Missing(why)) => format!("none: {why}"),
        },
        _ => "none: they are for GPUs".to_owned(),
    }
}

fn note(absence: &Absence) -> String {
    let (switch, library) = (kernels::VARIABLE, kernels::nvrtc::VARIABLE);
    let (cause, hint) = match absence {
        Absence::TurnedOff => (format!("{switch}=0"), format!("unset {switch} to use them")),
        Absence::Missing(why) => (
            why.clone(),
            format!(
                "set {library} to the path of libnvrtc.so.13, which is part of PyTorch for CUDA (package \
                 nvidia-cuda-nvrtc); {switch}=0 does without"
            ),
        ),
    };
    format!(
        "note: {cause}: GPUs use libtorch's operations, not kernels of this program, which are faster\nhint: {hint}"
    )
}

#[cfg(test)]
mod tests {
    use eqr_device::kernels::Absence;

    use super::note;

    #[test]
    fn the_note_names_the_cause_and_what_to_do() {
        let off = note(&Absence::TurnedOff);
        assert!(
            off.starts_with("note: EQR_KERNELS=0: ") && off.contains("\nhint: unset EQR_KERNELS"),
            "{off}"
        );
        let missing = note(&Absence::Missing("NVRTC (libnvrtc.so.13) is not found".to_owned()));
        assert!(missing.starts_with("note: NVRTC (libnvrtc.so.13) is not found: "), "{missing}");
        assert!(missing.contains("\nhint: set EQR_NVRTC to the path"), "{missing}");
    }
}
