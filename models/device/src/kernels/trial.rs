//! Comparison of a kernel with libtorch's operations.

use tch::{Device, Kind, Tensor};

/// Numbers in [-1, 1] without a visible order, the same ones every time: no generator is touched.
pub(super) fn made_up(shape: &[i64], frequency: f64, options: (Kind, Device)) -> Tensor {
    let (kind, device) = options;
    let count = shape.iter().product::<i64>();
    ((Tensor::arange(count, (Kind::Float, device)) * frequency).sin() * 97.0).sin().view(shape).to_kind(kind)
}

/// The tolerance for sums over some hundred elements: rounding in float32, and two bits in bfloat16, to which
/// libtorch also rounds what it computes on the way.
pub(super) fn rounding(kind: Kind) -> f64 {
    if kind == Kind::BFloat16 { 1.0 / 64.0 } else { 1e-4 }
}

/// Checks every element of `found` against libtorch's. The difference may be `tolerance` times 1 + the
/// expected magnitude.
pub(super) fn compare(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) -> Result<(), String> {
    let [found, expected] = [found, expected].map(|values| values.to_kind(Kind::Double));
    let difference = ((found - &expected).abs() / (expected.abs() + 1.0)).max().double_value(&[]);
    // not a number is no agreement
    if difference <= tolerance {
        return Ok(());
    }
    Err(format!("{what} differs from libtorch's by {difference:.1e}, where {tolerance:.0e} is allowed"))
}

/// The device of tests if it has kernels.
#[cfg(test)]
pub(super) fn test_gpu() -> Option<Device> {
    let device = crate::test_device::test_device();
    if super::availability::begun().is_none() {
        eprintln!("SKIPPED: kernels are for GPUs (make test-false-gpu)");
        return None;
    }
    Some(device)
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::test_device::test_tensor;

    #[test]
    fn what_differs_or_is_no_number_is_refused() {
        let expected = test_tensor(&[1.0, -3.0]);
        let outcome = |values: &[f64]| compare("the sum", &test_tensor(values), &expected, 1e-2);
        assert_eq!(outcome(&[1.01, -3.03]), Ok(()));
        let text = outcome(&[1.03, -3.0]).unwrap_err();
        assert_eq!(text, "the sum differs from libtorch's by 1.5e-2, where 1e-2 is allowed");
        assert!(outcome(&[f64::NAN, -3.0]).is_err());
    }
}
