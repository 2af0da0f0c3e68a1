//! A request to stop early: SIGUSR1, or SIGTERM, which schedulers send before a job's time is up. All ranks
//! stop at the same step, the training writes a checkpoint, and the program ends with exit code 75. The same
//! command then continues the run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use eqr_models::Collective;
use signal_hook::consts::{SIGTERM, SIGUSR1};
use signal_hook::flag;

use crate::cluster::agreement::on_any_rank;
use crate::failure::{Failure, STOPPED};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Makes the two signals request a stop. A SIGTERM after a first request ends the process at once, with the
/// same exit code. That is safe: files are renamed into place when they are complete, so none is left
/// half-written.
///
/// # Errors
/// An error of the operating system.
pub fn listen() -> Result<()> {
    let requested = REQUESTED.get_or_init(Arc::default);
    flag::register_conditional_shutdown(SIGTERM, STOPPED, Arc::clone(requested))
        .and_then(|_| flag::register(SIGTERM, Arc::clone(requested)))
        .and_then(|_| flag::register(SIGUSR1, Arc::clone(requested)))
        .map(|_| ())
        .context("cannot listen for signals")
}

/// Whether this process has been asked to stop.
pub fn stop_requested() -> bool {
    REQUESTED.get().is_some_and(|requested| requested.load(Ordering::Relaxed))
}

/// Whether any of the ranks has been asked to stop. Every rank must call this at the same point.
pub fn stop_requested_on_any_rank(ranks: &dyn Collective) -> bool {
    on_any_rank(ranks, stop_requested())
}

/// The failure that a stopped run ends with.
pub fn stopped_by_signal() -> Failure {
    let error = anyhow!("stopped by a signal\nhint: the same command continues from here");
    Failure { error, code: STOPPED, agreed: true }
}
