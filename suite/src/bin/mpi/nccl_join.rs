//! Ranks join a communicator of NCCL, whose id is broadcast over MPI, and try it.
//!
//! NCCL waits without limit for a rank that does not come, and connects some ranks only in their first call.
//! So both happen on a thread of their own, with a deadline, and all ranks agree on the outcome. Where the
//! deadline passes, the thread remains behind: NCCL has no way to call it back.

use std::ffi::c_char;
use std::sync::mpsc::{Receiver, channel};
use std::thread::Builder;
use std::time::Instant;

use eqr_bench::cluster::agreement::gather;
use eqr_bench::cluster::patience::patience;
use eqr_bench::cluster::watchdog::waiting;
use eqr_device::stream::{Stream, use_gpu};
use eqr_models::Collective;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Root};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::nccl::{Member, Nccl, OpenComm};
use crate::nccl_library::{DataType, NcclLibrary, SUCCESS, SUM, UniqueId};

/// Why a rank has no communicator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum JoinFailure {
    /// An error of CUDA or NCCL.
    Error(String),
    /// The deadline has passed.
    Silence {
        /// Number of ranks.
        ranks: i32,
    },
}

/// The communicator of the ranks of `comm`, each on its own GPU, or the same message on every rank of
/// `ranks`, all of which must call this. `comm` is all of `ranks` or a group of them.
///
/// # Errors
/// An error of CUDA or NCCL on any rank; a rank that did not come before the deadline.
pub fn join(
    ranks: &dyn Collective,
    library: &'static NcclLibrary,
    comm: &SimpleCommunicator,
    gpu: usize,
) -> Result<Nccl, String> {
    let joined = try_join(library, comm, gpu);
    let failures: Vec<Option<JoinFailure>> = gather(ranks, &joined.as_ref().err().cloned());
    match (joined, cause(&failures)) {
        (Ok(nccl), None) => Ok(nccl),
        (Ok(nccl), Some(text)) => {
            nccl.abort();
            Err(text)
        }
        (Err(_), text) => Err(text.expect("this rank's failure is among them")),
    }
}

/// The failure of the ranks in words: an error, if there is one, because it makes others wait.
fn cause(failures: &[Option<JoinFailure>]) -> Option<String> {
    let error = failures.iter().enumerate().find_map(|(rank, failure)| match failure {
        Some(JoinFailure::Error(text)) => Some(format!("rank {rank}: {text}")),
        _ => None,
    });
    let silence = failures.iter().find_map(|failure| match failure {
        Some(JoinFailure::Silence { ranks }) => {
            Some(format!("{ranks} ranks did not all join within {:.0?}", patience()))
        }
        _ => None,
    });
    error.or(silence)
}

fn try_join(
    library: &'static NcclLibrary,
    comm: &SimpleCommunicator,
    gpu: usize,
) -> Result<Nccl, JoinFailure> {
    let id = common_id(library, comm).map_err(JoinFailure::Error)?;
    let member = Member { rank: comm.rank(), ranks: comm.size(), gpu };
    let (report_joined, joined) = channel();
    let (report_tried, tried) = channel();
    let work = move || {
        let opened = open(library, id, member);
        let comm = opened.clone();
        // nobody listens after the deadline
        let _ = report_joined.send(opened);
        if let Ok(comm) = comm {
            let _ = report_tried.send(try_sum(library, comm, member));
        }
    };
    Builder::new().spawn(work).map_err(|error| JoinFailure::Error(error.to_string()))?;
    let deadline = Instant::now() + patience();
    let comm = before(deadline, &joined, member)?;
    let usable = before(deadline, &tried, member)
        .and_then(|()| Nccl::new(library, comm, member).map_err(JoinFailure::Error));
    if usable.is_err() {
        let OpenComm(comm) = comm;
        // SAFETY: the communicator is open; NCCL lets another thread end calls that wait.
        let _ = unsafe { (library.comm_abort)(comm) };
    }
    usable
}

/// What the thread reports before the deadline.
fn before<T>(
    deadline: Instant,
    reports: &Receiver<Result<T, String>>,
    member: Member,
) -> Result<T, JoinFailure> {
    let report = reports.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    report.map_err(|_| JoinFailure::Silence { ranks: member.ranks })?.map_err(JoinFailure::Error)
}

/// A new id, the same on all ranks.
fn common_id(library: &NcclLibrary, comm: &SimpleCommunicator) -> Result<UniqueId, String> {
    let (mut id, mut status) = (UniqueId { internal: [0; 128] }, SUCCESS);
    if comm.rank() == 0 {
        // SAFETY: `id` outlives the call, which writes it.
        status = unsafe { (library.get_unique_id)(&raw mut id) };
    }
    // sent as bytes: the sign of a `c_char` differs between processors
    let mut bytes = id.internal.map(|byte| byte as u8);
    let first = comm.process_at_rank(0);
    waiting(|| first.broadcast_into(&mut status));
    waiting(|| first.broadcast_into(&mut bytes[..]));
    library.check("ncclGetUniqueId", status)?;
    Ok(UniqueId { internal: bytes.map(|byte| byte as c_char) })
}

fn open(
    library: &NcclLibrary,
    id: UniqueId,
    Member { rank, ranks, gpu }: Member,
) -> Result<OpenComm, String> {
    use_gpu(gpu).map_err(|error| format!("GPU {gpu}: {error}"))?;
    let mut comm = std::ptr::null_mut();
    // SAFETY: the call writes `comm` before it is read, and all ranks pass the same size and id.
    let status = unsafe { (library.comm_init_rank)(&raw mut comm, ranks, id, rank) };
    library.check("ncclCommInitRank", status)?;
    Ok(OpenComm(comm))
}

/// Sums a one of each rank.
fn try_sum(library: &NcclLibrary, comm: OpenComm, Member { ranks, gpu, .. }: Member) -> Result<(), String> {
    let stream = Stream::current(gpu).and_then(Stream::native_handle);
    let stream = stream.map_err(|error| format!("GPU {gpu}: {error}"))?;
    let one = Tensor::ones([1], (Kind::Float, Device::Cuda(gpu)));
    let (data, OpenComm(comm)) = (one.data_ptr(), comm);
    // SAFETY: one float on this rank's GPU; NCCL may sum in place.
    let status = unsafe { (library.all_reduce)(data, data, 1, DataType::Float32, SUM, comm, stream) };
    library.check("ncclAllReduce", status)?;
    let sum = one.double_value(&[0]);
    if sum == f64::from(ranks) { Ok(()) } else { Err(format!("NCCL sums {ranks} ones to {sum}")) }
}

#[cfg(test)]
mod tests {
    use super::{JoinFailure, cause};

    #[test]
    fn an_error_is_named_before_the_silence_that_it_causes() {
        let silence = Some(JoinFailure::Silence { ranks: 4 });
        assert_eq!(cause(&[None, None]), None);
        assert_eq!(cause(&[None, silence.clone()]).unwrap(), "4 ranks did not all join within 40s");
        let error = Some(JoinFailure::Error("no network".to_owned()));
        assert_eq!(cause(&[silence, None, error]).unwrap(), "rank 2: no network");
    }
}
