//! MPI calls on the memory of tensors, on the host or, if MPI is CUDA-aware, on a GPU. A failing call ends
//! the job, which is MPI's default.
//!
//! MPI counts elements in `int`, so long tensors are sent in several messages.

use std::ffi::{c_int, c_void};
use std::ops::Range;

use mpi::collective::SystemOperation;
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Equivalence};
use tch::{Kind, Tensor};

/// The calls on a communicator.
pub struct Calls<'a> {
    comm: &'a SimpleCommunicator,
    /// Number of elements that one call may carry, those of all ranks together.
    largest: usize,
}

impl<'a> Calls<'a> {
    /// The calls on `comm`; every rank of it must make the same ones.
    pub fn on(comm: &'a SimpleCommunicator) -> Self {
        Calls { comm, largest: c_int::MAX as usize }
    }

    /// Sets `into` to the sum of the ranks' `from`. Both are contiguous, of one kind and length, and do not
    /// overlap.
    pub fn sum(&self, from: &Tensor, into: &Tensor) {
        let operation = SystemOperation::sum();
        for part in messages(from.numel(), self.largest) {
            // SAFETY: both tensors hold the part, have the datatype, and outlive the call.
            unsafe {
                ffi::MPI_Allreduce(
                    address(from, part.start),
                    address(into, part.start),
                    count(&part),
                    datatype(from),
                    operation.as_raw(),
                    self.comm.as_raw(),
                );
            }
        }
    }

    /// Sets `all` to the concatenated `own` of all ranks; that of rank r has `lengths[r]` elements.
    pub fn gather(&self, own: &Tensor, all: &Tensor, lengths: &[usize]) {
        if all.numel() <= self.largest {
            self.gather_at_once(own, all, lengths);
        } else {
            self.gather_in_turn(own, all, lengths);
        }
    }

    fn gather_at_once(&self, own: &Tensor, all: &Tensor, lengths: &[usize]) {
        let counts: Vec<c_int> = lengths.iter().map(|&length| count(&(0..length))).collect();
        let starts: Vec<c_int> =
            counts.iter().scan(0, |end, &count| Some(std::mem::replace(end, *end + count))).collect();
        // SAFETY: `all` has room for the sum of the counts, and the displacements follow from the counts.
        unsafe {
            ffi::MPI_Allgatherv(
                own.data_ptr(),
                count(&(0..own.numel())),
                datatype(own),
                all.data_ptr(),
                counts.as_ptr(),
                starts.as_ptr(),
                datatype(all),
                self.comm.as_raw(),
            );
        }
    }

    /// One rank after the other sends its tensor, because the displacements of a gather are `int`, too.
    fn gather_in_turn(&self, own: &Tensor, all: &Tensor, lengths: &[usize]) {
        let mut start = 0;
        for (root, &length) in lengths.iter().enumerate() {
            let mut place = all.view([-1]).narrow(0, start as i64, length as i64);
            let is_own = root == self.comm.rank() as usize;
            self.broadcast_from(root, if is_own { own } else { &place });
            if is_own {
                place.copy_(&own.view([-1]));
            }
            start += length;
        }
    }

    /// Sets `tensor` to the tensor of rank 0.
    pub fn broadcast(&self, tensor: &Tensor) {
        self.broadcast_from(0, tensor);
    }

    fn broadcast_from(&self, root: usize, tensor: &Tensor) {
        let root = c_int::try_from(root).expect("ranks are numbered in int");
        for part in messages(tensor.numel(), self.largest) {
            // SAFETY: `tensor` is contiguous and holds the part on every rank.
            unsafe {
                ffi::MPI_Bcast(
                    address(tensor, part.start),
                    count(&part),
                    datatype(tensor),
                    root,
                    self.comm.as_raw(),
                )
            };
        }
    }
}

/// The parts of a tensor of `total` elements that one message of at most `largest` carries each, in order.
fn messages(total: usize, largest: usize) -> impl Iterator<Item = Range<usize>> {
    (0..total).step_by(largest).map(move |start| start..total.min(start.saturating_add(largest)))
}

