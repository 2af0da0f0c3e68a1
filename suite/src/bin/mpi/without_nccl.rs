//! What is said where GPUs have no NCCL.

use std::sync::Once;

use eqr_bench::console::say_aloud;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use crate::cuda_aware::is_cuda_aware;
use crate::nccl_library::Absence;

/// Says once, on rank 0 of the launch, that sums between GPUs go over MPI, and what to do.
pub fn note(absence: &Absence) {
    static SAID: Once = Once::new();
    if SimpleCommunicator::world().rank() == 0 {
        SAID.call_once(|| say_aloud(&text(absence, is_cuda_aware())));
    }
}

fn text(absence: &Absence, cuda_aware: bool) -> String {
    let way = if cuda_aware { "over MPI" } else { "over MPI through the memory of the host" };
    let (cause, hint) = match absence {
        Absence::TurnedOff => ("EQR_NCCL=0", "unset EQR_NCCL to use NCCL"),
        _ => (
            "NCCL is not found",
            "set EQR_NCCL to the path of libnccl.so.2, which is part of PyTorch for CUDA (package nvidia-nccl)",
        ),
    };
    format!("note: {cause}: gradients are summed {way}, not during the backward pass\nhint: {hint}")
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::nccl_library::Absence;

    #[test]
    fn the_note_names_the_cause_the_way_and_what_to_do() {
        let off = text(&Absence::TurnedOff, true);
        assert!(off.contains("EQR_NCCL=0: gradients are summed over MPI, not"), "{off}");
        let missing = text(&Absence::NotFound, false);
        assert!(missing.contains("NCCL is not found: gradients are summed over MPI through"), "{missing}");
        assert!(missing.contains("hint: set EQR_NCCL to the path of libnccl.so.2"), "{missing}");
    }
}
