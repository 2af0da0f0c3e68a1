//! One rank and what it computes with.

use std::num::NonZeroUsize;

use anyhow::anyhow;
use eqr_models::Collective;
use tch::Device;

use crate::cluster::accelerator::{device, load_cuda, local_rank};
use crate::cluster::agreement::agree;
use crate::cluster::allocator::keep_freed_memory;
use crate::cluster::cores::default_threads;
use crate::failure::{Failure, Outcome};

/// A rank and what it computes with.
pub struct Worker<'a> {
    /// The other ranks.
    pub ranks: &'a dyn Collective,
    /// This rank's device.
    pub device: Device,
    /// Threads of a CPU rank.
    pub threads: usize,
    /// Pairs that a rank encodes at a time; all of its part of the batch where unset.
    pub micro_batch: Option<i64>,
}

impl<'a> Worker<'a> {
    /// Chooses device and threads: local rank to GPU, or the only one that a launcher left visible; threads by [`fair_threads`].
    ///
    /// # Errors
    /// libtorch_cuda that does not load, or fewer GPUs than local ranks.
    pub fn start(ranks: &'a dyn Collective, threads: Option<NonZeroUsize>) -> Outcome<Self> {
        keep_freed_memory();
        let loaded = load_cuda().map_err(|text| {
            anyhow!("libtorch_cuda.so does not load: {text}\nhint: point LIBTORCH at a libtorch 2.11 whose CUDA libraries are complete")
        });
        agree(ranks, loaded)?;
        let (local, local_size) = local_rank();
        let gpus = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        // a launcher may show each rank its own GPU alone
        let own_gpu = gpus == 1 && std::env::var_os("CUDA_VISIBLE_DEVICES").is_some();
        let device = agree(ranks, if own_gpu { Ok(Device::Cuda(0)) } else { device(gpus, local, local_size) })?;
        ranks
            .use_device(device)
            .map_err(|text| Failure::run(anyhow!("the GPUs' collective cannot be set up: {text}")))?;
        let fair = default_threads(ranks);
        let threads = threads.map_or(fair, NonZeroUsize::get);
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        // images are decoded by as many; a pool that a caller has set up already stays
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        Ok(Worker { ranks, device, threads, micro_batch: None })
    }

    /// The same rank among the `ranks` of its group.
    ///
    /// # Errors
    /// A transport among GPUs that cannot be set up.
    pub fn among<'b>(&self, ranks: &'b dyn Collective) -> Outcome<Worker<'b>> {
        ranks
            .use_device(self.device)
            .map_err(|text| Failure::run(anyhow!("the GPUs' collective cannot be set up: {text}")))?;
        Ok(Worker { ranks, device: self.device, threads: self.threads, micro_batch: self.micro_batch })
    }

    /// Whether this rank speaks and writes.
    pub fn leads(&self) -> bool {
        self.ranks.rank() == 0
    }
}
