//! One rank and what it computes with.

use std::num::NonZeroUsize;

use anyhow::{Result, anyhow, ensure};
use eqr_device::settings;
use eqr_models::Collective;
use eqr_models::collective::TransportError;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::cluster::accelerator::Accelerator;
use crate::cluster::agreement::{agree, gather};
use crate::cluster::allocator::keep_freed_memory;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::cores::LaunchCores;
use crate::cluster::gpu_signs::GpuSigns;
use crate::cluster::host::host;
use crate::cluster::kernels::use_kernels;
use crate::cluster::micro_batch::MicroBatch;
use crate::cluster::threads::{ensure_available, make_pool};
use crate::cluster::watchdog::SetUpWatch;
use crate::console::say_aloud;
use crate::failure::{Failure, Outcome, RUN_FAILED};

/// The variable by which cuBLAS chooses the memory of its products.
const CUBLAS_WORKSPACE: &str = "CUBLAS_WORKSPACE_CONFIG";

/// A rank and what it computes with.
pub struct Worker<'a> {
    /// All ranks.
    pub ranks: &'a dyn Collective,
    /// The GPUs that this rank could use.
    pub accelerator: Accelerator,
    /// This rank's device.
    pub device: Device,
    /// Number of threads on the CPU.
    pub threads: usize,
    /// How many pairs a rank encodes at a time.
    pub micro_batch: MicroBatch,
    /// Whether training steps are recorded as CUDA graphs.
    pub cuda_graph: bool,
}

/// Checks that `--cuda-graph` can be followed: one rank takes the steps, on a GPU.
///
/// # Errors
/// A CPU; several ranks that share a training.
pub fn check_cuda_graph(device: Device, ranks: usize) -> Result<()> {
    ensure!(device.is_cuda(), "--cuda-graph: the device is a CPU, which has no graphs\nhint: leave it out");
    ensure!(
        ranks == 1,
        "--cuda-graph: {ranks} ranks share a training, and the step of one rank is recorded\n\
         hint: --ranks-per-cell 1, or leave it out"
    );
    Ok(())
}

impl<'a> Worker<'a> {
    /// Chooses device and threads. All ranks have the same kind of device. If no number of threads is given,
    /// this rank uses its fair share of the node's cores.
    ///
    /// # Errors
    /// A device that is not there, or of another kind than those of other ranks; more ranks than GPUs; GPUs
    /// that cannot be connected; threads that cannot be started.
    pub fn start(ranks: &'a dyn Collective, options: ComputeOptions) -> Outcome<Self> {
        let ComputeOptions { device: kind, deterministic, threads } = options;
        let _watch = SetUpWatch::begin();
        keep_freed_memory();
        let accelerator = agree(ranks, kind.accelerator())?;
        let chosen = kind.choose(accelerator, ranks.place_on_node(), &GpuSigns::of_this_machine());
        let device = agree(ranks, chosen)?;
        let of_ranks = gather(ranks, &OwnDevice { is_gpu: device.is_cuda(), host: host() });
        same_kind(&of_ranks).map_err(Failure::bad_input)?;
        agree(ranks, set_up(device, deterministic))?;
        use_kernels(device, ranks.rank());
        let cores = LaunchCores::gather(ranks);
        if let Some(note) = cores.crowding().filter(|_| ranks.rank() == 0) {
            say_aloud(&note);
        }
        use_device(ranks, device)?;
        let threads = threads.map_or_else(|| cores.fair_threads(ranks.rank()), NonZeroUsize::get);
        ensure_available(threads)?;
        make_pool(threads)?;
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        Ok(Worker {
            ranks,
            accelerator,
            device,
            threads,
            micro_batch: MicroBatch::default(),
            cuda_graph: false,
        })
    }

    /// This rank as a member of its group `ranks`.
    ///
    /// # Errors
    /// A transport between GPUs that cannot be set up.
    pub fn in_group<'b>(&self, ranks: &'b dyn Collective) -> Outcome<Worker<'b>> {
        let _watch = SetUpWatch::begin();
        use_device(ranks, self.device)?;
        Ok(Worker { ranks, ..*self })
    }

    /// Whether this is the rank that prints and writes.
    pub fn leads(&self) -> bool {
        self.ranks.rank() == 0
    }
}

/// Settings of libtorch for a GPU.
fn set_up(device: Device, deterministic: bool) -> Result<()> {
    if !device.is_cuda() {
        return Ok(());
    }
    settings::compute_in_float32()?;
    if deterministic {
        let hint = "hint: CUBLAS_WORKSPACE_CONFIG=:4096:8, which the program sets if nothing else does";
        let workspace = std::env::var(CUBLAS_WORKSPACE).unwrap_or_default();
        ensure!(
            [":4096:8", ":16:8"].contains(&workspace.as_str()),
            "--deterministic: {CUBLAS_WORKSPACE}={workspace}: cuBLAS repeats its results with :4096:8 or :16:8 \
             alone\n{hint}"
        );
        settings::be_deterministic()?;
    }
    Ok(())
}

/// A rank's device, as the other ranks see it.
#[derive(Serialize, Deserialize)]
struct OwnDevice {
    is_gpu: bool,
    host: String,
}

/// Checks that either all ranks compute on GPUs or none does.
fn same_kind(of_ranks: &[OwnDevice]) -> Result<()> {
    let ranks = |is_gpu: bool| {
        let of_kind = of_ranks.iter().enumerate().filter(|(_, own)| own.is_gpu == is_gpu);
        of_kind.map(|(rank, own)| format!("{rank} ({})", own.host)).collect::<Vec<_>>()
    };
    let [gpus, cpus] = [true, false].map(ranks);
    ensure!(
        gpus.is_empty() || cpus.is_empty(),
        "ranks have different kinds of devices: a GPU has each of the ranks {}; on the CPU are {}\n\
         hint: start ranks only where GPUs are visible (`eqr-bench doctor`), or all with --device cpu",
        gpus.join(", "),
        cpus.join(", ")
    );
    Ok(())
}

fn use_device(ranks: &dyn Collective, device: Device) -> Outcome<()> {
    ranks.use_device(device).map_err(|error| match error {
        TransportError::Refused(text) => Failure::bad_input(anyhow!(text)),
        TransportError::Failed(text) => Failure { error: anyhow!(text), code: RUN_FAILED, agreed: true },
    })
}

#[cfg(test)]
mod tests {
    use super::{OwnDevice, same_kind};

    #[test]
    fn ranks_of_another_kind_are_named() {
        let own = |is_gpu, host: &str| OwnDevice { is_gpu, host: host.to_owned() };
        assert!(same_kind(&[own(true, "a"), own(true, "b")]).is_ok());
        assert!(same_kind(&[own(false, "a")]).is_ok());
        let mixed = [own(true, "a"), own(false, "b"), own(true, "a"), own(false, "b")];
        let text = same_kind(&mixed).unwrap_err().to_string();
        assert!(text.contains("the ranks 0 (a), 2 (a); on the CPU are 1 (b), 3 (b)\nhint: "), "{text}");
    }
}
