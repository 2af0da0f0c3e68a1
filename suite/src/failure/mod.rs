//! How a command ends when it does not end well.

pub mod out_of_memory;

use std::panic::PanicHookInfo;

/// An error with the exit code that scripts rely on: 2 usage or bad input, 3 run failed, 75 stopped early.
#[derive(Debug)]
pub struct Failure {
    /// What, where, and what to do.
    pub error: anyhow::Error,
    /// Exit code.
    pub code: i32,
    /// Whether every rank knows of it; one that only this rank knows must end the others.
    pub agreed: bool,
}

/// Usage or bad input.
pub const BAD_INPUT: i32 = 2;

/// The run failed.
pub const RUN_FAILED: i32 = 3;

/// Stopped early, and the same command goes on: EX_TEMPFAIL of sysexits.h.
pub const STOPPED: i32 = 75;

impl Failure {
    /// Bad input that every rank sees alike.
    pub fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Failure { error: error.into(), code: BAD_INPUT, agreed: true }
    }

    /// A failure of this rank in the middle of the work.
    pub fn run(error: impl Into<anyhow::Error>) -> Self {
        Failure { error: error.into(), code: RUN_FAILED, agreed: false }
    }

    /// The message as a person reads it: `error: ...`, causes joined by colons, hints on lines of their own.
    pub fn message(&self) -> String {
        let text = format!("{:#}", self.error);
        format!("error: {}", text.trim_end())
    }
}

/// Ends the whole job with `end` when any thread of this process panics: others would wait for it. Memory that ran out comes as a panic too,
/// libtorch raising it in the middle of any operation, and is told as what it is. `place` stands before the message.
pub fn end_on_panic(place: String, end: fn(i32) -> !) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        match out_of_memory::shortage(message(info)) {
            Some(said) => {
                // in one piece: the launcher mixes the ranks' words
                let text = format!("{place}error: out of memory: {said}\n{}\n", out_of_memory::hint());
                eprint!("{text}");
            }
            None => report(info),
        }
        end(RUN_FAILED);
    }));
}

fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or_default()
}

/// A command's result.
pub type Outcome<T> = Result<T, Failure>;
