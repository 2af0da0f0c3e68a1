//! What the environment says about an MPI launch.

use std::{env, fs};

/// Whether this process is one rank of an MPI launch.
pub fn is_mpi_launch() -> bool {
    is_mpi_environment(|name| env::var(name).ok())
}

fn is_mpi_environment(variable: impl Fn(&str) -> Option<String>) -> bool {
    const SET_BY_LAUNCHERS: [&str; 5] =
        ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"];
    SET_BY_LAUNCHERS.iter().any(|name| variable(name).is_some())
        || variable("SLURM_STEP_NUM_TASKS").and_then(|tasks| number(&tasks)).is_some_and(|tasks| tasks > 1)
}

/// Whether this process reports errors: one on each node, because a library can be missing on one node only.
/// If the launcher does not number the ranks of a node, rank 0 reports.
pub fn is_first_rank_of_its_node() -> bool {
    is_first_rank(|name| env::var(name).ok())
}

fn is_first_rank(variable: impl Fn(&str) -> Option<String>) -> bool {
    const RANKS: [&str; 8] = [
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "MPI_LOCALRANKID",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_RANK",
        "SLURM_LOCALID",
        "PMIX_RANK",
        "PMI_RANK",
        "SLURM_PROCID",
    ];
    RANKS.iter().find_map(|name| number(&variable(name)?)).is_none_or(|rank| rank == 0)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The node's name, as a prefix for the error messages of an MPI launch.
pub fn node_prefix() -> String {
    let host = is_mpi_launch().then(|| fs::read_to_string("/proc/sys/kernel/hostname").ok()).flatten();
    host.map(|name| format!("on {}: ", name.trim())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{is_first_rank, is_mpi_environment};

    fn variables<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<'a> {
        |name| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn a_slurm_step_of_one_task_is_no_mpi_launch() {
        assert!(!is_mpi_environment(variables(&[])));
        assert!(!is_mpi_environment(variables(&[("SLURM_STEP_NUM_TASKS", "1")])));
        assert!(is_mpi_environment(variables(&[("SLURM_STEP_NUM_TASKS", " 2")])));
        assert!(is_mpi_environment(variables(&[("PMI_SIZE", "1")])));
    }

    #[test]
    fn the_rank_within_the_node_comes_before_the_rank() {
        assert!(is_first_rank(variables(&[])));
        assert!(is_first_rank(variables(&[
            ("OMPI_COMM_WORLD_LOCAL_RANK", "0"),
            ("OMPI_COMM_WORLD_RANK", "4")
        ])));
        assert!(!is_first_rank(variables(&[("SLURM_LOCALID", "3"), ("SLURM_PROCID", "0")])));
        assert!(!is_first_rank(variables(&[("PMI_RANK", "1")])));
    }
}
