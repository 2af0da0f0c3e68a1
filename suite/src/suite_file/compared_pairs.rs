//! Pairs of rows that a suite asks the report to test against each other, in addition to those that every
//! report tests.
//!
//! ```toml
//! [[compare]]
//! first = "Ours"
//! second = "SimCLR"
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two rows of the tables. The tested difference is the first minus the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComparedPair {
    /// Name of a row.
    pub first: String,
    /// Name of another row.
    pub second: String,
}
