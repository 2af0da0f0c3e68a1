//! The threads of this process. A limit on processes (`ulimit -u`) is met here, before the work, and not in a
//! library that ends the process or panics.

use std::error::Error;
use std::io;
use std::sync::mpsc;
use std::thread::Builder;

use anyhow::Error as Cause;
use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};

use crate::failure::{Failure, Outcome, out_of_threads};

/// Pools with a thread per core: the one that decodes and renders, and two of libtorch.
const POOLS: usize = 3;

/// Threads besides those: the one that keeps a run's lock fresh, and one to spare.
const OTHERS: usize = 2;

/// Checks that a process that computes with `threads` threads can start them all. libtorch waits forever for
/// a thread that is refused.
///
/// # Errors
/// Threads that the operating system refuses (exit code 3).
pub fn ensure_available(threads: usize) -> Outcome<()> {
    try_threads(POOLS * threads + OTHERS).map_err(|error| refused(&error))
}

/// Makes the pool of `threads` threads that decode and render, unless there is one.
///
/// # Errors
/// Threads that the operating system refuses (exit code 3).
pub fn make_pool(threads: usize) -> Outcome<()> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build_global();
    match pool.as_ref().err().and_then(cause) {
        Some(error) => Err(refused(error)),
        None => Ok(()),
    }
}

fn refused(error: &io::Error) -> Failure {
    Failure::run(Cause::msg(out_of_threads::message(&error.to_string())))
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
        ensure_available(1).unwrap();
    }
}
