//! Ranks and machines: what the ranks agree on, what each computes with, and how a job that hangs or is told to stop ends.

pub mod accelerator;
pub mod agreement;
pub mod allocator;
pub mod cores;
pub mod host;
pub mod next_rank;
pub mod precision;
pub mod stop_signal;
pub mod watchdog;
pub mod worker;
