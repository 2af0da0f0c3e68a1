//! Pairs of methods that a suite asks the report to test against each other, beside those that every report tests.
//!
//! ```toml
//! [[compare]]
//! first = "Ours"
//! second = "SimCLR"
//! ```

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::names::method_of;
use crate::suite_file::suggestions::parse_method;

/// Two rows of the tables. The difference that is tested is the first less the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparedPair {
    /// Name of a row.
    pub first: String,
    /// Name of another row.
    pub second: String,
}

/// Checks the names. A pair whose rows the suite does not have is valid, as `--methods` may leave rows out.
///
/// # Errors
/// A name that is neither a method's nor that of one of `rows`, with the nearest valid one; a pair of one row.
pub fn validate(pairs: &[ComparedPair], rows: &[ExternalRow]) -> Result<()> {
    for ComparedPair { first, second } in pairs {
        ensure!(first != second, "compare: `{first}` is compared with itself\nhint: name two rows");
        for name in [first, second].into_iter().filter(|name| rows.iter().all(|row| row.name != **name)) {
            parse_method(method_of(name)).context("compare")?;
        }
    }
    Ok(())
}
