//! Claims: files that say which process may do something. At most one process has the claim at a path.
//!
//! A claim is written under another name and linked into place, so it is whole from the start, and it has a
//! token that no other claim has. Whoever removes the claim of a process that is gone must first have the
//! claim to do so, at a path that is named after its content. So only one process removes it, and none
//! removes the claim that came after it.
//!
//! No clocks are compared. A process of this machine is looked up. Any other one must touch its claim every
//! few seconds, and its claim is stale if that has not happened during a long look of this process.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use eqr_datasets::output::temporary_name;
use serde::{Deserialize, Serialize};

use crate::cluster::host::{host, slurm_job, slurm_restarts};
use crate::cluster::patience::patience;
use crate::cluster::process::{Life, ProcessIdentity};
use crate::cluster::stop_signal::stop_requested;
use crate::console::say;
use crate::run_folder::atomic_file::write_synced;

/// Number of looks at a claim within the patience.
const LOOKS: u32 = 200;

/// Time between two looks: 0.2 s.
fn look_interval() -> Duration {
    patience() / LOOKS
}

/// Number of looks within which a process that was just killed ends: 5 s.
const LOOKS_AT_A_KILLED_PROCESS: u32 = LOOKS / 8;

/// Number of looks within which a process out of sight touches its claim: 2 minutes. A file server may keep
/// it waiting.
const LOOKS_AT_A_STRANGER: u32 = 3 * LOOKS;

/// Time within which a process out of sight touches its claim.
pub(super) fn patience_with_a_stranger() -> Duration {
    look_interval() * LOOKS_AT_A_STRANGER
}

/// Time after which the owner of a claim touches it again: 5 s.
pub(super) fn touch_interval() -> Duration {
    patience() / 8
}

/// Another process that is alive has the claim.
#[derive(Debug, thiserror::Error)]
#[error(
    "{folder}: another run is using this folder ({owner})\nhint: wait for it, or name another folder for --out"
)]
pub struct InUse {
    folder: String,
    owner: String,
}

/// Who has a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    token: String,
    /// Name of the machine.
    host: String,
    #[serde(flatten)]
    process: ProcessIdentity,
    /// Slurm's job id, if there is one.
    job: Option<String>,
    /// How often Slurm had started the job again.
    restarts: u64,
}

impl Claim {
    /// A new claim of this process.
    pub(super) fn new() -> Self {
        Claim {
            token: format!("{:032x}", rand::random::<u128>()),
            host: host(),
            process: ProcessIdentity::this(),
            job: slurm_job(),
            restarts: slurm_restarts(),
        }
    }

    /// Whether this process's job is the one that made the claim, started again since.
    fn is_of_earlier_start(&self, own: &Claim) -> bool {
        self.job.is_some() && self.job == own.job && self.restarts < own.restarts
    }

    fn owner(&self) -> String {
        let job = self.job.as_ref().map(|job| format!(", job {job}")).unwrap_or_default();
        format!("process {} on {}{job}", self.process.pid, self.host)
    }

    /// Waits until the claim at `path` is this one. A stale claim is taken over.
    ///
    /// # Errors
    /// Another process that has the claim, or a request to stop while that is unknown; something at the path
    /// that is no file; a file system error.
    pub(super) fn acquire(&self, path: &Path) -> Result<()> {
        let mut watch = Watch::default();
        let folder = path.parent().expect("a claim lies in a folder");
        loop {
            let Some(seen) = Seen::at(path)? else {
                fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
                if self.place(path).with_context(|| format!("cannot write {}", path.display()))? {
                    return Ok(());
                }
                continue;
            };
            match watch.judge(&seen, self) {
                Standing::Stale => self.remove_stale(path, &seen)?,
                Standing::InUse => {
                    let (folder, owner) = (folder.display().to_string(), seen.owner());
                    return Err(InUse { folder, owner }.into());
                }
                Standing::Open => {
                    ensure!(!stop_requested(), "stopped while waiting for {}", seen.owner());
                    std::thread::sleep(look_interval());
                }
            }
        }
    }

