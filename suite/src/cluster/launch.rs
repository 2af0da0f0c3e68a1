//! What the launcher of this process says about the launch, through environment variables.

use anyhow::{Result, bail};
use eqr_models::Collective;

/// Number of processes of the launch; the launchers of MPI come before Slurm, which may have started them.
const SIZES: [&str; 4] = ["OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Number of this process in the launch.
const RANKS: [&str; 5] =
    ["OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"];

/// Checks that processes that were launched together are ranks of one job. They are not if the launcher does
/// not speak to the MPI of this program.
///
/// # Errors
/// Several processes, of which each is alone.
pub fn check_together(ranks: &dyn Collective) -> Result<()> {
    check(ranks.size(), |name| std::env::var(name).ok())
}

/// What to say before MPI starts, if Slurm started several processes and passed none of the variables by
/// which an MPI finds the others (`srun --mpi=none`). Many an MPI ends the process then.
pub fn note_before_mpi() -> Option<String> {
    let has_pmi = std::env::vars_os().any(|(name, _)| is_pmi(&name.to_string_lossy()));
    note(has_pmi, |name| std::env::var(name).ok()).filter(|_| speaks_for_launch())
}

fn is_pmi(name: &str) -> bool {
    name.starts_with("PMI") || name == "OMPI_COMM_WORLD_SIZE"
}

fn note(has_pmi: bool, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (name, launched) = first_number(&["SLURM_STEP_NUM_TASKS"], variable)?;
    (launched > 1 && !has_pmi).then(|| {
        format!(
            "note: {launched} processes were launched ({name}={launched}) without a PMI, by which they would find \
             each other (`srun --mpi=none`?): if MPI does not start, or each process is alone, use `srun \
             --mpi=pmix` (`srun --mpi=list` names what this Slurm has) or mpirun"
        )
    })
}

/// Whether this process is the one that speaks for those of a launch that are each alone.
pub fn speaks_for_launch() -> bool {
    launched_as() == 0
}

/// Number of this process in the launch, before MPI has started; 0 if it was not launched.
pub fn launched_as() -> u64 {
    first_number(&RANKS, |name| std::env::var(name).ok()).map_or(0, |(_, rank)| rank)
}

/// What to type to start this program again.
pub fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| shell_word(&word.to_string_lossy()));
    let words: Vec<String> = words.collect();
    let ranks = match first_number(&SIZES, |name| std::env::var(name).ok()) {
        Some((_, launched)) if launched > 1 => format!(" (on {launched} ranks again)"),
        _ => String::new(),
    };
    format!("eqr-bench {}{ranks}", words.join(" "))
}

/// An argument as a shell reads it.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn check(size: usize, variable: impl Fn(&str) -> Option<String>) -> Result<()> {
    let Some((name, launched)) = first_number(&SIZES, variable).filter(|&(_, launched)| launched > 1) else {
        return Ok(());
    };
    if size > 1 {
        return Ok(());
    }
    bail!(
        "{launched} processes were launched ({name}={launched}), but they do not see each other as ranks: each \
         is alone and would do the whole work\nhint: start them with the mpirun of the MPI that this program \
         was built with, or by `srun --mpi=pmix` (`srun --mpi=list` names what this Slurm has); for processes \
         that are meant to work alone, start each with `env -u {name}`"
    )
}

/// The first of the variables that is set to a number.
fn first_number<'a>(names: &[&'a str], variable: impl Fn(&str) -> Option<String>) -> Option<(&'a str, u64)> {
    names.iter().find_map(|&name| Some((name, variable(name)?.trim().parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: usize, set: &[(&str, &str)]) -> Option<String> {
        let variable =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).into());
        check(size, variable).err().map(|error| error.to_string())
    }

    #[test]
    fn arguments_with_blanks_and_quotes_are_quoted() {
        let words = ["--set", "train.lr=1e-2", "Ours, no reconstruction", "it's", ""].map(shell_word);
        assert_eq!(words.join(" "), r"--set train.lr=1e-2 'Ours, no reconstruction' 'it'\''s' ''");
    }

    #[test]
    fn a_launch_without_pmi_is_named_before_mpi_starts() {
        let tasks =
            |count: &'static str| move |name: &str| (name == "SLURM_STEP_NUM_TASKS").then(|| count.into());
        assert!(note(false, tasks("2")).is_some_and(|note| note.contains("2 processes were launched")));
        assert_eq!(
            [note(true, tasks("2")), note(false, tasks("1")), note(false, |_| None)],
            [None, None, None]
        );
        assert!(is_pmi("PMIX_RANK") && is_pmi("PMI_FD") && !is_pmi("SLURM_PROCID"));
    }

    #[test]
    fn processes_that_were_launched_together_and_are_alone_are_told_so() {
        for name in ["PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
            let text = message(1, &[(name, "2")]).unwrap();
            assert!(text.contains("2 processes were launched") && text.contains("each is alone"), "{text}");
            assert!(text.contains(&format!("env -u {name}")), "{text}");
            assert_eq!(message(2, &[(name, "2")]), None);
        }
        assert_eq!(message(1, &[("PMI_SIZE", "1")]), None);
        assert_eq!(message(1, &[]), None);
        // one process of mpirun, on a node where srun started the daemons of two nodes
        assert_eq!(message(1, &[("OMPI_COMM_WORLD_SIZE", "1"), ("SLURM_STEP_NUM_TASKS", "2")]), None);
    }
}
