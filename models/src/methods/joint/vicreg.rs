//! VICReg (Bardes et al. 2022): 25 MSE(z1, z2) + 25 V + 1 C.

use tch::Tensor;

use crate::losses::{covariance, mse, variance};
use crate::methods::method::Term;

/// The three terms with the weights of the paper. z1, z2: (N, D).
pub fn terms(z1: &Tensor, z2: &Tensor) -> Vec<Term> {
    vec![
        ("invariance", mse(z1, z2) * 25.0),
        ("variance", (variance(z1) + variance(z2)) * (25.0 / 2.0)),
        ("covariance", covariance(z1) + covariance(z2)),
    ]
}
