//! One rank and what it computes with.

use std::num::NonZeroUsize;

use anyhow::anyhow;
use eqr_models::Collective;
use eqr_models::collective::TransportError;
use tch::Device;

use crate::cluster::accelerator::{Accelerator, FIRST_GPU};
use crate::cluster::agreement::agree;
use crate::cluster::allocator::keep_freed_memory;
use crate::cluster::cores::default_threads;
use crate::cluster::threads::{ensure_available, make_pool};
use crate::failure::{Failure, Outcome};

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
    /// Number of pairs that a rank encodes at a time; if unset, its whole share of the batch.
    pub micro_batch: Option<i64>,
}

impl<'a> Worker<'a> {
    /// Chooses device and threads. The device is the GPU whose number is the local rank, or the only GPU that
    /// the launcher left visible. If `threads` is unset, this rank uses its fair share of the node's cores.
    ///
    /// # Errors
    /// A libtorch_cuda that does not load, or fewer GPUs than local ranks; threads that cannot be started.
    pub fn start(ranks: &'a dyn Collective, threads: Option<NonZeroUsize>) -> Outcome<Self> {
        keep_freed_memory();
        let accelerator = Accelerator::load().map_err(|text| {
            let hint = "hint: point LIBTORCH at a libtorch 2.11 whose CUDA libraries are complete";
            anyhow!("libtorch_cuda.so does not load: {text}\n{hint}")
        });
        let accelerator = agree(ranks, accelerator)?;
        let place = ranks.place_on_node();
        // a launcher may show each rank only its own GPU
        let own_gpu = accelerator.gpus == 1 && std::env::var_os("CUDA_VISIBLE_DEVICES").is_some();
        let device = if own_gpu { Ok(FIRST_GPU) } else { accelerator.device(place) };
        let device = agree(ranks, device)?;
        use_device(ranks, device)?;
        let fair = default_threads(ranks);
        let threads = threads.map_or(fair, NonZeroUsize::get);
        ensure_available(threads)?;
        make_pool(threads)?;
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        Ok(Worker { ranks, accelerator, device, threads, micro_batch: None })
    }

    /// This rank as a member of its group `ranks`.
    ///
    /// # Errors
    /// A transport between GPUs that cannot be set up.
    pub fn in_group<'b>(&self, ranks: &'b dyn Collective) -> Outcome<Worker<'b>> {
        use_device(ranks, self.device)?;
        let Worker { accelerator, device, threads, micro_batch, .. } = *self;
        Ok(Worker { ranks, accelerator, device, threads, micro_batch })
    }

    /// Whether this is the rank that prints and writes.
    pub fn leads(&self) -> bool {
        self.ranks.rank() == 0
    }
}

fn use_device(ranks: &dyn Collective, device: Device) -> Outcome<()> {
    ranks.use_device(device).map_err(|error| match error {
        TransportError::Everywhere(text) => Failure::bad_input(anyhow!(text)),
        TransportError::Here(text) => {
            Failure::run(anyhow!("the collective of the GPUs cannot be set up: {text}"))
        }
    })
}