    /// Puts the claim at `path` if nothing is there, and returns whether it is there.
    fn place(&self, path: &Path) -> std::io::Result<bool> {
        let text = serde_json::to_string(self)?;
        let temporary = path.with_file_name(temporary_name(&self.token));
        let placed = write_synced(&temporary, text.as_bytes()).and_then(|()| fs::hard_link(&temporary, path));
        let _ = fs::remove_file(&temporary);
        let placed = match placed {
            Err(error) if has_no_links(&error) => create(path, &text),
            placed => placed,
        };
        match placed {
            // the folder, or the file to be linked, was swept by another process that comes or goes
            Err(error) if ![ErrorKind::AlreadyExists, ErrorKind::NotFound].contains(&error.kind()) => {
                Err(error)
            }
            // read back: a file server may repeat a call, and answer that the file already exists
            _ => Ok(self.is_at(path)),
        }
    }

    /// Whether this is the claim at `path`. `false` also if it cannot be read.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        Seen::at(path).is_ok_and(|seen| seen.is_some_and(|seen| seen.claim.as_ref() == Some(self)))
    }

    /// Removes a stale claim, unless another process has done so.
    fn remove_stale(&self, path: &Path, stale: &Seen) -> Result<()> {
        let right = stale.right_to_remove(path);
        self.acquire(&right)?;
        let removed = match Seen::at(path) {
            Ok(Some(seen)) if seen.content == stale.content => remove(path),
            _ => Ok(()),
        };
        // the end of the right: from here on no claim has this token
        let _ = fs::remove_file(&right);
        removed
    }

    /// Touches the claim at `path`, so that processes that cannot see this one know that it works.
    pub(super) fn touch(&self, path: &Path) -> Touch {
        let touch = || -> std::io::Result<bool> {
            let mut file = File::options().read(true).write(true).open(path)?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let is_own = serde_json::from_str(&text).is_ok_and(|found: Claim| found == *self);
            if is_own {
                file.set_modified(SystemTime::now())?;
            }
            Ok(is_own)
        };
        match touch() {
            Ok(true) => Touch::Done,
            Ok(false) => Touch::Lost,
            // where the whole folder is gone, the next file that is written says so
            Err(error) if error.kind() == ErrorKind::NotFound && path.parent().is_some_and(Path::exists) => {
                Touch::Lost
            }
            Err(_) => Touch::Unknown,
        }
    }
}

/// How touching a claim went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Done,
    /// The claim is gone, or it is another's.
    Lost,
    /// The file system does not answer as it should.
    Unknown,
}

/// Creates a file where there are no links. A crash in the middle leaves a claim that nobody touches.
fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Whether a link failed because the file system has none.
fn has_no_links(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(libc::EPERM)
}

/// Removes a claim, or an empty folder in its place.
fn remove(path: &Path) -> Result<()> {
    let shown = path.display();
    if path.is_dir() {
        return fs::remove_dir(path)
            .map_err(|error| anyhow!("{shown} is a folder, and no run makes one: {error}\nhint: remove it"));
    }
    fs::remove_file(path).with_context(|| format!("cannot remove {shown}"))
}

/// What is at the path of a claim.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    content: Vec<u8>,
    /// Compared only with what was seen before.
    modified: Option<SystemTime>,
    claim: Option<Claim>,
    is_folder: bool,
}

impl Seen {
    /// # Errors
    /// A link; something that cannot be read.
    pub(super) fn at(path: &Path) -> Result<Option<Seen>> {
        let cannot_read = || format!("cannot read {}", path.display());
        match Seen::read(path) {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                bail!("{} is a link, and no run makes one\nhint: remove it", path.display())
            }
            Err(error) => Err(error).with_context(cannot_read),
        }
    }

    fn read(path: &Path) -> std::io::Result<Seen> {
        // opened and not only looked up: that makes file servers answer with the present time of change
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut file = File::options().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let mut content = Vec::new();
        if metadata.is_file() {
            file.read_to_end(&mut content)?;
        }
        let claim = serde_json::from_slice(&content).ok();
        Ok(Seen { content, modified: metadata.modified().ok(), claim, is_folder: metadata.is_dir() })
    }

    /// Path of the claim to remove this one, which is at `path`. Its name follows from the content, token
    /// included.
    fn right_to_remove(&self, path: &Path) -> PathBuf {
        let content = blake3::hash(&self.content).to_hex();
        path.with_file_name(temporary_name(&format!("removal-of-{}", &content[..32])))
    }

    /// What can be seen of the process that has the claim.
    pub(super) fn life(&self) -> Life {
        self.claim.as_ref().map_or(Life::OutOfSight, |claim| claim.process.life())
    }

    pub(super) fn owner(&self) -> String {
        self.claim.as_ref().map_or_else(|| "its claim cannot be read".to_owned(), Claim::owner)
    }
}

