//! Allows only one run at a time in a folder: `running.json` names the process that uses it.
//!
//! A lock is stale when its process is gone. On the same host the process table shows that. On another host
//! the file's age does: the owner touches the file every 30 s. A requeued job takes over its own lock.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use eqr_datasets::output::temporary_name;
use serde::{Deserialize, Serialize};

use crate::cluster::host::{host, slurm_job};
use crate::cluster::patience::patience;
use crate::run_folder::layout;

/// Time after which the owner touches the file again.
const TOUCH_INTERVAL: Duration = Duration::from_secs(30);

/// Age at which a lock of another host is stale; the clocks of nodes differ by less than this.
const STALE: Duration = Duration::from_secs(300);

/// How long a process that was just killed may take to end: 5 s.
fn killed_process_patience() -> Duration {
    patience() / 8
}

/// The process that uses a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LockOwner {
    host: String,
    pid: u32,
    /// Start of the process in the kernel's ticks, because process ids are reused.
    started: u64,
    /// Slurm's job id, if there is one.
    job: Option<String>,
}

/// This process's lock on a folder, until it is dropped.
pub struct RunLock {
    path: PathBuf,
    /// The folder, if the lock created it.
    made: Option<PathBuf>,
    /// Dropped to end the thread that touches the file.
    end: Option<Sender<()>>,
    touching: Option<JoinHandle<()>>,
}

impl RunLock {
    /// Locks `folder`, and creates it if needed.
    ///
    /// # Errors
    /// Another run that uses the folder; a file system error.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(layout::LOCK);
        let made = (!folder.exists()).then(|| folder.to_owned());
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let own = LockOwner::this_process();
        let patient_until = Instant::now() + killed_process_patience();
        loop {
            match create(&path, &own) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
            }
            match active_owner(&path, &own) {
                None => remove_stale(&path)?,
                Some(owner) if owner.host == own.host && Instant::now() < patient_until => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Some(LockOwner { host, pid, job, .. }) => {
                    let job = job.map(|job| format!(", job {job}")).unwrap_or_default();
                    let hint = "hint: wait for it, or name another folder for --out";
                    bail!(
                        "{}: another run is using this folder (process {pid} on {host}{job})\n{hint}",
                        folder.display()
                    );
                }
            }
        }
        let (end, ended) = mpsc::channel::<()>();
        let file = path.clone();
        let touching = std::thread::spawn(move || {
            while ended.recv_timeout(TOUCH_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                // a file system error here is no reason to end a run
                let _ = File::options()
                    .write(true)
                    .open(&file)
                    .and_then(|file| file.set_modified(SystemTime::now()));
            }
        });
        Ok(RunLock { path, made, end: Some(end), touching: Some(touching) })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(touching) = self.touching.take() {
            let _ = touching.join();
        }
        let _ = fs::remove_file(&self.path);
        // a run that was refused leaves no empty folder
        if let Some(folder) = &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl LockOwner {
    fn this_process() -> Self {
        let pid = std::process::id();
        LockOwner { host: host(), pid, started: started(pid).unwrap_or_default(), job: slurm_job() }
    }
}

/// Creates the file. Fails if the file exists, even on file systems without locks.
fn create(path: &Path, owner: &LockOwner) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(serde_json::to_string(owner)?.as_bytes())?;
    file.sync_all()
}

/// The owner of the lock at `path`, unless the lock is absent or stale.
fn active_owner(path: &Path, own: &LockOwner) -> Option<LockOwner> {
    let age =
        || fs::metadata(path).and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
    let Some(owner) =
        fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<LockOwner>(&text).ok())
    else {
        // it is being written, or was cut short by a crash
        let unknown = LockOwner { host: own.host.clone(), pid: 0, started: 0, job: None };
        return (path.exists() && age().is_none_or(|age| age < killed_process_patience() / 2))
            .then_some(unknown);
    };
    let requeued = owner.job.is_some() && owner.job == own.job;
    let alive = match owner.host == own.host {
        true => started(owner.pid) == Some(owner.started),
        false => !requeued && age().is_none_or(|age| age < STALE),
    };
    alive.then_some(owner)
}

/// Removes a stale lock. It is renamed to a name of this process first, so that only one of several processes
/// succeeds.
fn remove_stale(path: &Path) -> Result<()> {
    let aside = path.with_file_name(temporary_name(&format!("{}-{}", host(), std::process::id())));
    match fs::rename(path, &aside).and_then(|()| fs::remove_file(&aside)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Start of a running process, in the kernel's ticks since boot.
fn started(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the program's name, in parentheses, may contain anything
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!["Z", "X"].contains(&state)).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, owner: &LockOwner) {
        create(&folder.join(layout::LOCK), owner).unwrap();
    }

    #[test]
    fn a_folder_is_locked_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let lock = RunLock::take(folder.path()).unwrap();
        assert!(active_owner(&folder.path().join(layout::LOCK), &LockOwner::this_process()).is_some());
        drop(lock);
        assert!(!folder.path().join(layout::LOCK).exists());
        RunLock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_lock_of_a_process_that_is_gone_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let own = LockOwner::this_process();
        // the same process id, another process
        write(folder.path(), &LockOwner { started: own.started + 1, ..own });
        RunLock::take(folder.path()).unwrap();
    }

    #[test]
    fn another_host_keeps_its_lock_while_it_touches_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let other = LockOwner { host: "elsewhere".into(), pid: 1, started: 1, job: Some("12".into()) };
        write(folder.path(), &other);
        let message = format!("{:#}", RunLock::take(folder.path()).err().expect("it is taken"));
        assert!(message.contains("process 1 on elsewhere, job 12") && message.contains("hint:"), "{message}");
        let path = folder.path().join(layout::LOCK);
        // the same job, started again on another node
        assert_eq!(
            active_owner(&path, &LockOwner { job: Some("12".into()), ..LockOwner::this_process() }),
            None
        );
        let old = SystemTime::now() - 2 * STALE;
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        RunLock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_lock_cut_short_by_a_crash_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(layout::LOCK), "{\"ho").unwrap();
        RunLock::take(folder.path()).unwrap();
    }
}
