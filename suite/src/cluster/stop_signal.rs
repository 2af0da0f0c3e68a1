//! A wish to stop before the work is done: SIGUSR1, or SIGTERM, which schedulers send before a job's time is up. The ranks agree on it, the
//! training writes a checkpoint, and the program ends with exit code 75: the same command goes on from there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use eqr_models::Collective;
use signal_hook::consts::{SIGTERM, SIGUSR1};
use signal_hook::flag;
use tch::Tensor;

use crate::failure::{Failure, STOPPED};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on the two signals are wishes. A SIGTERM after a first wish ends the process at once, with the same exit code: files are renamed
/// into place when they are whole, so nothing is left half-written.
///
/// # Errors
/// The operating system's.
pub fn listen() -> Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    flag::register_conditional_shutdown(SIGTERM, STOPPED, Arc::clone(asked))
        .and_then(|_| flag::register(SIGTERM, Arc::clone(asked)))
        .and_then(|_| flag::register(SIGUSR1, Arc::clone(asked)))
        .map(|_| ())
        .context("cannot listen to signals")
}

/// Whether this process has been asked to stop.
pub fn asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}

/// Whether any of the ranks has been asked to stop; every rank must ask at the same place.
pub fn asked_of_any(ranks: &dyn Collective) -> bool {
    any(ranks, asked())
}

/// Whether `fact` holds on any of the ranks; every rank must ask at the same place.
pub fn any(ranks: &dyn Collective, fact: bool) -> bool {
    if ranks.size() == 1 {
        return fact;
    }
    let mut count = Tensor::from_slice(&[f64::from(u8::from(fact))]);
    ranks.all_reduce_sum(&mut count);
    count.double_value(&[0]) > 0.0
}

/// How a run ends that was stopped.
pub fn stopped() -> Failure {
    let error = anyhow!("stopped by a signal\nhint: the same command goes on from here");
    Failure { error, code: STOPPED, agreed: true }
}
