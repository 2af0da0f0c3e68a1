//! The ceiling of stages that consist of matrix products: the machine's fastest large product.

use tch::{Device, Kind};

use crate::cluster::matrix_product::{Trial, matrix_product_rate};

/// FLOP/s of the fastest of ten products of two square matrices of `kind`, whose side is 4096 on a CPU and
/// 16384 on a GPU.
pub fn gemm_ceiling(kind: Kind, device: Device) -> f64 {
    matrix_product_rate(kind, device, trial(device))
}

/// A GPU multiplies matrices of side 4096 in 0.2 ms, of which its start and the wait for its end are a large
/// share.
fn trial(device: Device) -> Trial {
    Trial { side: if device.is_cuda() { 16_384 } else { 4096 }, products: 10 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::accelerator::FIRST_GPU;

    #[test]
    fn products_on_a_gpu_take_long_against_their_start() {
        let seconds = |device, flops: f64| 2.0 * (trial(device).side as f64).powi(3) / flops;
        // 1 PFLOP/s is a peak of bf16 on a GPU, 1 TFLOP/s one of fp32 on a CPU
        assert!(seconds(FIRST_GPU, 1e15) > 5e-3 && seconds(Device::Cpu, 1e12) > 5e-3);
    }
}
