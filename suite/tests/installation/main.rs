//! Tests of what runs before libtorch is available: the launcher that finds it and the script that sets it
//! up. This binary does not link libtorch.

mod install;
mod launcher;
mod setup;
#[path = "../program/skip.rs"]
mod skip;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time. A process that one thread starts while another writes a program inherits the open file
/// for a moment, and then the program cannot be executed ("text file busy").
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
