//! The device of the crates' own tests. On the false GPU of the program's tests, they have the expected values
//! of the CPU.

use tch::{Device, Tensor, kind::Element};

use crate::kernels::{Absence, begin};

/// The variable that names the device.
const VARIABLE: &str = "EQR_TEST_DEVICE";

/// The device that tests compute on: the CPU, or what `EQR_TEST_DEVICE` says. A GPU uses kernels unless they are
/// turned off; one that is refused fails the test.
///
/// # Panics
/// Panics if the variable is neither `cpu` nor `cuda:0`, or if there is no GPU, driver or compiler of kernels.
pub fn test_device() -> Device {
    match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("cpu") => Device::Cpu,
        Ok("cuda:0") => {
            assert!(tch::Cuda::is_available(), "{VARIABLE}=cuda:0: there is no GPU");
            match begin(0, |note| panic!("{note}")) {
                Ok(()) | Err(Absence::TurnedOff) => Device::Cuda(0),
                Err(Absence::Missing(why)) => panic!("{VARIABLE}=cuda:0: {why}"),
            }
        }
        Ok(other) => panic!("{VARIABLE}={other}: expected `cpu` or `cuda:0`"),
    }
}

/// A tensor (n) on the device of tests.
///
/// # Panics
/// As [`test_device`].
pub fn test_tensor<T: Element>(values: &[T]) -> Tensor {
    Tensor::from_slice(values).to_device(test_device())
}
