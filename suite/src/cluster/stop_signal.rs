//! A request to stop early: SIGUSR1 and SIGTERM, which schedulers send before a job's time is up, and SIGINT
//! (Ctrl-C). All ranks stop at the same step, the training writes a checkpoint, and the program ends with
//! exit code 75. The same command then continues the run.

use std::ffi::c_int;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::anyhow;
use eqr_models::Collective;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use crate::cluster::agreement::on_any_rank;
use crate::cluster::launch::{command_line, speaks_for_launch};
use crate::cluster::signal_mask::STOP_REQUESTS;
use crate::cluster::stop_file::StopFile;
use crate::console::say_aloud;
use crate::failure::{Failure, Outcome, STOPPED};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Where the ranks of the run that goes on tell each other of a request.
static SHARED: Mutex<Option<StopFile>> = Mutex::new(None);

/// Makes the signals request a stop. A second SIGINT or SIGTERM ends the process at once, with the same exit
/// code. That is safe: files are renamed into place when they are complete, so none is left half-written.
///
/// # Errors
/// An error of the operating system.
pub fn listen() -> io::Result<()> {
    let requested = REQUESTED.get_or_init(Arc::default);
    let (heard, hears) = UnixStream::pair()?;
    for signal in STOP_REQUESTS.into_iter().filter(|&signal| !is_background_job(signal)) {
        if [SIGINT, SIGTERM].contains(&signal) {
            let again = Arc::new(AtomicBool::new(false));
            flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&again))?;
            flag::register(signal, again)?;
        }
        flag::register(signal, Arc::clone(requested))?;
        pipe::register(signal, hears.try_clone()?)?;
    }
    std::thread::Builder::new().name("stop requests".to_owned()).spawn(move || acknowledge(heard))?;
    Ok(())
}

/// Whether a shell has started this process in the background and protected it from the terminal's Ctrl-C.
fn is_background_job(signal: c_int) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, the call only writes the present one.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), found.as_mut_ptr()) };
    // SAFETY: a call that returns 0 has written it.
    signal == SIGINT && asked == 0 && unsafe { found.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Says that the first request was heard: the current step or measurement may take minutes.
fn acknowledge(mut heard: UnixStream) {
    if heard.read_exact(&mut [0]).is_ok() && speaks_for_launch() {
        say_aloud("stopping after the current step or measurement; a second Ctrl-C ends it at once");
    }
}

fn shared() -> MutexGuard<'static, Option<StopFile>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, a request to one of the ranks that share `file` is one to all of them. The leading rank has
/// removed the file of an earlier call.
pub fn share(file: StopFile) -> SharedStop {
    *shared() = Some(file);
    SharedStop(())
}

/// The ranks tell each other of requests until it is dropped.
#[must_use]
pub struct SharedStop(());

impl Drop for SharedStop {
    fn drop(&mut self) {
        *shared() = None;
    }
}

/// Whether a signal has asked this process to stop.
pub fn signalled() -> bool {
    REQUESTED.get().is_some_and(|requested| requested.load(Ordering::Relaxed))
}

/// Whether this process has been asked to stop, or another rank of its run. Ranks that work side by side hear
/// of the others' signals within a second or two.
pub fn stop_requested() -> bool {
    let signalled = signalled();
    match &*shared() {
        Some(file) if signalled => {
            file.write();
            true
        }
        Some(file) => file.is_written(),
        None => signalled,
    }
}

/// Whether any of the ranks has been asked to stop. Every rank must call this at the same point.
pub fn stop_requested_on_any_rank(ranks: &dyn Collective) -> bool {
    on_any_rank(ranks, stop_requested())
}

/// Ends a run between two pieces of its work if any of the ranks has been asked to stop. Every rank must call
/// this at the same point.
///
/// # Errors
/// A stop request (75).
pub fn end_if_requested(ranks: &dyn Collective) -> Outcome<()> {
    if stop_requested_on_any_rank(ranks) { Err(stopped_by_signal()) } else { Ok(()) }
}

/// The failure that a stopped run ends with.
pub fn stopped_by_signal() -> Failure {
    let error =
        anyhow!("stopped by a signal\nhint: the same command continues from here: {}", command_line());
    Failure { error, code: STOPPED, agreed: true }
}
