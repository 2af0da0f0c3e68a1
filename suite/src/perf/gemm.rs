//! The ceiling of stages that consist of matrix products: the machine's fastest large product.

use tch::{Device, Kind};

use crate::cluster::matrix_product::{Trial, matrix_product_rate};

/// Side of the matrices, and that on devices which multiply these in a blink.
const SIDES: [i64; 2] = [4096, 16_384];

/// Seconds of a product against which its start and the wait for its end are small.
const LONG: f64 = 5e-3;

/// FLOP/s of the fastest of ten products of two square matrices of `kind`, whose side is 4096, or 16384 where
/// a product of the former is over in less than 5 ms, as on a GPU.
pub fn gemm_ceiling(kind: Kind, device: Device) -> f64 {
    let [small, large] = SIDES;
    let rate = |side| matrix_product_rate(kind, device, Trial { side, products: 10 });
    let found = rate(small);
    if is_long(small, found) { found } else { rate(large) }
}

/// Whether a product of matrices of this side takes long at `rate` FLOP/s.
fn is_long(side: i64, rate: f64) -> bool {
    2.0 * (side as f64).powi(3) / rate > LONG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_take_long_against_their_start() {
        // 1 PFLOP/s is a peak of bf16 on a GPU, 1 TFLOP/s one of fp32 on a CPU
        assert!(is_long(SIDES[0], 1e12) && !is_long(SIDES[0], 1e15) && is_long(SIDES[1], 1e15));
    }
}
