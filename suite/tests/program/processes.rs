//! Processes that tests start: finding, signalling and awaiting them.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The child processes of `parent`.
pub fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // the name in brackets may contain anything
        let after = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        after.split(' ').nth(1) == Some(parent.to_string().as_str())
    })
    .collect()
}

/// Whether the process runs or is stopped. A zombie does not count.
pub fn alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Lets Ctrl-C reach the process, also if this one was started in the background and is protected from it.
pub fn interruptible(command: &mut Command) -> &mut Command {
    let reset = || {
        // SAFETY: the call is async-signal-safe, and sets no handler.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        Ok(())
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(reset) }
}

/// Sends a signal to a process, unless it has just ended.
pub fn send(id: u32, signal: i32) {
    let id = i32::try_from(id).expect("process ids are small");
    // SAFETY: the call reads no memory; the process is a child, or a child's child.
    let sent = unsafe { libc::kill(id, signal) };
    let error = std::io::Error::last_os_error();
    assert!(sent == 0 || error.raw_os_error() == Some(libc::ESRCH), "signal {signal} to {id}: {error}");
}

/// Halts the main thread of a child's child, as a debugger does. Its other threads go on. Fails where that is
/// not allowed.
///
/// # Errors
/// Why the thread cannot be held.
pub fn halt_main_thread(id: u32) -> std::io::Result<()> {
    let id = libc::pid_t::try_from(id).expect("process ids are small");
    let none = std::ptr::null_mut::<libc::c_void>();
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        // SAFETY: both requests read no memory; there is neither an address nor an option.
        let done = unsafe { libc::ptrace(request, id, none, none) };
        if done != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Takes notice of what has become of a halted thread, without which its process could not end.
pub fn notice(id: u32) {
    let id = libc::pid_t::try_from(id).expect("process ids are small");
    let mut status = 0;
    // SAFETY: the pointer outlives the call, which writes through it.
    unsafe { libc::waitpid(id, &raw mut status, libc::__WALL | libc::WNOHANG) };
}

/// The exit code of a process that ends before the deadline; -1 if a signal ended it.
pub fn ended(child: &mut Child, deadline: Instant) -> Option<i32> {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code().unwrap_or(-1));
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
