//! Cores of this process and the threads that a rank gets of them.

use std::num::NonZeroUsize;

use eqr_models::Collective;
use tch::Tensor;

use crate::cluster::agreement::short_hash;
use crate::cluster::host::host;

/// Cores that this process may run on.
pub fn allowed_cores() -> usize {
    core_mask().iter().map(|word| word.count_ones() as usize).sum()
}

/// Cores that the machine has.
pub fn online_cores() -> usize {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

/// 32 cores a word: exact as a float.
pub(crate) type CoreMask = [u32; 32];

/// The cores that this process may run on, as the kernel says.
pub(crate) fn core_mask() -> CoreMask {
    // SAFETY: cpu_set_t is plain bits, for which zeros are a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the given size into `set`.
    let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0;
    let mut mask = CoreMask::default();
    for (core, word) in (0..1024).map(|core| (core, core / 32)) {
        // SAFETY: cpu_set_t holds 1024 cores.
        if failed && core == 0 || unsafe { libc::CPU_ISSET(core, &set) } {
            mask[word] |= 1 << (core % 32);
        }
    }
    mask
}

/// Threads of rank `me`: its cores, each shared by the ranks of its node that may run on it too. A launcher that binds every rank to a part
/// of the node, one that binds none, and a container that shows a part of the machine all come out right.
pub(crate) fn fair_threads(ranks: &[(u32, CoreMask)], me: usize) -> usize {
    let (node, mine) = ranks[me];
    let holds = |mask: &CoreMask, core: usize| mask[core / 32] >> (core % 32) & 1 == 1;
    let sharers = |core| ranks.iter().filter(|(other, mask)| *other == node && holds(mask, core)).count();
    let share: f64 = (0..1024).filter(|&core| holds(&mine, core)).map(|core| 1.0 / sharers(core) as f64).sum();
    ((share + 1e-9) as usize).max(1)
}

/// [`fair_threads`] of this rank, or its part of a container's quota of processor time where that is less.
pub(crate) fn default_threads(ranks: &dyn Collective) -> usize {
    let mut row = vec![f64::from(short_hash(&host()))];
    row.extend(core_mask().map(f64::from));
    let all = ranks.all_gather(&Tensor::from_slice(&row).unsqueeze(0), &vec![1; ranks.size()]);
    let all: Vec<Vec<f64>> = Vec::try_from(all).expect("one row a rank");
    let places: Vec<(u32, CoreMask)> =
        all.iter().map(|row| (row[0] as u32, std::array::from_fn(|word| row[1 + word] as u32))).collect();
    let node = places[ranks.rank()].0;
    let neighbours = places.iter().filter(|place| place.0 == node).count();
    let quota = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let limit = if quota < allowed_cores() { (quota / neighbours).max(1) } else { usize::MAX };
    fair_threads(&places, ranks.rank()).min(limit)
}

#[cfg(test)]
mod tests {
    use super::{CoreMask, fair_threads};

    fn cores(range: std::ops::Range<usize>) -> CoreMask {
        let mut mask = CoreMask::default();
        range.for_each(|core| mask[core / 32] |= 1 << (core % 32));
        mask
    }

    #[test]
    fn ranks_share_the_cores_they_may_run_on() {
        // a container that shows 2 of 64 cores to both ranks
        assert_eq!(fair_threads(&[(7, cores(3..5)), (7, cores(3..5))], 0), 1);
        // bound to a part each: all of it
        assert_eq!(fair_threads(&[(7, cores(0..16)), (7, cores(16..32))], 1), 16);
        // two ranks a socket
        let sockets = [(7, cores(0..24)), (7, cores(24..48)), (7, cores(0..24)), (7, cores(24..48))];
        assert_eq!(fair_threads(&sockets, 2), 12);
        // other nodes do not count, and a crowded core still gives a thread
        assert_eq!(fair_threads(&[(7, cores(0..40)), (8, cores(0..40))], 0), 40);
        assert_eq!(fair_threads(&[(7, cores(0..1)), (7, cores(0..1)), (7, cores(0..1))], 2), 1);
    }
}
