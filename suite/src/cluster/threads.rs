//! The threads of this process. A limit on processes (`ulimit -u`) is met here, before the work, and not in a
//! library that ends the process or panics.

use std::error::Error;
use std::io;
use std::sync::mpsc;
use std::thread::Builder;

use anyhow::Error as Cause;
use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};

use crate::failure::{Failure, Outcome, out_of_threads};

/// Threads besides those that compute: the one that keeps a run's lock fresh, and one to spare.
const OTHERS: usize = 2;

/// Makes the pool of `threads` threads that decode and render, unless there is one, and checks that libtorch can
/// have as many of its own.
///
/// # Errors
/// Threads that the operating system refuses (exit code 3).
pub fn make_pool(threads: usize) -> Outcome<()> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build_global();
    let made = match pool.as_ref().map_err(cause) {
        Err(Some(error)) => Err(error.to_string()),
        Ok(()) | Err(None) => try_threads(threads + OTHERS).map_err(|error| error.to_string()),
    };
    made.map_err(|error| Failure::run(Cause::msg(out_of_threads::message(&error))))
}

/// What the operating system says; `None` if there is a pool already, which is kept.
fn cause(error: &ThreadPoolBuildError) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

/// Starts `count` threads that end at once when all have started.
fn try_threads(count: usize) -> io::Result<()> {
    let mut gates = Vec::new();
    let mut started = Vec::new();
    let mut start = || {
        let (gate, opened) = mpsc::channel::<()>();
        gates.push(gate);
        Builder::new().spawn(move || opened.recv().is_ok())
    };
    let all = (0..count).try_for_each(|_| start().map(|thread| started.push(thread)));
    drop(gates);
    started.into_iter().for_each(|thread| drop(thread.join()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_pool_is_no_failure() {
        make_pool(2).unwrap();
        make_pool(1).unwrap();
        assert!(try_threads(3).is_ok());
    }
}
