//! Collectives over MPI, and over NCCL if every rank has a GPU.

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use eqr_bench::cluster::agreement::gather;
use eqr_bench::cluster::host::host;
use eqr_bench::cluster::watchdog::waiting;
use eqr_bench::failure::end_now;
use eqr_models::Collective;
use eqr_models::collective::{NodePlace, OVERLAPPED_BYTES, TransportError};
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::topology::{Color, SimpleCommunicator};
use mpi::traits::{Communicator, CommunicatorCollectives};
use tch::{Device, Tensor};

use crate::background::BackgroundSums;
use crate::calls;
use crate::cuda_aware::is_cuda_aware;
use crate::gpu_identity::{GpuIdentity, shared_gpu};
use crate::nccl::Nccl;
use crate::nccl_library::{Absence, NcclLibrary};
use crate::without_nccl;

/// All ranks of the launch, or a group of them.
pub struct World {
    comm: SimpleCommunicator,
    threading: Threading,
    /// The device of this rank, once it is known.
    device: Cell<Device>,
    /// Set if every rank computes on a GPU and finds NCCL.
    nccl: OnceCell<Nccl>,
    /// Sums host memory while the computation goes on; started by the first sum.
    background: OnceCell<BackgroundSums>,
}

impl World {
    /// The ranks of `comm`; `threading` is the thread support that MPI granted.
    pub fn new(comm: SimpleCommunicator, threading: Threading) -> Self {
        let device = Cell::new(Device::Cpu);
        World { comm, threading, device, nccl: OnceCell::new(), background: OnceCell::new() }
    }

    /// NCCL, for tensors on the GPU.
    fn nccl(&self, tensor: &Tensor) -> Option<&Nccl> {
        self.nccl.get().filter(|_| tensor.device().is_cuda())
    }

    /// NCCL's functions, if every rank has them.
    ///
    /// # Errors
    /// A library that some rank was told to use and cannot.
    fn nccl_library(&self) -> Result<Option<&'static NcclLibrary>, TransportError> {
        let own = NcclLibrary::load();
        let absences: Vec<Option<Absence>> = gather(self, &own.err().cloned());
        let unusable = absences.iter().enumerate().find_map(|(rank, absence)| match absence {
            Some(Absence::Unusable(text)) => Some(format!("rank {rank}: {text}")),
            _ => None,
        });
        if let Some(text) = unusable {
            return Err(TransportError::Everywhere(text));
        }
        match absences.into_iter().flatten().next() {
            None => Ok(own.ok()),
            Some(absence) => {
                without_nccl::note(&absence);
                Ok(None)
            }
        }
    }

    /// Whether `condition` holds on every rank.
    fn all_ranks(&self, condition: bool) -> bool {
        let mut least = 0u8;
        self.comm.all_reduce_into(&u8::from(condition), &mut least, SystemOperation::min());
        least == 1
    }
}

/// Ends every rank of the launch with `code`, from any thread.
pub fn abort_job(code: i32) -> ! {
    if !mpi::is_initialized() {
        // the launcher ends the other processes when one of them ends like this
        end_now(code);
    }
    // another thread may be blocked in MPI: if the abort waits for it, this process still ends
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(5));
        std::process::abort();
    });
    SimpleCommunicator::world().abort(code)
}

/// The tensor itself if MPI can read it, otherwise a contiguous copy in memory that it can read.
fn readable_by_mpi(tensor: &Tensor) -> Tensor {
    match tensor.device() {
        Device::Cuda(gpu) if is_cuda_aware() => {
            let tensor = tensor.contiguous();
            // MPI does not wait for CUDA streams
            tch::Cuda::synchronize(gpu as i64);
            tensor
        }
        _ => tensor.to_device(Device::Cpu).contiguous(),
    }
}

impl Collective for World {
    fn rank(&self) -> usize {
        self.comm.rank() as usize
    }

    fn size(&self) -> usize {
        self.comm.size() as usize
    }

    fn place_on_node(&self) -> NodePlace {
        let node = self.comm.split_shared(0);
        NodePlace { rank: node.rank() as usize, ranks: node.size() as usize }
    }