/// What follows from what was seen of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Stale,
    InUse,
    /// More looks are needed.
    Open,
}

/// A look at a claim that lasts.
#[derive(Default)]
struct Watch {
    seen: Option<Seen>,
    /// Number of looks since the claim became what it is.
    looks: u32,
}

impl Watch {
    fn judge(&mut self, seen: &Seen, own: &Claim) -> Standing {
        let last = self.seen.replace(seen.clone());
        let is_same = last.as_ref().is_some_and(|last| last.content == seen.content);
        let is_touched = is_same && last != self.seen;
        self.looks = if is_same { self.looks + 1 } else { 0 };
        match seen.life() {
            // no run makes a folder
            _ if seen.is_folder => Standing::Stale,
            Life::Ended => Standing::Stale,
            Life::Runs if self.looks < LOOKS_AT_A_KILLED_PROCESS => Standing::Open,
            Life::Runs => Standing::InUse,
            Life::OutOfSight if seen.claim.as_ref().is_some_and(|claim| claim.is_of_earlier_start(own)) => {
                Standing::Stale
            }
            Life::OutOfSight if is_touched => Standing::InUse,
            Life::OutOfSight if self.looks >= LOOKS_AT_A_STRANGER => Standing::Stale,
            Life::OutOfSight => {
                if self.looks == 0 {
                    let seconds = patience_with_a_stranger().as_secs();
                    let owner = seen.owner();
                    say(&format!(
                        "note: the folder was claimed by another run ({owner}); for up to {seconds} s this \
                         one looks whether it still works"
                    ));
                }
                Standing::Open
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::run_folder::layout;

    /// A folder with `content` in the place of its claim.
    fn folder(content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(layout::LOCK);
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn text(claim: &Claim) -> String {
        serde_json::to_string(claim).unwrap()
    }

    fn seen(path: &Path) -> Seen {
        Seen::at(path).unwrap().unwrap()
    }

    fn with_time(path: &Path, time: SystemTime) {
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    /// What follows from `count` looks at a claim, each after `before_each`.
    fn after_looks(path: &Path, own: &Claim, count: u32, mut before_each: impl FnMut(u32)) -> Standing {
        let mut watch = Watch::default();
        let looks = (0..count).map(|look| {
            before_each(look);
            watch.judge(&seen(path), own)
        });
        looks.last().unwrap()
    }

    #[test]
    fn a_process_that_ended_is_replaced_whatever_the_clock_says() {
        let (folder, path) = folder(&text(&Claim { process: ProcessIdentity::ended(), ..Claim::new() }));
        with_time(&path, SystemTime::now() + Duration::from_secs(3600));
        let own = Claim::new();
        own.acquire(&path).unwrap();
        assert!(own.is_at(&path));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_running_process_keeps_its_claim_for_ever() {
        let (_folder, path) = folder(&text(&Claim::new()));
        with_time(&path, SystemTime::now() - Duration::from_secs(3600));
        let own = Claim::new();
        assert_eq!(after_looks(&path, &own, 2, |_| ()), Standing::Open, "it may have just been killed");
        assert_eq!(after_looks(&path, &own, 10 * LOOKS_AT_A_STRANGER, |_| ()), Standing::InUse);
    }

    #[test]
    fn a_process_out_of_sight_keeps_its_claim_while_it_touches_it() {
        let other = Claim {
            host: "elsewhere".into(),
            process: ProcessIdentity::elsewhere(),
            job: Some("12".into()),
            ..Claim::new()
        };
        let (_folder, path) = folder(&text(&other));
        let own = Claim::new();
        // neither an old time nor a future one says anything
        for time in [SystemTime::UNIX_EPOCH, SystemTime::now() + Duration::from_secs(3600)] {
            with_time(&path, time);
            assert_eq!(after_looks(&path, &own, LOOKS_AT_A_STRANGER, |_| ()), Standing::Open);
            assert_eq!(after_looks(&path, &own, LOOKS_AT_A_STRANGER + 1, |_| ()), Standing::Stale);
            let touch = |look| {
                if look == 100 {
                    assert_eq!(other.touch(&path), Touch::Done);
                }
            };
            assert_eq!(after_looks(&path, &own, 101, touch), Standing::InUse);
        }
        // the same job, started again on another node
        let again = Claim { job: Some("12".into()), restarts: other.restarts + 1, ..Claim::new() };
        assert_eq!(after_looks(&path, &again, 1, |_| ()), Standing::Stale);
        let step = Claim { job: Some("12".into()), ..Claim::new() };
        assert_eq!(after_looks(&path, &step, 1, |_| ()), Standing::Open, "another step of the same job");
    }

    #[test]
    fn what_no_run_wrote_is_replaced_after_a_look_or_refused() {
        let own = Claim::new();
        for content in ["", "{\"ho", "{\"host\": \"a\", \"pid\": 1, \"started\": 2, \"job\": null}"] {
            let (_folder, path) = folder(content);
            assert_eq!(after_looks(&path, &own, LOOKS_AT_A_STRANGER, |_| ()), Standing::Open);
            assert_eq!(after_looks(&path, &own, LOOKS_AT_A_STRANGER + 1, |_| ()), Standing::Stale);
            own.remove_stale(&path, &seen(&path)).unwrap();
            assert!(!path.exists());
        }
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(layout::LOCK);
        fs::create_dir(&path).unwrap();
        own.acquire(&path).unwrap();
        assert!(own.is_at(&path));
        fs::remove_file(&path).unwrap();
        fs::create_dir_all(path.join("something")).unwrap();
        let message = format!("{:#}", own.acquire(&path).unwrap_err());
        assert!(message.contains("is a folder") && message.contains("hint: remove it"), "{message}");
        fs::remove_dir_all(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        let message = format!("{:#}", own.acquire(&path).unwrap_err());
        assert!(message.contains("is a link"), "{message}");
    }

    #[test]
    fn a_claim_that_followed_a_stale_one_is_not_removed_with_it() {
        let (_folder, path) = folder(&text(&Claim { process: ProcessIdentity::ended(), ..Claim::new() }));
        let stale = seen(&path);
        let (first, late) = (Claim::new(), Claim::new());
        first.acquire(&path).unwrap();
        // it has judged the first claim before, and acts only now
        late.remove_stale(&path, &stale).unwrap();
        assert!(first.is_at(&path));
        // someone died while he removed a claim
        let right = seen(&path).right_to_remove(&path);
        fs::write(&right, text(&Claim { process: ProcessIdentity::ended(), ..Claim::new() })).unwrap();
        late.remove_stale(&path, &seen(&path)).unwrap();
        assert!(!path.exists() && !right.exists());
    }

    #[test]
    fn of_many_that_take_over_a_stale_claim_one_has_it_at_a_time() {
        const CONTENDERS: usize = 4;
        for _ in 0..6 {
            let (folder, path) = folder(&text(&Claim { process: ProcessIdentity::ended(), ..Claim::new() }));
            let (owners, barrier) = (AtomicUsize::new(0), Barrier::new(CONTENDERS));
            std::thread::scope(|scope| {
                for _ in 0..CONTENDERS {
                    scope.spawn(|| {
                        let own = Claim::new();
                        barrier.wait();
                        // all are threads of a process that runs, so none is stale once it has the claim
                        own.acquire(&path).unwrap();
                        assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                        std::thread::sleep(Duration::from_millis(1));
                        assert!(own.is_at(&path));
                        owners.fetch_sub(1, Ordering::SeqCst);
                        fs::remove_file(&path).unwrap();
                    });
                }
            });
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        }
    }
}
