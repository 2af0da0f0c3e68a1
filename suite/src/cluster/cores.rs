//! The cores of this process, and the number of threads for each rank.

use std::num::NonZeroUsize;

use eqr_models::Collective;
use serde::{Deserialize, Serialize};

use crate::cluster::agreement::gather;
use crate::cluster::host::host;

/// Number of cores that this process may run on.
pub fn allowed_cores() -> usize {
    count(&core_mask())
}

/// Number of cores of the machine.
pub fn online_cores() -> usize {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

/// One bit per core, 32 cores per word.
type CoreMask = [u32; 32];

fn count(mask: &CoreMask) -> usize {
    mask.iter().map(|word| word.count_ones() as usize).sum()
}

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

/// A rank's cores, as the other ranks see them.
#[derive(Serialize, Deserialize)]
struct RankCores {
    host: String,
    mask: CoreMask,
    /// The CPU quota of its container, if that is less than the cores.
    quota: Option<usize>,
}

/// The cores of all ranks of a launch.
pub(crate) struct LaunchCores {
    of_ranks: Vec<RankCores>,
}

impl LaunchCores {
    /// Every rank must call it.
    pub(crate) fn gather(ranks: &dyn Collective) -> Self {
        let usable = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let quota = (usable < allowed_cores()).then_some(usable);
        LaunchCores { of_ranks: gather(ranks, &RankCores { host: host(), mask: core_mask(), quota }) }
    }

    fn on_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a RankCores> {
        self.of_ranks.iter().filter(move |rank| rank.host == node)
    }

    /// Number of threads of a rank: its fair share of the cores, or its share of a container's CPU quota if
    /// that is smaller. Each core is divided among the ranks of the node that may run on it. The result is
    /// therefore right whether or not the launcher binds each rank to a part of the node, and in a container
    /// that shows only a part of the machine.
    pub(crate) fn fair_threads(&self, rank: usize) -> usize {
        let own = &self.of_ranks[rank];
        let holds = |mask: &CoreMask, core: usize| mask[core / 32] >> (core % 32) & 1 == 1;
        let sharers = |core| self.on_node(&own.host).filter(|other| holds(&other.mask, core)).count();
        let cores = (0..1024).filter(|&core| holds(&own.mask, core));
        let share: f64 = cores.map(|core| 1.0 / sharers(core) as f64).sum();
        let limit = own.quota.map_or(usize::MAX, |quota| quota / self.on_node(&own.host).count());
        ((share + 1e-9) as usize).min(limit).max(1)
    }

    /// What to say of the first node that has more ranks than cores for them, if there is one.
    pub(crate) fn crowding(&self) -> Option<String> {
        self.of_ranks.iter().find_map(|first| {
            let ranks = self.on_node(&first.host).count();
            let cores = self.cores_of(&first.host);
            (ranks > cores).then(|| {
                let host = &first.host;
                format!(
                    "note: {ranks} ranks on {host} share {cores} core(s): they take turns, and each waits \
                     for all\n\
                     hint: at most {cores} rank(s) there; if the machine has more cores, the launcher hides \
                     them (`mpirun --bind-to none`, `srun --cpus-per-task`)"
                )
            })
        })
    }

    /// Number of cores that the ranks of a node may use together.
    fn cores_of(&self, node: &str) -> usize {
        let mut union = CoreMask::default();
        for rank in self.on_node(node) {
            union.iter_mut().zip(rank.mask).for_each(|(word, own)| *word |= own);
        }
        let quota = self.on_node(node).filter_map(|rank| rank.quota).min();
        count(&union).min(quota.unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::{CoreMask, LaunchCores, RankCores};

    fn launch(ranks: &[(&str, Range<usize>)], quota: Option<usize>) -> LaunchCores {
        let mask = |cores: &Range<usize>| {
            let mut mask = CoreMask::default();
            cores.clone().for_each(|core| mask[core / 32] |= 1 << (core % 32));
            mask
        };
        let rank = |(host, cores): &(&str, Range<usize>)| RankCores {
            host: (*host).to_owned(),
            mask: mask(cores),
            quota,
        };
        LaunchCores { of_ranks: ranks.iter().map(rank).collect() }
    }

    fn threads(ranks: &[(&str, Range<usize>)], rank: usize) -> usize {
        launch(ranks, None).fair_threads(rank)
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
        // a quota is shared by the ranks of its node
        assert_eq!(launch(&[("a", 0..64), ("a", 0..64), ("b", 0..64)], Some(8)).fair_threads(1), 4);
    }

    #[test]
    fn more_ranks_than_cores_are_said() {
        let said = |ranks: &[(&str, Range<usize>)], quota| launch(ranks, quota).crowding();
        assert_eq!(said(&[("a", 0..2), ("a", 0..2), ("b", 0..1)], None), None);
        // bound to cores of their own
        assert_eq!(said(&[("a", 0..1), ("a", 1..2)], None), None);
        let text = said(&[("a", 0..9), ("b", 3..5), ("b", 3..5), ("b", 4..5)], None).unwrap();
        assert!(text.starts_with("note: 3 ranks on b share 2 core(s): "), "{text}");
        assert!(text.contains("\nhint: at most 2 rank(s) there"), "{text}");
        let text = said(&[("a", 0..9), ("a", 0..9)], Some(1)).unwrap();
        assert!(text.starts_with("note: 2 ranks on a share 1 core(s): "), "{text}");
    }
}
