//! Ranks as threads of one process, for tests of distributed code.

use std::cell::RefCell;
use std::collections::BTreeMap;
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

/// What the ranks of a team share.
struct Team {
    barrier: Barrier,
    /// One tensor per rank.
    slots: Mutex<Vec<Option<Tensor>>>,
    /// The teams of a split, by group.
    groups: Mutex<BTreeMap<usize, Arc<Team>>>,
}

impl Team {
    fn new(ranks: usize) -> Arc<Team> {
        let slots = Mutex::new((0..ranks).map(|_| None).collect());
        Arc::new(Team { barrier: Barrier::new(ranks), slots, groups: Mutex::default() })
    }
}

/// One rank.
struct Member {
    rank: usize,
    sums: Sums,
    team: Arc<Team>,
    started: RefCell<Vec<Tensor>>,
}

/// Runs `work` on each of `ranks` ranks and returns their results in rank order.
///
/// # Panics
/// Panics if a rank panics.
pub fn run_on_threads<T: Send>(
    ranks: usize,
    sums: Sums,
    work: impl Fn(&dyn Collective) -> T + Sync,
) -> Vec<T> {
    let team = Team::new(ranks);
    let member = |rank| Member { rank, sums, team: team.clone(), started: RefCell::default() };
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
        let slots = || self.team.slots.lock().expect("no rank panicked");
        slots()[self.rank] = Some(own.copy());
        self.team.barrier.wait();
        let all = slots().iter().map(|slot| slot.as_ref().expect("every rank has written").copy()).collect();
        self.team.barrier.wait();
        all
    }
}

impl Collective for Member {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.team.slots.lock().expect("no rank panicked").len()
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

    fn split(&self, group: usize) -> Box<dyn Collective> {
        let groups = self.exchange(&Tensor::from(group as i64));
        let same = |rank: &usize| groups[*rank].int64_value(&[]) == group as i64;
        let ranks: Vec<usize> = (0..groups.len()).filter(same).collect();
        let rank = ranks.iter().position(|rank| *rank == self.rank).expect("this rank is in its group");
        let shared = || self.team.groups.lock().expect("no rank panicked");
        let team = shared().entry(group).or_insert_with(|| Team::new(ranks.len())).clone();
        self.team.barrier.wait();
        // every rank has its team: the next split makes new ones
        shared().remove(&group);
        self.team.barrier.wait();
        Box::new(Member { rank, sums: self.sums, team, started: RefCell::default() })
    }

    fn barrier(&self) {
        self.team.barrier.wait();
    }

    fn abort(&self, code: i32) -> ! {
        panic!("abort {code}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_sum_on_their_own_and_can_be_split_again() {
        let results = run_on_threads(5, Sums::AtOnce, |team| {
            let sum_in = |group: usize| {
                let ranks = team.split(group);
                let mut sum = Tensor::from(team.rank() as i64);
                ranks.all_reduce_sum(&mut sum);
                (ranks.rank(), ranks.size(), sum.int64_value(&[]))
            };
            [sum_in(team.rank() % 2), sum_in(team.rank() / 3)]
        });
        assert_eq!(results[3], [(1, 2, 4), (0, 2, 7)]);
        assert_eq!(results[4], [(2, 3, 6), (1, 2, 7)]);
    }
}
