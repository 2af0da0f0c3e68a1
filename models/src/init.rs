//! Initialisation of parameters.

use eqr_random::parameter_rng;
use rand_distr::{Distribution, StandardNormal, Uniform};

use crate::positions::sine_cosine;

/// Initialisation of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All elements equal.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation. timm's `trunc_normal_` also truncates at ±2. That is a
    /// hundred standard deviations away, so it is omitted here.
    Normal(f64),
    /// Uniform between minus and plus this bound.
    Uniform(f64),
    /// Zeros for the class token, then sine-cosine positions of a `grid` x `grid` token map, as in MAE.
    SinCos {
        /// Side of the token map.
        grid: i64,
        /// Width of a token.
        dim: i64,
    },
}

impl Init {
    /// torch's default for the weight and the bias of a `Linear` layer with `fan_in` inputs.
    pub fn linear(fan_in: i64) -> Self {
        Init::Uniform(1.0 / (fan_in as f64).sqrt())
    }

    /// Xavier initialisation (Glorot and Bengio 2010), as in MAE's blocks.
    pub fn xavier(fan_in: i64, fan_out: i64) -> Self {
        Init::Uniform((6.0 / (fan_in + fan_out) as f64).sqrt())
    }

    /// Writes the initial values of the parameter `name`. They depend only on `seed` and the name.
    pub(crate) fn fill(self, values: &mut [f64], seed: u64, name: &str) {
        let mut rng = parameter_rng(seed, name);
        match self {
            Init::Constant(value) => values.fill(value),
            Init::Normal(std) => values.iter_mut().for_each(|v| {
                let draw: f64 = StandardNormal.sample(&mut rng);
                *v = std * draw;
            }),
            Init::Uniform(bound) => {
                let uniform = Uniform::new(-bound, bound);
                values.iter_mut().for_each(|v| *v = uniform.sample(&mut rng));
            }
            Init::SinCos { grid, dim } => values[dim as usize..].copy_from_slice(&sine_cosine(grid, dim)),
        }
    }
}
