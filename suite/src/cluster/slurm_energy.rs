//! The energy of a job's nodes, as Slurm counts it: an alternative to the counters of processors and GPUs, which
//! are parts of the nodes.
//!
//! Slurm counts by node and step. `sstat` gives a step's sum over its nodes, with all that ran on them, so it
//! is read only in a job that has its nodes for itself, and only if ranks of this launch are on all nodes of
//! the step. It is as new as Slurm's last sample (`JobAcctGatherFrequency`, 30 s unless the site or the job
//! sets another).
//!
//! UNTESTED with a real Slurm: none was available. Tests run it with commands made for them.

use std::process::Command;

use eqr_models::Collective;
use serde::{Deserialize, Serialize};

use crate::cluster::agreement::gather;

/// Plugins of Slurm that count whole nodes. `rapl` counts processors, which powercap does, and `gpu` GPUs.
const OF_WHOLE_NODES: [&str; 4] = ["ipmi", "xcc", "pm_counters", "ibmaem"];

/// What Slurm calls the step of a batch script.
const BATCH: &str = "batch";

/// How `squeue` marks a job whose nodes no other job may use.
const ALONE: &str = "NO";

/// A step of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    job: String,
    step: String,
    /// Number of its nodes.
    nodes: usize,
}

/// Counts the energy of the nodes of a step.
pub struct StepMeter {
    id: String,
    /// The counter at the start, in joules.
    start: f64,
}

impl StepMeter {
    /// Begins to count on one rank of each step; `None` on the others, and outside Slurm. Every rank must call
    /// it.
    pub fn start(ranks: &dyn Collective) -> Option<Result<StepMeter, String>> {
        let place = ranks.place_on_node();
        let own = Step::of(|name| std::env::var(name).ok()).filter(|_| place.rank == 0);
        let of_ranks: Vec<Option<Step>> = gather(ranks, &own);
        let step = own?;
        let first = of_ranks.iter().position(|other| other.as_ref() == Some(&step));
        (first == Some(ranks.rank())).then(|| {
            step.ensure_whole(&of_ranks, place.nodes)?;
            StepMeter::of(&step, output)
        })
    }

    fn of(step: &Step, run: impl Fn(&[&str]) -> Result<String, String>) -> Result<StepMeter, String> {
        let config = run(&["scontrol", "show", "config"])?;
        let plugin = energy_plugin(&config);
        if !OF_WHOLE_NODES.contains(&plugin) {
            return Err(format!("Slurm counts no energy of whole nodes (AcctGatherEnergyType = {plugin})"));
        }
        let shares = run(&["squeue", "--noheader", "--jobs", &step.job, "--format", "%h"])?;
        if shares.trim() != ALONE {
            let shares = shares.trim();
            return Err(format!(
                "other jobs may use the nodes, which Slurm counts whole (OverSubscribe={shares})"
            ));
        }
        let id = format!("{}.{}", step.job, step.step);
        let start = consumed(&id, run)?;
        Ok(StepMeter { id, start })
    }

    /// The energy since the start, in joules.
    ///
    /// # Errors
    /// A counter that cannot be read, or that Slurm has not read since.
    pub fn joules(&self) -> Result<f64, String> {
        self.since_start(output)
    }

    fn since_start(&self, run: impl Fn(&[&str]) -> Result<String, String>) -> Result<f64, String> {
        let joules = consumed(&self.id, run)? - self.start;
        match joules > 0.0 {
            true => Ok(joules),
            false => Err(format!("Slurm has taken no sample of step {} meanwhile", self.id)),
        }
    }
}

impl Step {
    /// The step that the environment names; `None` outside Slurm.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Step> {
        let job = variable("SLURM_JOB_ID")?;
        let nodes = variable("SLURM_STEP_NUM_NODES").and_then(|nodes| nodes.parse().ok());
        Some(match variable("SLURM_STEP_ID") {
            Some(step) => Step { job, step, nodes: nodes.unwrap_or(1) },
            // the script runs on the first node alone
            None => Step { job, step: BATCH.to_owned(), nodes: 1 },
        })
    }

    /// Checks that the launch has ranks on all nodes of the step, and that its other ranks are in steps, too.
    /// `of_ranks` has the steps of the first ranks of the nodes.
    fn ensure_whole(&self, of_ranks: &[Option<Step>], nodes: usize) -> Result<(), String> {
        let steps = || of_ranks.iter().flatten();
        let (here, in_slurm) = (steps().filter(|other| *other == self).count(), steps().count());
        if here != self.nodes {
            let Step { job, step, nodes } = self;
            return Err(format!("step {job}.{step} of Slurm has {nodes} nodes, and ranks run on {here}"));
        }
        match in_slurm == nodes {
            true => Ok(()),
            false => Err(format!("{in_slurm} of the {nodes} nodes are in a step of Slurm")),
        }
    }
}

