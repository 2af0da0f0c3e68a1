//! Claims: orders of two rows that the paper states or its tables show, that this suite must settle, or that a
//! suite file adds, and what a run says of them.
//!
//! [`applicable`] lists the claims of a data set, [`paired_differences`] gives what a test needs, and
//! [`judge`] reaches a verdict on every claim.

mod claim;
mod listed;
mod verdict;

pub use claim::{Claim, ClaimFamily, PaperOrder, applicable};
pub use verdict::{JudgedClaim, Verdict, judge, paired_differences};
