//! Helper processes of the launcher. They run with the signals that the launcher holds back, so Ctrl-C ends
//! them.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use crate::signal_mask;

/// Runs a helper to its end, without input.
///
/// # Errors
/// A program that cannot be started.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let release = || {
        signal_mask::release();
        Ok(())
    };
    // SAFETY: the closure calls only async-signal-safe functions.
    unsafe { command.pre_exec(release) };
    command.stdin(Stdio::null()).output()
}
