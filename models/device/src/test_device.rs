//! The device of the crates' own tests. On the false GPU of the program's tests, they have the expected
//! values of the CPU.

use tch::{Device, Tensor, kind::Element};

use crate::kernels::{Absence, begin};

/// The variable that names the device.
const VARIABLE: &str = "EQR_TEST_DEVICE";

/// The device that tests compute on: the CPU, or what `EQR_TEST_DEVICE` says. A GPU uses kernels unless they
/// are turned off; one that is refused fails the test.
///
/// # Panics
/// Panics if the variable is neither `cpu` nor `cuda:N`, or if there is no GPU of this number, no driver or
/// no compiler of kernels.
pub fn test_device() -> Device {
    let Ok(name) = std::env::var(VARIABLE) else { return Device::Cpu };
    if name == "cpu" {
        return Device::Cpu;
    }
    let gpu: Option<usize> = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
    let gpu = gpu.unwrap_or_else(|| panic!("{VARIABLE}={name}: expected `cpu` or `cuda:N`"));
    let gpus = tch::Cuda::device_count();
    assert!((gpu as i64) < gpus, "{VARIABLE}={name}: there are {gpus} GPUs");
    match begin(gpu, |note| panic!("{note}")) {
        Ok(()) | Err(Absence::TurnedOff) => Device::Cuda(gpu),
        Err(Absence::Missing(why)) => panic!("{VARIABLE}={name}: {why}"),
    }
}

/// A tensor (n) on the device of tests.
///
/// # Panics
/// As [`test_device`].
pub fn test_tensor<T: Element>(values: &[T]) -> Tensor {
    Tensor::from_slice(values).to_device(test_device())
}
