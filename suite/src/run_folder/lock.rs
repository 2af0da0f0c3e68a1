//! One run at a time in a folder: `running.json` says which process works there.
//!
//! A claim whose process is gone is taken over: on the same host the process table tells, and on another one the claim's age, which the
//! holder keeps below a minute. A requeued job takes over its own.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cluster::host::{host, slurm_job};

/// Name of the claim in a run's folder.
pub const FILE: &str = "running.json";

/// Seconds between two signs of life.
const BEAT: Duration = Duration::from_secs(30);

/// Age at which a claim of another host is an abandoned one; clocks of nodes differ by less.
const ABANDONED: Duration = Duration::from_secs(300);

/// How long a process that was just killed may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who works in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    host: String,
    pid: u32,
    /// Start of the process in the kernel's ticks: numbers of processes are used again.
    started: u64,
    /// Slurm's number of the job, where there is one.
    job: Option<String>,
}

/// The folder is this process's until it is dropped.
pub struct RunLock {
    path: PathBuf,
    /// The folder, where it was made for this.
    made: Option<PathBuf>,
    /// Closed to end the signs of life.
    end: Option<Sender<()>>,
    beat: Option<JoinHandle<()>>,
}

impl RunLock {
    /// Claims `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// Another run is at work there, or the file system's.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let made = (!folder.exists()).then(|| folder.to_owned());
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let own = Holder::own();
        let patient_until = Instant::now() + PATIENCE;
        loop {
            match create(&path, &own) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
            }
            match at_work(&path, &own) {
                None => give_up(&path)?,
                Some(holder) if holder.host == own.host && Instant::now() < patient_until => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Some(Holder { host, pid, job, .. }) => {
                    let job = job.map(|job| format!(", job {job}")).unwrap_or_default();
                    let hint = "hint: wait for it, or name another folder for --out";
                    bail!("{}: another run is at work there (process {pid} on {host}{job})\n{hint}", folder.display());
                }
            }
        }
        let (end, ended) = mpsc::channel::<()>();
        let file = path.clone();
        let beat = std::thread::spawn(move || {
            while ended.recv_timeout(BEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                // a file system that hiccups is no reason to end a run
                let _ = File::options().write(true).open(&file).and_then(|file| file.set_modified(SystemTime::now()));
            }
        });
        Ok(RunLock { path, made, end: Some(end), beat: Some(beat) })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(beat) = self.beat.take() {
            let _ = beat.join();
        }
        let _ = fs::remove_file(&self.path);
        // a run that was refused leaves nothing behind
        if let Some(folder) = &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Holder {
    fn own() -> Self {
        let pid = std::process::id();
        Holder { host: host(), pid, started: started(pid).unwrap_or_default(), job: slurm_job() }
    }
}

/// Fails where the file is there already, also on file systems without locks.
fn create(path: &Path, holder: &Holder) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())?;
    file.sync_all()
}

/// Who holds the claim at `path`, if somebody does.
fn at_work(path: &Path, own: &Holder) -> Option<Holder> {
    let age = || fs::metadata(path).and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
    let Some(holder) = fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Holder>(&text).ok()) else {
        // just being written, or cut short by a crash
        let unknown = Holder { host: own.host.clone(), pid: 0, started: 0, job: None };
        return (path.exists() && age().is_none_or(|age| age < PATIENCE / 2)).then_some(unknown);
    };
    let requeued = holder.job.is_some() && holder.job == own.job;
    let alive = match holder.host == own.host {
        true => started(holder.pid) == Some(holder.started),
        false => !requeued && age().is_none_or(|age| age < ABANDONED),
    };
    alive.then_some(holder)
}

/// Removes an abandoned claim: by a name of one's own first, so that of several only one does.
fn give_up(path: &Path) -> Result<()> {
    let aside = path.with_extension(format!("{}-{}", host(), std::process::id()));
    match fs::rename(path, &aside).and_then(|()| fs::remove_file(&aside)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// When a process that runs was started, in the kernel's ticks since boot.
fn started(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the program's name, in parentheses, may hold anything
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!["Z", "X"].contains(&state)).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, holder: &Holder) {
        create(&folder.join(FILE), holder).unwrap();
    }

    #[test]
    fn a_folder_is_claimed_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let claim = RunLock::take(folder.path()).unwrap();
        assert!(at_work(&folder.path().join(FILE), &Holder::own()).is_some());
        drop(claim);
        assert!(!folder.path().join(FILE).exists());
        RunLock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_claim_of_a_process_that_is_gone_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let own = Holder::own();
        // the same number, another process
        write(folder.path(), &Holder { started: own.started + 1, ..own });
        RunLock::take(folder.path()).unwrap();
    }

    #[test]
    fn another_host_holds_its_claim_while_it_gives_signs_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let other = Holder { host: "elsewhere".into(), pid: 1, started: 1, job: Some("12".into()) };
        write(folder.path(), &other);
        let message = format!("{:#}", RunLock::take(folder.path()).err().expect("it is taken"));
        assert!(message.contains("process 1 on elsewhere, job 12") && message.contains("hint:"), "{message}");
        let path = folder.path().join(FILE);
        // the same job, started again on another node
        assert_eq!(at_work(&path, &Holder { job: Some("12".into()), ..Holder::own() }), None);
        let old = SystemTime::now() - 2 * ABANDONED;
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        RunLock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_claim_cut_short_by_a_crash_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{\"ho").unwrap();
        RunLock::take(folder.path()).unwrap();
    }
}
