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
    let [rate] = matrix_product_rates([kind], device, trial);
    rate
}

/// FLOP/s of the fastest of the products of two matrices of each kind. The kinds take turns, so that other work on
/// the machine slows all of them.
pub fn matrix_product_rates<const N: usize>(kinds: [Kind; N], device: Device, trial: Trial) -> [f64; N] {
    let matrix = |kind| Tensor::randn([trial.side, trial.side], (Kind::Float, device)).to_kind(kind);
    let factors = kinds.map(|kind| (matrix(kind), matrix(kind)));
    let seconds = |(a, b): &(Tensor, Tensor)| {
        let start = Instant::now();
        let c = a.matmul(b);
        // reading a value waits for the device
        let _ = c.double_value(&[0, 0]);
        start.elapsed().as_secs_f64()
    };
    for pair in &factors {
        seconds(pair);
    }
    let mut fastest = [f64::INFINITY; N];
    for _ in 0..trial.products {
        for (fastest, pair) in fastest.iter_mut().zip(&factors) {
            *fastest = fastest.min(seconds(pair));
        }
    }
    fastest.map(|seconds| 2.0 * (trial.side as f64).powi(3) / seconds)
}
