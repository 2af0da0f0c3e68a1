//! Ranks as threads of one process.

use std::sync::{Arc, Barrier, Mutex};

use eqr_models::Collective;
use tch::Tensor;

/// One of them.
struct Member {
    rank: usize,
    barrier: Arc<Barrier>,
    slots: Arc<Mutex<Vec<Option<Tensor>>>>,
}

/// What `work` returns on each of `ranks` ranks.
pub fn together<T: Send>(ranks: usize, work: impl Fn(&dyn Collective) -> T + Sync) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(ranks));
    let slots = Arc::new(Mutex::new((0..ranks).map(|_| None).collect()));
    let member = |rank| Member { rank, barrier: barrier.clone(), slots: slots.clone() };
    let work = &work;
    std::thread::scope(|scope| {
        let members = (0..ranks).map(member).map(|member| scope.spawn(move || work(&member))).collect::<Vec<_>>();
        members.into_iter().map(|member| member.join().unwrap()).collect()
    })
}

impl Member {
    /// Everybody's tensor, in rank order.
    fn exchange(&self, own: &Tensor) -> Vec<Tensor> {
        self.slots.lock().unwrap()[self.rank] = Some(own.copy());
        self.barrier.wait();
        let all = self.slots.lock().unwrap().iter().map(|slot| slot.as_ref().unwrap().copy()).collect();
        self.barrier.wait();
        all
    }
}

impl Collective for Member {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.slots.lock().unwrap().len()
    }

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        let all = self.exchange(tensor);
        tensor.copy_(&all[1..].iter().fold(all[0].copy(), |sum, part| sum + part));
    }

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        assert_eq!(tensor.size()[0], rows[self.rank]);
        Tensor::cat(&self.exchange(tensor), 0)
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        tensor.copy_(&self.exchange(tensor)[0]);
    }

    fn split(&self, _group: usize) -> Box<dyn Collective> {
        unreachable!("a probe does not split its ranks")
    }

    fn barrier(&self) {
        self.barrier.wait();
    }

    fn abort(&self, code: i32) -> ! {
        panic!("abort {code}")
    }
}
