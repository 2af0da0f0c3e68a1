//! The equivariance tasks of a data set.

use eqr_datasets::Kind;

use crate::suite_file::suite::Transforms;

/// A column of an equivariance table and the length of its target.
pub type Task = (String, i64);

/// The equivariance tasks of a data set.
pub fn tasks(kind: Kind, transforms: &Transforms) -> Vec<Task> {
    match kind {
        Kind::Renders => vec![("rotation".into(), 4), ("color".into(), 2)],
        Kind::Photographs => transforms.active.iter().map(|t| (t.name().to_owned(), t.dim() as i64)).collect(),
    }
}
