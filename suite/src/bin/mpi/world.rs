//! The collective over MPI on host memory, and over NCCL where every rank has a GPU.

use std::cell::OnceCell;

use eqr_bench::watchdog::waiting;
use eqr_models::Collective;
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::topology::{Color, SimpleCommunicator};
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};
use tch::{Device, Kind, Tensor};

use crate::nccl::{self, Nccl};

/// All ranks of the launch.
pub struct World {
    comm: SimpleCommunicator,
    /// Where every rank computes on a GPU and finds NCCL.
    nccl: OnceCell<Nccl>,
}

impl World {
    /// The communicator of all ranks.
    pub fn new(comm: SimpleCommunicator) -> Self {
        World { comm, nccl: OnceCell::new() }
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

    fn sum<T: Equivalence>(&self, host: &mut Tensor) {
        let sum = host.empty_like();
        waiting(|| self.comm.all_reduce_into(slice::<T>(host), slice_mut::<T>(&sum), SystemOperation::sum()));
        host.copy_(&sum);
    }

    fn gather<T: Equivalence>(&self, own: &Tensor, all: &Tensor, counts: &[i32]) {
        let displacements: Vec<i32> =
            counts.iter().scan(0, |end, &count| Some(std::mem::replace(end, *end + count))).collect();
        let mut partition = PartitionMut::new(slice_mut::<T>(all), counts, &displacements[..]);
        waiting(|| self.comm.all_gather_varcount_into(slice::<T>(own), &mut partition));
    }
}

/// Ends every rank of the launch with `code`.
pub fn abort_job(code: i32) -> ! {
    SimpleCommunicator::world().abort(code)
}

/// A contiguous copy on the host, or the tensor itself where it is one.
fn host(tensor: &Tensor) -> Tensor {
    tensor.to_device(Device::Cpu).contiguous()
}

fn slice<T>(tensor: &Tensor) -> &[T] {
    // an empty tensor has no memory
    if tensor.numel() == 0 {
        return &[];
    }
    // SAFETY: callers pass contiguous host tensors of the element type T, which live as long as the borrow.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<T>(), tensor.numel()) }
}

#[allow(clippy::mut_from_ref)] // a tensor is a handle: its memory is not behind Rust's borrow
fn slice_mut<T>(tensor: &Tensor) -> &mut [T] {
    if tensor.numel() == 0 {
        return &mut [];
    }
    // SAFETY: as `slice`; callers hold the only handle that is used while the slice lives.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), tensor.numel()) }
}

fn unsupported(kind: Kind) -> ! {
    panic!("collectives carry fp32 and f64, not {kind:?}")
}

impl Collective for World {
    fn rank(&self) -> usize {
        self.comm.rank() as usize
    }

    fn size(&self) -> usize {
        self.comm.size() as usize
    }

    fn use_device(&self, device: Device) -> Result<(), String> {
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

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        if let Some(nccl) = self.nccl(tensor) {
            return nccl.all_reduce_sum(tensor);
        }
        let mut host = host(tensor);
        match host.kind() {
            Kind::Float => self.sum::<f32>(&mut host),
            Kind::Double => self.sum::<f64>(&mut host),
            kind => unsupported(kind),
        }
        if host.data_ptr() != tensor.data_ptr() {
            tensor.copy_(&host);
        }
    }

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        if let Some(nccl) = self.nccl(tensor) {
            return nccl.all_gather(&tensor.detach(), rows);
        }
        let own = host(&tensor.detach());
        let mut shape = own.size();
        let row: i64 = shape[1..].iter().product();
        shape[0] = rows.iter().sum();
        let all = Tensor::empty(shape.as_slice(), (own.kind(), Device::Cpu));
        let counts: Vec<i32> = rows
            .iter()
            .map(|rows| i32::try_from(rows * row).expect("a gathered part has fewer than 2^31 elements"))
            .collect();
        match own.kind() {
            Kind::Float => self.gather::<f32>(&own, &all, &counts),
            Kind::Double => self.gather::<f64>(&own, &all, &counts),
            kind => unsupported(kind),
        }
        all.to_device(tensor.device())
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        if let Some(nccl) = self.nccl(tensor) {
            return nccl.broadcast(tensor);
        }
        let host = host(tensor);
        let root = self.comm.process_at_rank(0);
        match host.kind() {
            Kind::Float => waiting(|| root.broadcast_into(slice_mut::<f32>(&host))),
            Kind::Double => waiting(|| root.broadcast_into(slice_mut::<f64>(&host))),
            kind => unsupported(kind),
        }
        tensor.copy_(&host);
    }

    fn split(&self, group: usize) -> Box<dyn Collective> {
        let color = Color::with_value(i32::try_from(group).expect("fewer than 2^31 groups"));
        let comm = self.comm.split_by_color(color).expect("a rank with a color is in a group");
        Box::new(World::new(comm))
    }

    fn barrier(&self) {
        waiting(|| self.comm.barrier());
    }

    fn abort(&self, code: i32) -> ! {
        // also of a group: the others' ranks would wait for it at the end
        abort_job(code)
    }
}
