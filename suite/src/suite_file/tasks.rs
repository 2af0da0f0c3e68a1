//! The equivariance tasks of a data set.

use eqr_datasets::SetKind;

use crate::suite_file::transforms::Transforms;

/// A column of an equivariance table: a transformation whose parameters a probe predicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EquivarianceTask {
    /// `rotation`, `color`, ...
    pub name: String,
    /// Length of the parameter vector.
    pub outputs: i64,
}

/// The equivariance tasks of a data set, in the order of a pair's parameters.
pub fn tasks(kind: SetKind, transforms: &Transforms) -> Vec<EquivarianceTask> {
    let task = |name: &str, outputs| EquivarianceTask { name: name.to_owned(), outputs };
    match kind {
        SetKind::Renders => vec![task("rotation", 4), task("color", 2)],
        SetKind::Photographs => transforms.active.iter().map(|t| task(t.name(), t.dim() as i64)).collect(),
    }
}
