//! The cores of this process, and the number of threads for each rank.

use std::num::NonZeroUsize;

use eqr_models::Collective;

use crate::cluster::agreement::gather;
use crate::cluster::host::host;

/// Number of cores that this process may run on.
pub fn allowed_cores() -> usize {
    core_mask().iter().map(|word| word.count_ones() as usize).sum()
}

/// Number of cores of the machine.
pub fn online_cores() -> usize {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

/// One bit per core, 32 cores per word.
type CoreMask = [u32; 32];

/// The cores that this process may run on, as the kernel reports them.
fn core_mask() -> CoreMask {
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

/// Number of threads of rank `rank`, given the node and the cores of every rank. Each core is divided among
/// the ranks of the node that may run on it. The result is therefore right whether or not the launcher binds
/// each rank to a part of the node, and in a container that shows only a part of the machine.
fn fair_threads(ranks: &[(String, CoreMask)], rank: usize) -> usize {
    let (node, own) = &ranks[rank];
    let holds = |mask: &CoreMask, core: usize| mask[core / 32] >> (core % 32) & 1 == 1;
    let sharers = |core| ranks.iter().filter(|(other, mask)| other == node && holds(mask, core)).count();
    let share: f64 = (0..1024).filter(|&core| holds(own, core)).map(|core| 1.0 / sharers(core) as f64).sum();
    ((share + 1e-9) as usize).max(1)
}

/// Number of threads of this rank: its fair share of the cores, or its share of a container's CPU quota if
/// that is smaller.
pub(crate) fn default_threads(ranks: &dyn Collective) -> usize {
    let places = gather(ranks, &(host(), core_mask()));
    let (node, _) = &places[ranks.rank()];
    let neighbours = places.iter().filter(|(other, _)| other == node).count();
    let quota = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let limit = if quota < allowed_cores() { (quota / neighbours).max(1) } else { usize::MAX };
    fair_threads(&places, ranks.rank()).min(limit)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::{CoreMask, fair_threads};

    fn threads(ranks: &[(&str, Range<usize>)], rank: usize) -> usize {
        let mask = |cores: &Range<usize>| {
            let mut mask = CoreMask::default();
            cores.clone().for_each(|core| mask[core / 32] |= 1 << (core % 32));
            mask
        };
        let places: Vec<_> = ranks.iter().map(|(node, cores)| ((*node).to_owned(), mask(cores))).collect();
        fair_threads(&places, rank)
    }

    #[test]
    fn ranks_share_the_cores_they_may_run_on() {
        // a container that shows 2 of 64 cores to both ranks
        assert_eq!(threads(&[("a", 3..5), ("a", 3..5)], 0), 1);
        // each rank bound to its own part: all of it
        assert_eq!(threads(&[("a", 0..16), ("a", 16..32)], 1), 16);
        // two ranks per socket
        assert_eq!(threads(&[("a", 0..24), ("a", 24..48), ("a", 0..24), ("a", 24..48)], 2), 12);
        // other nodes do not count, and a rank on an oversubscribed core still gets one thread
        assert_eq!(threads(&[("a", 0..40), ("b", 0..40)], 0), 40);
        assert_eq!(threads(&[("a", 0..1), ("a", 0..1), ("a", 0..1)], 2), 1);
    }
}