/// The plugin that counts energy, without its prefix: `ipmi` of `acct_gather_energy/ipmi`.
fn energy_plugin(config: &str) -> &str {
    let line = config.lines().find(|line| line.starts_with("AcctGatherEnergyType")).unwrap_or_default();
    let value = line.split_once('=').map_or("not said", |(_, value)| value.trim());
    value.rsplit('/').next().unwrap_or(value)
}

/// The counter of a step, in joules.
fn consumed(id: &str, run: impl Fn(&[&str]) -> Result<String, String>) -> Result<f64, String> {
    let text = run(&["sstat", "--noheader", "--parsable2", "--jobs", id, "--format", "ConsumedEnergyRaw"])?;
    let number = text.trim();
    number.parse().map_err(|_| format!("sstat gives {number:?} as the energy of step {id}"))
}

/// What a command prints.
fn output(words: &[&str]) -> Result<String, String> {
    let [program, arguments @ ..] = words else { unreachable!("a command has a name") };
    let failed = |cause: String| format!("{program}: {cause}");
    let done = Command::new(program).args(arguments).output().map_err(|error| failed(error.to_string()))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(failed(said.lines().next().map_or_else(|| done.status.to_string(), str::to_owned)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slurm's answers: the plugin, whether the job is alone, and the counter.
    fn slurm(
        plugin: &'static str,
        shares: &'static str,
        joules: &'static str,
    ) -> impl Fn(&[&str]) -> Result<String, String> {
        move |words| match words[0] {
            "scontrol" => {
                Ok(format!("AccountingStorageTRES = cpu\nAcctGatherEnergyType    = {plugin}\nX = 1\n"))
            }
            "squeue" if words.contains(&"7") => Ok(format!("{shares}\n")),
            "sstat" if words.contains(&"7.batch") => Ok(format!("{joules}\n")),
            _ => Err(words.join(" ")),
        }
    }

    fn batch() -> Step {
        Step::of(|name| (name == "SLURM_JOB_ID").then(|| "7".to_owned())).unwrap()
    }

    #[test]
    fn energy_is_the_difference_of_two_readings() {
        let meter = StepMeter::of(&batch(), slurm("acct_gather_energy/ipmi", "NO", "500")).unwrap();
        assert_eq!(meter.since_start(slurm("ipmi", "NO", "7700")), Ok(7200.0));
        let stale = meter.since_start(slurm("ipmi", "NO", "500")).unwrap_err();
        assert_eq!(stale, "Slurm has taken no sample of step 7.batch meanwhile");
        let empty = meter.since_start(slurm("ipmi", "NO", "")).unwrap_err();
        assert_eq!(empty, "sstat gives \"\" as the energy of step 7.batch");
    }

    #[test]
    fn what_is_not_the_job_s_own_or_not_of_whole_nodes_is_not_counted() {
        let why = |plugin, shares| StepMeter::of(&batch(), slurm(plugin, shares, "1")).err().unwrap();
        assert!(why("acct_gather_energy/rapl", "NO").ends_with("(AcctGatherEnergyType = rapl)"));
        assert!(why("(null)", "NO").ends_with("(AcctGatherEnergyType = (null))"));
        assert!(why("acct_gather_energy/xcc", "OK").ends_with("(OverSubscribe=OK)"));
        assert_eq!(energy_plugin("X = 1\n"), "not said");
    }

    #[test]
    fn a_step_counts_if_ranks_are_on_all_its_nodes() {
        let step = |id: &str, nodes: &str| {
            let variable = |name: &str| match name {
                "SLURM_JOB_ID" => Some("7".to_owned()),
                "SLURM_STEP_ID" => Some(id.to_owned()),
                "SLURM_STEP_NUM_NODES" => Some(nodes.to_owned()),
                _ => None,
            };
            Step::of(variable)
        };
        let own = step("0", "2").unwrap();
        // mpirun in a batch script: ranks of the script on its node, and of a step of daemons on the others
        let of_ranks = [Some(batch()), None, step("0", "2"), None, step("0", "2")];
        assert_eq!(own.ensure_whole(&of_ranks, 3), Ok(()));
        assert_eq!(batch().ensure_whole(&of_ranks, 3), Ok(()));
        let fewer = own.ensure_whole(&of_ranks[..4], 2).unwrap_err();
        assert_eq!(fewer, "step 7.0 of Slurm has 2 nodes, and ranks run on 1");
        assert!(own.ensure_whole(&of_ranks, 4).unwrap_err().contains("3 of the 4 nodes"));
        assert_eq!(Step::of(|_| None), None);
    }

    #[test]
    fn a_command_that_is_missing_or_fails_is_named() {
        assert!(output(&["eqr-no-such-command"]).unwrap_err().starts_with("eqr-no-such-command: "));
        assert_eq!(output(&["sh", "-c", "echo no >&2; exit 1"]), Err("sh: no".to_owned()));
        assert_eq!(output(&["echo", "7"]), Ok("7\n".to_owned()));
    }
}
