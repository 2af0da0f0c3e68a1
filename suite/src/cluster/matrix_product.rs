//! The speed of matrix products, which bounds everything that consists of them.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

/// How a speed is measured.
#[derive(Clone, Copy)]
pub struct Trial {
    /// Side of the square matrices.
    pub side: i64,
    /// Number of products after a first one that is not timed. The fastest one counts.
    pub products: usize,
}

/// FLOP/s of the fastest of the products of two matrices of `kind`.
pub fn matrix_product_rate(kind: Kind, device: Device, trial: Trial) -> f64 {
    let matrix = || Tensor::randn([trial.side, trial.side], (Kind::Float, device)).to_kind(kind);
    let (a, b) = (matrix(), matrix());
    let product = || {
        let start = Instant::now();
        let c = a.matmul(&b);
        // reading a value waits for the device
        let _ = c.double_value(&[0, 0]);
        start.elapsed().as_secs_f64()
    };
    product();
    let fastest = (0..trial.products).map(|_| product()).fold(f64::INFINITY, f64::min);
    2.0 * (trial.side as f64).powi(3) / fastest
}
