//! Whether the next rank of this node is stopped.
//!
//! Found among the node's processes without asking anybody, so that it works from the first moment on, also while MPI starts. Each rank looks after
//! the one that follows it, the last after the first: of ranks some of which are stopped, one that runs sees one that does not.

use std::collections::BTreeMap;
use std::path::Path;

/// A process's place in a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    launch: String,
    rank: u64,
}

/// A process of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankProcess {
    /// Its rank of the launch.
    pub rank: u64,
    /// Its process id.
    pub pid: u32,
}

impl RankProcess {
    /// Whether a signal stopped it. One that a debugger holds does not count.
    pub fn is_stopped(self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // the name in brackets may hold anything
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }
}

/// The process of this launch on this node whose rank follows this one's. `None` for a rank alone, and where the launcher says nothing
/// that names the launch.
pub fn next_rank() -> Option<RankProcess> {
    let own = place_of(Path::new("/proc/self"))?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let place = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let place = place_of(&entry.path()).filter(|place| place.launch == own.launch && place.rank != own.rank)?;
        Some((place.rank, pid))
    };
    // of the processes that a rank may have started the first is the rank
    let mut ranks: BTreeMap<u64, u32> = BTreeMap::new();
    for (rank, pid) in processes.filter_map(place) {
        ranks.entry(rank).and_modify(|first| *first = pid.min(*first)).or_insert(pid);
    }
    let next = ranks.range(own.rank..).chain(ranks.iter()).next();
    next.map(|(&rank, &pid)| RankProcess { rank, pid })
}

/// What the environment of a process says; that of another user's is not ours to read.
fn place_of(process: &Path) -> Option<Place> {
    place(&std::fs::read(process.join("environ")).ok()?)
}

/// PMIx (Open MPI, Slurm) names launch and rank; Slurm by itself the job, its step and the task.
fn place(environment: &[u8]) -> Option<Place> {
    let value = |name: &str| {
        let text =
            |entry: &[u8]| Some(std::str::from_utf8(entry).ok()?.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        environment.split(|&byte| byte == 0).find_map(text)
    };
    let by_pmix = || Some((value("PMIX_NAMESPACE")?, value("PMIX_RANK")?));
    let by_slurm = || Some((format!("{}.{}", value("SLURM_JOB_ID")?, value("SLURM_STEP_ID")?), value("SLURM_PROCID")?));
    let (launch, rank) = by_pmix().or_else(by_slurm)?;
    Some(Place { launch, rank: rank.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::{Place, place};

    #[test]
    fn launch_and_rank_are_read_from_what_launchers_set() {
        let found = |launch: &str, rank| Some(Place { launch: launch.to_owned(), rank });
        assert_eq!(place(b"A=1\0PMIX_NAMESPACE=77\0PMIX_RANK=3\0B=2\0"), found("77", 3));
        assert_eq!(place(b"SLURM_JOB_ID=5\0SLURM_STEP_ID=0\0SLURM_PROCID=12\0"), found("5.0", 12));
        // a shell within an allocation is no rank
        assert_eq!(place(b"SLURM_JOB_ID=5\0PATH=/bin\0"), None);
        assert_eq!(place(b"XPMIX_NAMESPACE=77\0PMIX_RANK=3\0"), None);
        assert_eq!(place(b""), None);
    }
}
