//! The ceiling of stages that consist of matrix products: the machine's fastest large product.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

/// Side of the matrices.
const SIDE: i64 = 4096;

/// Number of products. The fastest one counts.
const PRODUCTS: usize = 10;

/// FLOP/s of the fastest of ten products of two `4096 x 4096` matrices of `kind`.
pub fn gemm_ceiling(kind: Kind, device: Device) -> f64 {
    let matrix = || Tensor::randn([SIDE, SIDE], (Kind::Float, device)).to_kind(kind);
    let (a, b) = (matrix(), matrix());
    let product = || {
        let start = Instant::now();
        let c = a.matmul(&b);
        // reading a value waits for the device
        let _ = c.double_value(&[0, 0]);
        start.elapsed().as_secs_f64()
    };
    product();
    let fastest = (0..PRODUCTS).map(|_| product()).fold(f64::INFINITY, f64::min);
    2.0 * (SIDE as f64).powi(3) / fastest
}
