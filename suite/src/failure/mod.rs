//! Failures: the exit codes that scripts rely on, and panics.

pub mod out_of_memory;
pub mod out_of_threads;

use std::io;
use std::sync::{Arc, OnceLock};

/// An error with its exit code: 2 usage or bad input, 3 run failed, 75 stopped early.
#[derive(Debug)]
pub struct Failure {
    /// What failed, where, and what to do.
    pub error: anyhow::Error,
    /// Exit code.
    pub code: i32,
    /// Whether all ranks have this failure. If not, this rank must end the others.
    pub agreed: bool,
}

/// Usage or bad input.
pub const BAD_INPUT: i32 = 2;

/// The run failed.
pub const RUN_FAILED: i32 = 3;

/// Stopped early; the same command continues: EX_TEMPFAIL of sysexits.h.
pub const STOPPED: i32 = 75;

impl Failure {
    /// Bad input, which all ranks see.
    pub fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Failure { error: error.into(), code: BAD_INPUT, agreed: true }
    }

    /// A failure of this rank in the middle of the work.
    pub fn run(error: impl Into<anyhow::Error>) -> Self {
        Failure { error: error.into(), code: RUN_FAILED, agreed: false }
    }

    /// The message for people: `error: ...`, causes joined by colons, hints on lines of their own.
    pub fn message(&self) -> String {
        let text = format!("{:#}", self.error);
        let hint = if text.contains("File too large") {
            "\nhint: files may not be larger here: raise the limit (`ulimit -f`), or write to another file system"
        } else {
            ""
        };
        format!("error: {}{hint}", text.trim_end())
    }
}

/// Lets a write beyond the limit on file sizes (`ulimit -f`) fail with an error, which is told. Without this
/// the kernel ends the process.
///
/// # Errors
/// An error of the operating system.
pub fn survive_file_size_limit() -> io::Result<()> {
    signal_hook::flag::register(libc::SIGXFSZ, Arc::default()).map(drop)
}

/// How this process ends all ranks.
static END_JOB: OnceLock<fn(i32) -> !> = OnceLock::new();

/// Ends all ranks at once with an exit code, from any thread.
pub fn end_job(code: i32) -> ! {
    match END_JOB.get() {
        Some(end_job) => end_job(code),
        None => end_now(code),
    }
}

/// Ends this process with an exit code, from any thread. Handlers of `exit` are not run: they would destroy
/// what other threads still compute with, and the process would end by a signal.
pub fn end_now(code: i32) -> ! {
    signal_hook::low_level::exit(code)
}

/// Ends the whole job with `end_ranks` when any thread of this process panics, because other ranks would wait
/// for it, and in [`end_job`]. libtorch also reports running out of memory as a panic, in the middle of any
/// operation, and libraries panic if they cannot start a thread; both get their own message. `place` precedes
/// the message.
pub fn end_on_panic(place: String, end_ranks: fn(i32) -> !) {
    let end_ranks = *END_JOB.get_or_init(|| end_ranks);
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if out_of_memory::is_failed_try(info) {
            return;
        }
        match out_of_resources(out_of_memory::text(info.payload())) {
            Some(text) => {
                // written in one piece, because the launcher interleaves the output of the ranks
                let text = format!("{place}error: {text}\n");
                eprint!("{text}");
            }
            None => report(info),
        }
        end_ranks(RUN_FAILED);
    }));
}

/// What to say of a panic for want of memory or threads.
fn out_of_resources(panic: &str) -> Option<String> {
    let memory = out_of_memory::allocator_message(panic);
    let memory = memory.map(|cause| format!("out of memory: {cause}\n{}", out_of_memory::hint()));
    memory.or_else(|| out_of_threads::cause_in_panic(panic).map(out_of_threads::message))
}

/// The result of a command.
pub type Outcome<T> = Result<T, Failure>;
