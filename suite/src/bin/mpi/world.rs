//! The collective over MPI, and over NCCL where every rank has a GPU.

use std::cell::{Cell, OnceCell};

use eqr_bench::cluster::watchdog::waiting;
use eqr_models::Collective;
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::topology::{Color, SimpleCommunicator};
use mpi::traits::{Communicator, CommunicatorCollectives};
use tch::{Device, Tensor};

use crate::background::Background;
use crate::nccl::{self, Nccl};
use crate::{calls, cuda_aware};

/// Bytes of a sum from which it is started beside the computation: two ranks of one thread took 10 to 18% longer for a step of the
/// quickstart (2 MiB of gradient in five sums) and as long as without for one of 87 MiB.
const WORTH_OVERLAPPING: usize = 4 << 20;

/// All ranks of the launch, or a group of them.
pub struct World {
    comm: SimpleCommunicator,
    threading: Threading,
    /// This rank's, once it is known.
    device: Cell<Device>,
    /// Where every rank computes on a GPU and finds NCCL.
    nccl: OnceCell<Nccl>,
    /// Sums of host memory beside the computation.
    background: OnceCell<Background>,
}

impl World {
    /// The ranks of `comm`; `threading` is what MPI grants this process.
    pub fn new(comm: SimpleCommunicator, threading: Threading) -> Self {
        let device = Cell::new(Device::Cpu);
        World { comm, threading, device, nccl: OnceCell::new(), background: OnceCell::new() }
    }

    /// NCCL, for a tensor that it can carry.
    fn nccl(&self, tensor: &Tensor) -> Option<&Nccl> {
        self.nccl.get().filter(|_| tensor.device().is_cuda() && tensor.is_contiguous())
    }

    /// Whether `fact` holds on every rank.
    fn everywhere(&self, fact: bool) -> bool {
        let mut least = 0u8;
        self.comm.all_reduce_into(&u8::from(fact), &mut least, SystemOperation::min());
        least == 1
    }
}

/// Ends every rank of the launch with `code`.
pub fn abort_job(code: i32) -> ! {
    if !mpi::is_initialized() {
        // a launcher ends the others with the one that goes like this
        std::process::exit(code);
    }
    SimpleCommunicator::world().abort(code)
}

/// The tensor itself where it is contiguous in memory that MPI reads, else such a copy.
fn readable(tensor: &Tensor) -> Tensor {
    match tensor.device() {
        Device::Cuda(gpu) if cuda_aware::is_there() => {
            let tensor = tensor.contiguous();
            // MPI knows nothing of streams
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

    fn use_device(&self, device: Device) -> Result<(), String> {
        self.device.set(device);
        // all ranks take the same turn, or they would wait for each other
        if self.size() == 1 || !self.everywhere(device.is_cuda() && nccl::is_there()) {
            return Ok(());
        }
        let Some(gpu) = nccl::gpu(device) else { return Ok(()) };
        let joined = Nccl::join(&self.comm, gpu)?;
        // a second call finds the first one's
        let _ = self.nccl.set(joined);
        Ok(())
    }

    fn transport(&self) -> String {
        let mpi = mpi::environment::library_version().unwrap_or_default();
        let mpi = mpi.lines().next().unwrap_or("MPI").trim_end_matches('\0').to_owned();
        match self.nccl.get() {
            Some(_) => format!("NCCL {}; {mpi}", nccl::version()),
            None => mpi,
        }
    }

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        if let Some(nccl) = self.nccl(tensor) {
            return nccl.all_reduce_sum(tensor);
        }
        let own = readable(tensor);
        let sum = own.empty_like();
        waiting(|| calls::sum(&self.comm, &own, &sum));
        tensor.copy_(&sum);
    }

    /// Between GPUs by NCCL's own stream, between CPUs by a thread where MPI allows one to call it.
    fn overlaps_from(&self) -> Option<usize> {
        let by_thread = !self.device.get().is_cuda() && self.threading >= Threading::Serialized;
        (self.size() > 1 && (self.nccl.get().is_some() || by_thread)).then_some(WORTH_OVERLAPPING)
    }

    fn start_sum(&self, mut tensor: Tensor) {
        if let Some(nccl) = self.nccl(&tensor) {
            nccl.start_sum(&tensor);
        } else if self.overlaps_from().is_some() {
            self.background.get_or_init(|| Background::start(&self.comm)).sum(tensor);
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
        let own = readable(&tensor.detach());
        let mut shape = own.size();
        let row: i64 = shape[1..].iter().product();
        shape[0] = rows.iter().sum();
        let all = Tensor::empty(shape.as_slice(), (own.kind(), own.device()));
        let counts: Vec<i32> = rows
            .iter()
            .map(|rows| i32::try_from(rows * row).expect("a gathered part has fewer than 2^31 elements"))
            .collect();
        waiting(|| calls::gather(&self.comm, &own, &all, &counts));
        all.to_device(tensor.device())
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        if let Some(nccl) = self.nccl(tensor) {
            return nccl.broadcast(tensor);
        }
        let sent = readable(tensor);
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
        // also of a group: the others' ranks would wait for it at the end
        abort_job(code)
    }
}
