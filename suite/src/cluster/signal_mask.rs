//! Holds back the signals that ask a run to stop, until the program can answer them.
//!
//! Loading the engine's libraries takes a while. A signal that arrives in the meantime would end the process.
//! So the launcher blocks these signals first of all, and the engine lets them through when it has its
//! handlers: `exec` keeps the mask and what is pending, but no handler. The launcher includes this file,
//! because it links no library of this workspace.

use std::ffi::c_int;
use std::mem::MaybeUninit;

/// Ctrl-C, the request of schedulers and of `kill`, and the signal that job scripts choose.
pub const STOP_REQUESTS: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGUSR1];

/// Keeps the signals pending in this thread and in those that it starts.
pub fn hold() {
    change(libc::SIG_BLOCK);
}

/// Delivers pending signals, and those to come, to this thread and to those that it starts. May be called
/// between `fork` and `exec`.
pub fn release() {
    change(libc::SIG_UNBLOCK);
}

fn change(how: c_int) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before it is used; all calls are async-signal-safe, and
    // cannot fail with valid arguments.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in STOP_REQUESTS {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut());
    }
}