    fn use_device(&self, device: Device) -> Result<(), TransportError> {
        self.device.set(device);
        // all ranks must make the same choice: a rank that joins waits for the others
        if self.size() == 1 || !self.all_ranks(device.is_cuda()) {
            return Ok(());
        }
        let Device::Cuda(gpu) = device else { return Ok(()) };
        if let Some(text) = shared_gpu(&gather(self, &GpuIdentity::of(host(), gpu))) {
            return Err(TransportError::Everywhere(text));
        }
        let Some(library) = self.nccl_library()? else { return Ok(()) };
        let joined = Nccl::join(library, &self.comm, gpu).map_err(TransportError::Here)?;
        // a second call keeps the communicator of the first
        let _ = self.nccl.set(joined);
        Ok(())
    }

    fn transport(&self) -> String {
        let mpi = mpi::environment::library_version().unwrap_or_default();
        let mpi = mpi.lines().next().unwrap_or("MPI").trim_end_matches('\0').to_owned();
        match self.nccl.get() {
            Some(nccl) => format!("NCCL {}; {mpi}", nccl.version()),
            None => mpi,
        }
    }

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        if let Some(nccl) = self.nccl(tensor) {
            return nccl.all_reduce_sum(tensor);
        }
        let own = readable_by_mpi(tensor);
        let sum = own.empty_like();
        waiting(|| calls::sum(&self.comm, &own, &sum));
        tensor.copy_(&sum);
    }

    /// On GPUs, sums overlap on a stream of their own; on CPUs, on a thread, if MPI allows calls from it.
    fn overlaps_from(&self) -> Option<usize> {
        let on_thread = !self.device.get().is_cuda() && self.threading >= Threading::Serialized;
        (self.size() > 1 && (self.nccl.get().is_some() || on_thread)).then_some(OVERLAPPED_BYTES)
    }

    fn start_sum(&self, mut tensor: Tensor) {
        if let Some(nccl) = self.nccl(&tensor) {
            nccl.start_sum(&tensor);
        } else if self.overlaps_from().is_some() {
            self.background.get_or_init(|| BackgroundSums::start_thread(&self.comm)).start_sum(tensor);
        } else {
            self.all_reduce_sum(&mut tensor);
        }
    }

    fn finish_sums(&self) {
        if let Some(nccl) = self.nccl.get() {
            nccl.finish_sums();
        }
        if let Some(background) = self.background.get() {
            waiting(|| background.finish());
        }
    }

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        if let Some(nccl) = self.nccl(tensor) {
            return nccl.all_gather(&tensor.detach(), rows);
        }
        let own = readable_by_mpi(&tensor.detach());
        let mut shape = own.size();
        let row: i64 = shape[1..].iter().product();
        shape[0] = rows.iter().sum();
        let all = Tensor::empty(shape.as_slice(), (own.kind(), own.device()));
        let counts: Vec<i32> = rows
            .iter()
            .map(|rows| {
                i32::try_from(rows * row)
                    .expect("a gathered tensor has fewer than 2^31 elements from each rank")
            })
            .collect();
        waiting(|| calls::gather(&self.comm, &own, &all, &counts));
        all.to_device(tensor.device())
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        if let Some(nccl) = self.nccl(tensor) {
            let sent = tensor.contiguous();
            nccl.broadcast(&sent);
            if sent.data_ptr() != tensor.data_ptr() {
                tensor.copy_(&sent);
            }
            return;
        }
        let sent = readable_by_mpi(tensor);
        waiting(|| calls::broadcast(&self.comm, &sent));
        if sent.data_ptr() != tensor.data_ptr() {
            tensor.copy_(&sent);
        }
    }

    fn split(&self, group: usize) -> Box<dyn Collective> {
        let color = Color::with_value(i32::try_from(group).expect("fewer than 2^31 groups"));
        let comm = self.comm.split_by_color(color).expect("a rank with a color is in a group");
        Box::new(World::new(comm, self.threading))
    }

    fn barrier(&self) {
        waiting(|| self.comm.barrier());
    }

    fn abort(&self, code: i32) -> ! {
        // a group ends the whole job: the ranks of other groups would wait for it
        abort_job(code)
    }
}
