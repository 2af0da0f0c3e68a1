//! Whether the next rank of this node is stopped.
//!
//! The process is found in /proc, without any communication, so this works from the start, even while MPI
//! starts. Each rank watches the next one, and the last rank watches the first. So if some ranks are stopped
//! and others run, at least one running rank watches a stopped one.

use std::collections::BTreeMap;
use std::path::Path;

/// Which rank of which launch a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LaunchPlace {
    launch: String,
    rank: u64,
}

/// The process of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankProcess {
    /// Its rank in the launch.
    pub rank: u64,
    /// Its process id.
    pub pid: u32,
}

impl RankProcess {
    /// Whether a signal stopped it. A process held by a debugger does not count.
    pub fn is_stopped(self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // the name in parentheses may contain anything
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }
}

/// The process of this launch on this node whose rank follows this one's. `None` for a single rank, or if the
/// launcher does not name the launch in the environment.
pub fn next_rank() -> Option<RankProcess> {
    let own = read_place(Path::new("/proc/self"))?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let place = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let place =
            read_place(&entry.path()).filter(|place| place.launch == own.launch && place.rank != own.rank)?;
        Some((place.rank, pid))
    };
    // a rank may have started processes of its own: the oldest is the rank
    let mut ranks: BTreeMap<u64, u32> = BTreeMap::new();
    for (rank, pid) in processes.filter_map(place) {
        ranks.entry(rank).and_modify(|first| *first = pid.min(*first)).or_insert(pid);
    }
    let next = ranks.range(own.rank..).chain(ranks.iter()).next();
    next.map(|(&rank, &pid)| RankProcess { rank, pid })
}

/// Read from the environment of a process; `None` also for processes of other users, which are not readable.
fn read_place(process: &Path) -> Option<LaunchPlace> {
    parse_place(&std::fs::read(process.join("environ")).ok()?)
}

/// PMIx (Open MPI, Slurm) names the launch and the rank. Slurm without PMIx names the job, its step and the
/// task.
fn parse_place(environment: &[u8]) -> Option<LaunchPlace> {
    let value = |name: &str| {
        let text = |entry: &[u8]| {
            Some(std::str::from_utf8(entry).ok()?.strip_prefix(name)?.strip_prefix('=')?.to_owned())
        };
        environment.split(|&byte| byte == 0).find_map(text)
    };
    let by_pmix = || Some((value("PMIX_NAMESPACE")?, value("PMIX_RANK")?));
    let by_slurm =
        || Some((format!("{}.{}", value("SLURM_JOB_ID")?, value("SLURM_STEP_ID")?), value("SLURM_PROCID")?));
    let (launch, rank) = by_pmix().or_else(by_slurm)?;
    Some(LaunchPlace { launch, rank: rank.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::{LaunchPlace, parse_place};

    #[test]
    fn launch_and_rank_are_read_from_what_launchers_set() {
        let found = |launch: &str, rank| Some(LaunchPlace { launch: launch.to_owned(), rank });
        assert_eq!(parse_place(b"A=1\0PMIX_NAMESPACE=77\0PMIX_RANK=3\0B=2\0"), found("77", 3));
        assert_eq!(parse_place(b"SLURM_JOB_ID=5\0SLURM_STEP_ID=0\0SLURM_PROCID=12\0"), found("5.0", 12));
        // a shell within an allocation is not a rank
        assert_eq!(parse_place(b"SLURM_JOB_ID=5\0PATH=/bin\0"), None);
        assert_eq!(parse_place(b"XPMIX_NAMESPACE=77\0PMIX_RANK=3\0"), None);
        assert_eq!(parse_place(b""), None);
    }
}
