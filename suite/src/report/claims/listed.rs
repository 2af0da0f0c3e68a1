//! The orders of `results/paper/claims.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

const CLAIMS: &str = include_str!("../../../../results/paper/claims.toml");

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Orders of the paper.
    #[serde(rename = "order")]
    pub orders: Vec<ListedOrder>,
    /// Orders that this suite must settle, without values of the paper.
    #[serde(rename = "own")]
    pub own: Vec<ListedOwn>,
}

/// The first row is above the second in every one of these columns of the paper's table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedOrder {
    /// Number of the table.
    pub table: u8,
    /// A row.
    pub first: String,
    /// Another row.
    pub second: String,
    /// Names of columns, as [`crate::report::paper_tables::Reported::column`] gives them.
    pub columns: Vec<String>,
    /// The sentence of the paper that states it; without one, only the table shows it.
    pub stated: Option<String>,
}

/// The first row is above each of the seconds in runs that mirror one of these tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedOwn {
    /// Numbers of the tables.
    pub tables: Vec<u8>,
    /// A row.
    pub first: String,
    /// Other rows.
    pub seconds: Vec<String>,
    /// Whether the claim is about the mean over the equivariance columns, or about every column.
    #[serde(default)]
    pub mean: bool,
}

/// The file, which is part of the program.
pub fn listed() -> &'static Listed {
    static LISTED: LazyLock<Listed> =
        LazyLock::new(|| toml::from_str(CLAIMS).expect("the file is part of the program, and tested"));
    &LISTED
}
