//! Claims: orders of two rows that the paper states or its tables show, that this suite must settle, or that
//! a suite file adds, and what a run says of them.
//!
//! [`judge`] lists the claims of a data set and reaches a verdict on each.

mod claim;
mod listed;
mod verdict;

pub use claim::ClaimFamily;
pub use verdict::{JudgedClaim, Verdict, judge};
