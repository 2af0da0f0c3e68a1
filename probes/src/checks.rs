//! Checks of the inputs of a probe: shapes, finite values, labels and configurations.

use crate::error::{Error, Result, TensorRole};
use tch::{Kind, Tensor};

/// Number of rows and columns of a two-dimensional tensor. Fails unless it has at least one of each.
pub(crate) fn matrix(name: &str, role: TensorRole, tensor: &Tensor) -> Result<(i64, i64)> {
    match tensor.size()[..] {
        [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
        _ => Err(wrong_shape(name, role, tensor, "two dimensions, neither of them empty".into())),
    }
}

/// Fails unless `tensor` has this shape.
pub(crate) fn expect_shape(name: &str, role: TensorRole, tensor: &Tensor, expected: &[i64]) -> Result<()> {
    if tensor.size() == expected {
        Ok(())
    } else {
        Err(wrong_shape(name, role, tensor, format!("{expected:?}")))
    }
}

/// The error for a tensor with a wrong shape.
pub(crate) fn wrong_shape(name: &str, role: TensorRole, tensor: &Tensor, expected: String) -> Error {
    Error::Shape { name: name.into(), role, found: tensor.size(), expected }
}

/// Fails if `tensor` contains NaN or infinite values.
pub(crate) fn finite(name: &str, role: TensorRole, tensor: &Tensor) -> Result<()> {
    let count = tensor.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]);
    if count == 0 { Ok(()) } else { Err(Error::NonFinite { name: name.into(), role, count }) }
}

/// Fails unless `labels` is an int64 tensor of shape (`rows`) with values in 0..`classes`.
pub(crate) fn check_labels(
    name: &str,
    role: TensorRole,
    labels: &Tensor,
    rows: i64,
    classes: i64,
) -> Result<()> {
    if labels.kind() != Kind::Int64 {
        return Err(wrong_shape(name, role, labels, format!("int64 labels, not {:?}", labels.kind())));
    }
    expect_shape(name, role, labels, &[rows])?;
    let (min, max) = (labels.min().int64_value(&[]), labels.max().int64_value(&[]));
    if min >= 0 && max < classes {
        Ok(())
    } else {
        Err(Error::Labels { name: name.into(), role, min, max, classes })
    }
}

/// Fails unless there are at least two classes.
pub(crate) fn check_classes(classes: i64) -> Result<()> {
    check_config(classes >= 2, "classes", classes, "at least 2")
}

/// Fails unless the integer is at least 1.
pub(crate) fn check_positive<T: Default + PartialOrd + ToString>(key: &'static str, number: T) -> Result<()> {
    check_config(number > T::default(), key, number, "at least 1")
}

/// Fails unless the number is finite and above 0.
pub(crate) fn check_above_zero(key: &'static str, number: f64) -> Result<()> {
    check_config(number > 0.0 && number.is_finite(), key, number, "a finite number above 0")
}

/// Fails unless `good`, with the message that `key` is `found` instead of `expected`.
pub(crate) fn check_config(
    good: bool,
    key: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<()> {
    if good { Ok(()) } else { Err(Error::Config { key, found: found.to_string(), expected }) }
}
