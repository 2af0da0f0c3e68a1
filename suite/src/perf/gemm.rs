//! The ceiling of stages that consist of matrix products: the machine's fastest large product.

use tch::{Device, Kind};

use crate::cluster::matrix_product::{Trial, matrix_product_rate};

/// FLOP/s of the fastest of ten products of two `4096 x 4096` matrices of `kind`.
pub fn gemm_ceiling(kind: Kind, device: Device) -> f64 {
    matrix_product_rate(kind, device, Trial { side: 4096, products: 10 })
}
