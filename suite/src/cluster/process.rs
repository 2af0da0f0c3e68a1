//! Which process this is, and whether another one still runs: without clocks, which may differ or be changed.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process of a machine that has not been restarted since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The kernel's random id of the time since it was started.
    boot: String,
    /// The namespace in which the process id counts: a container may have its own.
    namespace: String,
    /// The process id.
    pub pid: u32,
    /// Start of the process in the kernel's ticks, because process ids are reused.
    started: u64,
}

/// What this process can see of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs, or is stopped.
    Runs,
    /// It has ended.
    Ended,
    /// It belongs to another machine or container, or to another user who is hidden.
    OutOfSight,
}

impl ProcessIdentity {
    /// This process.
    pub fn this() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let pid = std::process::id();
        ProcessIdentity {
            boot: boot.trim().to_owned(),
            namespace: namespace.to_string_lossy().into_owned(),
            pid,
            started: started(pid).unwrap_or_default(),
        }
    }

    /// Whether the process still runs.
    pub fn life(&self) -> Life {
        let own = Self::this();
        let in_sight = !own.boot.is_empty() && (&self.boot, &self.namespace) == (&own.boot, &own.namespace);
        match started(self.pid) {
            _ if !in_sight => Life::OutOfSight,
            Some(started) if started == self.started => Life::Runs,
            None if is_hidden(self.pid) => Life::OutOfSight,
            _ => Life::Ended,
        }
    }

    /// A process that this one was, with the process id of a running process: it has ended.
    #[cfg(test)]
    pub(crate) fn ended() -> Self {
        let own = Self::this();
        ProcessIdentity { started: own.started + 1, ..own }
    }

    /// A process of another machine.
    #[cfg(test)]
    pub(crate) fn elsewhere() -> Self {
        ProcessIdentity { boot: "elsewhere".to_owned(), ..Self::this() }
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

/// Whether there is a process with this id that belongs to another user. Its files in /proc may be hidden.
fn is_hidden(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is never sent; the call only looks whether it could be.
    let found = unsafe { libc::kill(pid, 0) };
    found != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_and_from_those_out_of_sight() {
        assert_eq!(ProcessIdentity::this().life(), Life::Runs);
        assert_eq!(ProcessIdentity::ended().life(), Life::Ended);
        assert_eq!(ProcessIdentity::elsewhere().life(), Life::OutOfSight);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity {
            pid: child.id(),
            started: started(child.id()).unwrap(),
            ..ProcessIdentity::this()
        };
        assert_eq!(identity.life(), Life::Runs);
        child.kill().unwrap();
        // a process that nobody has waited for has ended too
        while identity.life() == Life::Runs {
            std::thread::yield_now();
        }
        assert_eq!(identity.life(), Life::Ended);
        child.wait().unwrap();
        assert_eq!(identity.life(), Life::Ended);
    }
}
