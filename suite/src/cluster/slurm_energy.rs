//! The energy of a job's nodes, as Slurm counts it: an alternative to the counters of processors and GPUs,
//! which are parts of the nodes.
//!
//! Slurm counts by node and step. `sstat` gives a step's sum over its nodes, with all that ran on them, so it
//! is read only in a job that has its nodes for itself, and only if ranks of this launch are on all nodes of
//! the step. It is as new as Slurm's last sample (`JobAcctGatherFrequency`, 30 s unless the site or the job
//! sets another), so that work which is not much longer than the samples lie apart has no energy.
//!
//! UNTESTED with a real Slurm: none was available. Tests run it with commands made for them.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use eqr_models::Collective;
use serde::{Deserialize, Serialize};

use crate::cluster::agreement::gather;

/// Plugins of Slurm that count whole nodes. `rapl` counts processors, which powercap does, and `gpu` GPUs.
const OF_WHOLE_NODES: [&str; 4] = ["ipmi", "xcc", "pm_counters", "ibmaem"];

/// What Slurm calls the step of a batch script.
const BATCH: &str = "batch";

/// Time between two samples, where the configuration does not say it.
const USUAL_SAMPLING: Duration = Duration::from_secs(30);

/// Samples that a work must be long: the energy is then wrong by a tenth at most.
const SAMPLES: u32 = 10;

/// Time that a command of Slurm has. Other ranks wait for it.
const PATIENCE: Duration = Duration::from_secs(30);

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
    started: Instant,
    /// Time between two samples.
    sampling: Duration,
}

impl StepMeter {
    /// Begins to count on one rank of each step; `None` on the others, and outside Slurm. Every rank must
    /// call it.
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
        let started = Instant::now();
        let start = consumed(&id, run)?;
        Ok(StepMeter { id, start, started, sampling: sampling(&config) })
    }

    /// The energy since the start, in joules.
    ///
    /// # Errors
    /// A time that is too short for Slurm's samples; a counter that cannot be read.
    pub fn joules(&self) -> Result<f64, String> {
        self.since_start(self.started.elapsed(), output)
    }

    fn since_start(
        &self,
        elapsed: Duration,
        run: impl Fn(&[&str]) -> Result<String, String>,
    ) -> Result<f64, String> {
        if elapsed < self.sampling * SAMPLES {
            let [elapsed, sampling] = [elapsed, self.sampling].map(|time| time.as_secs());
            return Err(format!("{elapsed} s are too short for Slurm, which samples every {sampling} s"));
        }
        Ok(consumed(&self.id, run)? - self.start)
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

/// Time between two samples of energy: that of jobs, or of nodes if it is longer.
fn sampling(config: &str) -> Duration {
    let value = |key: &str| {
        let line = config.lines().find(|line| line.starts_with(key))?;
        line.split_once('=').map(|(_, value)| value.trim())
    };
    let of_jobs = value("JobAcctGatherFrequency").and_then(|value| {
        let energy = value.split(',').find_map(|part| part.strip_prefix("energy="));
        energy.unwrap_or(value).parse::<u64>().ok()
    });
    let of_nodes = value("AcctGatherNodeFreq").and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
    let seconds = [of_jobs, of_nodes].into_iter().flatten().max().filter(|&seconds| seconds > 0);
    seconds.map_or(USUAL_SAMPLING, Duration::from_secs)
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
    let mut command = Command::new(program);
    let piped = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(|error| failed(error.to_string()))?;
    let printed = read_beside(child.stdout.take());
    let said = read_beside(child.stderr.take());
    let status = end_of(&mut child, PATIENCE).map_err(failed)?;
    let said = said.join().unwrap_or_default();
    if !status.success() {
        return Err(failed(said.lines().next().map_or_else(|| status.to_string(), str::to_owned)));
    }
    Ok(printed.join().unwrap_or_default())
}

/// Reads to the end on a thread of its own, so that no pipe fills up.
fn read_beside(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        // what could not be read is missing in the text, which is then refused
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Waits until a process ends; ends one that takes longer than `patience`.
fn end_of(child: &mut Child, patience: Duration) -> Result<ExitStatus, String> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        if start.elapsed() > patience {
            // one that has just ended need not be killed
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no answer for {} s", patience.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
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
        let long = Duration::from_secs(300);
        assert_eq!(meter.since_start(long, slurm("ipmi", "NO", "7700")), Ok(7200.0));
        let short = meter.since_start(long - Duration::from_secs(1), slurm("ipmi", "NO", "7700"));
        assert_eq!(short.unwrap_err(), "299 s are too short for Slurm, which samples every 30 s");
        let empty = meter.since_start(long, slurm("ipmi", "NO", "")).unwrap_err();
        assert_eq!(empty, "sstat gives \"\" as the energy of step 7.batch");
    }

    #[test]
    fn the_slowest_samples_count() {
        let seconds = |config| sampling(config).as_secs();
        assert_eq!(seconds("JobAcctGatherFrequency  = 60\n"), 60);
        assert_eq!(seconds("JobAcctGatherFrequency  = task=20,energy=10\nAcctGatherNodeFreq = 45 sec\n"), 45);
        assert_eq!(seconds("JobAcctGatherFrequency  = task=20\nAcctGatherNodeFreq = 0 sec\n"), 30);
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
        let mut slow = Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(end_of(&mut slow, Duration::ZERO).unwrap_err(), "no answer for 0 s");
    }
}
