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

use crate::background::{BackgroundSums, wait_asleep};
use crate::calls::Calls;
use crate::cuda_aware::readable_by_mpi;
use crate::gpu_identity::{GpuIdentity, shared_gpu};
use crate::gpu_transport::GpuTransport;
use crate::nccl::Nccl;
use crate::nccl_library::{Absence, NcclLibrary};
use crate::node_sums::NodeSums;
use crate::nodes::Nodes;
use crate::without_nccl;

/// Time between two looks of a rank that has nothing to do.
const IDLE_INTERVAL: Duration = Duration::from_millis(20);

/// All ranks of the launch, or a group of them.
pub struct World {
    comm: SimpleCommunicator,
    threading: Threading,
    /// The device of this rank, once it is known.
    device: Cell<Device>,
    /// The machines of the ranks.
    nodes: OnceCell<Nodes>,
    /// Set if every rank computes on a GPU and finds NCCL.
    gpus: OnceCell<GpuTransport>,
    /// Sums host memory while the computation goes on; started by the first sum.
    background: OnceCell<BackgroundSums>,
}

impl World {
    /// The ranks of `comm`; `threading` is the thread support that MPI granted.
    pub fn new(comm: SimpleCommunicator, threading: Threading) -> Self {
        let device = Cell::new(Device::Cpu);
        let (nodes, gpus, background) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        World { comm, threading, device, nodes, gpus, background }
    }

    /// The machines of the ranks, all of which must ask for them first at the same place.
    fn nodes(&self) -> &Nodes {
        self.nodes.get_or_init(|| Nodes::find(&self.comm))
    }

    /// What carries this tensor.
    fn way_of(&self, tensor: &Tensor) -> Way<'_> {
        match self.gpus.get().filter(|_| tensor.device().is_cuda()) {
            Some(GpuTransport::AllRanks(nccl)) => Way::Nccl(nccl),
            Some(GpuTransport::Node(nccl)) => Way::Nodes(NodeSums { nccl, nodes: self.nodes() }),
            None => Way::Mpi(Calls::on(&self.comm)),
        }
    }

    /// NCCL, if all ranks are in its communicator.
    fn nccl_of_all(&self) -> Option<&Nccl> {
        match self.gpus.get() {
            Some(GpuTransport::AllRanks(nccl)) => Some(nccl),
            _ => None,
        }
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
            return Err(TransportError::Refused(text));
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
        waiting(|| self.comm.all_reduce_into(&u8::from(condition), &mut least, SystemOperation::min()));
        least == 1
    }
}

/// What carries a tensor to the other ranks.
enum Way<'a> {
    Mpi(Calls<'a>),
    Nccl(&'a Nccl),
    Nodes(NodeSums<'a>),
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

impl Collective for World {
    fn rank(&self) -> usize {
        self.comm.rank() as usize
    }

    fn size(&self) -> usize {
        self.comm.size() as usize
    }

    fn place_on_node(&self) -> NodePlace {
        self.nodes().place()
    }

    fn use_device(&self, device: Device) -> Result<(), TransportError> {
        self.device.set(device);
        // all ranks must make the same choice: a rank that joins waits for the others
        if self.size() == 1 || self.gpus.get().is_some() || !self.all_ranks(device.is_cuda()) {
            return Ok(());
        }
        let Device::Cuda(gpu) = device else { return Ok(()) };
        if let Some(text) = shared_gpu(&gather(self, &GpuIdentity::of(host(), gpu))) {
            return Err(TransportError::Refused(text));
        }
        let Some(library) = self.nccl_library()? else { return Ok(()) };
        let connected = GpuTransport::connect(self, (&self.comm, self.nodes()), library, gpu)?;
        let _ = self.gpus.set(connected);
        Ok(())
    }

    fn transport(&self) -> String {
        let mpi = mpi::environment::library_version().unwrap_or_default();
        let mpi = mpi.lines().next().unwrap_or("MPI").trim_end_matches('\0').to_owned();
        match self.gpus.get() {
            Some(GpuTransport::AllRanks(nccl)) => format!("NCCL {}; {mpi}", nccl.version()),
            Some(GpuTransport::Node(nccl)) => {
                let nodes = self.nodes().count();
                format!("NCCL {} within nodes, MPI between {nodes}; {mpi}", nccl.version())
            }
            None => mpi,
        }
    }

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        match self.way_of(tensor) {
            Way::Nccl(nccl) => nccl.all_reduce_sum(tensor),
            Way::Nodes(nodes) => nodes.all_reduce_sum(tensor),
            Way::Mpi(calls) => {
                let own = readable_by_mpi(tensor);
                let sum = own.empty_like();
                waiting(|| calls.sum(&own, &sum));
                tensor.copy_(&sum);
            }
        }
    }

    /// On GPUs, sums overlap on a stream of their own; on CPUs, on a thread, if MPI allows calls from it.
    fn overlaps_from(&self) -> Option<usize> {
        let on_thread = !self.device.get().is_cuda() && self.threading >= Threading::Serialized;
        (self.size() > 1 && (self.nccl_of_all().is_some() || on_thread)).then_some(OVERLAPPED_BYTES)
    }

    fn start_sum(&self, mut tensor: Tensor) {
        match self.way_of(&tensor) {
            Way::Nccl(nccl) => nccl.start_sum(&tensor),
            Way::Mpi(_) if self.overlaps_from().is_some() => {
                self.background.get_or_init(|| BackgroundSums::start_thread(&self.comm)).start_sum(tensor);
            }
            Way::Mpi(_) | Way::Nodes(_) => self.all_reduce_sum(&mut tensor),
        }
    }

    fn finish_sums(&self) {
        if let Some(nccl) = self.nccl_of_all() {
            nccl.finish_sums();
        }
        if let Some(background) = self.background.get() {
            waiting(|| background.finish());
        }
    }

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        let tensor = tensor.detach();
        match self.way_of(&tensor) {
            Way::Nccl(nccl) => nccl.all_gather(&tensor, rows),
            Way::Nodes(nodes) => nodes.all_gather(&tensor, rows),
            Way::Mpi(calls) => {
                let own = readable_by_mpi(&tensor);
                let mut shape = own.size();
                let row: i64 = shape[1..].iter().product();
                shape[0] = rows.iter().sum();
                let all = Tensor::empty(shape.as_slice(), (own.kind(), own.device()));
                let lengths: Vec<usize> = rows.iter().map(|rows| (rows * row) as usize).collect();
                waiting(|| calls.gather(&own, &all, &lengths));
                all.to_device(tensor.device())
            }
        }
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        let mut sent = match self.way_of(tensor) {
            Way::Mpi(_) => readable_by_mpi(tensor),
            Way::Nccl(_) | Way::Nodes(_) => tensor.contiguous(),
        };
        match self.way_of(tensor) {
            Way::Mpi(calls) => waiting(|| calls.broadcast(&sent)),
            Way::Nccl(nccl) => nccl.broadcast(&sent),
            Way::Nodes(nodes) => nodes.broadcast(&mut sent),
        }
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

    fn idle_barrier(&self) {
        waiting(|| wait_asleep(&self.comm, IDLE_INTERVAL));
    }

    fn abort(&self, code: i32) -> ! {
        // a group ends the whole job: the ranks of other groups would wait for it
        abort_job(code)
    }
}
