//! Ranks as threads of one process, for tests of distributed code.

use std::cell::RefCell;
use std::sync::{Arc, Barrier, Mutex};

use tch::Tensor;

use crate::collective::Collective;

/// When a started sum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// Immediately.
    AtOnce,
    /// As late as allowed. Code that reads the sum too early gets only its own rank's part.
    AtTheEnd,
}

/// One rank.
struct Member {
    rank: usize,
    sums: Sums,
    barrier: Arc<Barrier>,
    /// One tensor per rank.
    slots: Arc<Mutex<Vec<Option<Tensor>>>>,
    started: RefCell<Vec<Tensor>>,
}

/// Runs `work` on each of `ranks` ranks and returns their results in rank order.
///
/// # Panics
/// Panics if a rank panics or calls [`Collective::split`].
pub fn run_on_threads<T: Send>(
    ranks: usize,
    sums: Sums,
    work: impl Fn(&dyn Collective) -> T + Sync,
) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(ranks));
    let slots = Arc::new(Mutex::new((0..ranks).map(|_| None).collect()));
    let member = |rank| Member {
        rank,
        sums,
        barrier: barrier.clone(),
        slots: slots.clone(),
        started: RefCell::default(),
    };
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..ranks).map(member).map(|member| scope.spawn(move || work(&member))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a rank panicked")).collect()
    })
}

impl Member {
    /// Every rank's tensor, in rank order.
    fn exchange(&self, own: &Tensor) -> Vec<Tensor> {
        let slots = || self.slots.lock().expect("no rank panicked");
        slots()[self.rank] = Some(own.copy());
        self.barrier.wait();
        let all = slots().iter().map(|slot| slot.as_ref().expect("every rank has written").copy()).collect();
        self.barrier.wait();
        all
    }
}

impl Collective for Member {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.slots.lock().expect("no rank panicked").len()
    }

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        let all = self.exchange(tensor);
        tensor.copy_(&all[1..].iter().fold(all[0].copy(), |sum, part| sum + part));
    }

    fn overlaps_from(&self) -> Option<usize> {
        (self.sums == Sums::AtTheEnd).then_some(0)
    }

    fn start_sum(&self, mut tensor: Tensor) {
        match self.sums {
            Sums::AtOnce => self.all_reduce_sum(&mut tensor),
            Sums::AtTheEnd => self.started.borrow_mut().push(tensor),
        }
    }

    fn finish_sums(&self) {
        self.started.take().iter_mut().for_each(|tensor| self.all_reduce_sum(tensor));
    }

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        assert_eq!(tensor.size()[0], rows[self.rank]);
        Tensor::cat(&self.exchange(tensor), 0)
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        tensor.copy_(&self.exchange(tensor)[0]);
    }

    fn split(&self, _group: usize) -> Box<dyn Collective> {
        unimplemented!("a thread team has no groups")
    }

    fn barrier(&self) {
        self.barrier.wait();
    }

    fn abort(&self, code: i32) -> ! {
        panic!("abort {code}")
    }
}