/// Address of an element of a contiguous tensor.
fn address(tensor: &Tensor, element: usize) -> *mut c_void {
    assert!(element < tensor.numel(), "an element of the tensor");
    // SAFETY: the tensor has the element.
    unsafe { tensor.data_ptr().byte_add(element * tensor.kind().elt_size_in_bytes()) }
}

fn count(part: &Range<usize>) -> c_int {
    c_int::try_from(part.len()).expect("a message has fewer than 2^31 elements")
}

fn datatype(tensor: &Tensor) -> ffi::MPI_Datatype {
    match tensor.kind() {
        Kind::Float => f32::equivalent_datatype().as_raw(),
        Kind::Double => f64::equivalent_datatype().as_raw(),
        kind => panic!("collectives carry fp32 and f64, not {kind:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_int;
    use std::process::Command;

    use mpi::Threading;
    use mpi::traits::Communicator;
    use tch::{Kind, Tensor};

    use super::{Calls, messages};

    const RANKS: usize = 3;

    #[test]
    fn messages_cover_a_tensor_and_none_is_too_long() {
        let parts = |total, largest| messages(total, largest).collect::<Vec<_>>();
        assert_eq!(parts(7, 3), [0..3, 3..6, 6..7]);
        assert_eq!(parts(6, 3), [0..3, 3..6]);
        assert_eq!(parts(0, 3), []);
        let largest = c_int::MAX as usize;
        assert_eq!(parts(largest + 1, largest), [0..largest, largest..largest + 1]);
    }

    /// Runs the test below on several ranks.
    #[test]
    fn tensors_longer_than_a_message_arrive_whole() {
        let mut launch = Command::new("mpirun");
        launch.args([
            "-n",
            &RANKS.to_string(),
            "--bind-to",
            "none",
            "--oversubscribe",
            "--allow-run-as-root",
        ]);
        launch.arg(std::env::current_exe().unwrap());
        launch.args(["--ignored", "--exact", "calls::tests::as_a_rank", "--test-threads", "1"]);
        match launch.output() {
            Ok(ended) => assert!(
                ended.status.success() && String::from_utf8_lossy(&ended.stdout).contains("1 passed"),
                "{}",
                String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat())
            ),
            Err(absent) => eprintln!("SKIPPED: no mpirun on this machine: {absent}"),
        }
    }

    #[test]
    #[ignore = "a rank of the test above"]
    fn as_a_rank() {
        let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
        let world = universe.world();
        let (rank, ranks) = (world.rank() as usize, world.size() as usize);
        assert_eq!(ranks, RANKS, "under mpirun");
        // rank r has numbers from 100 r on
        let numbers = |rank: usize, length: usize| -> Vec<f64> {
            (0..length).map(|at| (100 * rank + at) as f64).collect()
        };
        for (kind, largest) in [Kind::Float, Kind::Double].into_iter().zip([4, 5]) {
            let calls = Calls { comm: &world, largest };
            let tensor = |rank, length| Tensor::from_slice(&numbers(rank, length)).to_kind(kind);
            let read = |tensor: &Tensor| Vec::<f64>::try_from(tensor.to_kind(Kind::Double)).unwrap();

            let own = tensor(rank, 11);
            let sum = own.zeros_like();
            calls.sum(&own, &sum);
            let expected: Vec<f64> =
                (0..11).map(|at| (0..RANKS).map(|r| (100 * r + at) as f64).sum()).collect();
            assert_eq!(read(&sum), expected);

            calls.broadcast(&own);
            assert_eq!(read(&own), numbers(0, 11));

            // the whole is longer than a message, and so are some parts
            let lengths = [6, 0, 7];
            let all = Tensor::zeros([13], (kind, own.device()));
            calls.gather(&tensor(rank, lengths[rank]), &all, &lengths);
            let expected: Vec<f64> = (0..RANKS).flat_map(|rank| numbers(rank, lengths[rank])).collect();
            assert_eq!(read(&all), expected);
            let at_once = all.zeros_like();
            Calls::on(&world).gather(&tensor(rank, lengths[rank]), &at_once, &lengths);
            assert_eq!(read(&at_once), expected);
        }
    }
}
