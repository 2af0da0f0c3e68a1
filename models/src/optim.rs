//! Adam on the flat buffer, and the learning-rate schedule.

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use crate::adam_update::{Buffers, Update};
use crate::arena::Arena;

/// Adam with the L2 term in the gradient, as torch's `Adam` (Kingma and Ba 2015; protocol section 2).
pub struct Adam {
    /// First moment, in the arena's layout.
    pub m: Tensor,
    /// Second moment, in the arena's layout.
    pub v: Tensor,
    /// Steps taken.
    pub step: i64,
    weight_decay: f64,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

impl Adam {
    /// Zero moments for `arena`.
    pub fn new(arena: &Arena, weight_decay: f64) -> Self {
        let zeros = || arena.master().zeros_like();
        Adam { m: zeros(), v: zeros(), step: 0, weight_decay }
    }

    /// One update of all parameters with the arena's gradient.
    pub fn update(&mut self, arena: &mut Arena, lr: f64) {
        self.step += 1;
        let update = Update {
            decay: self.weight_decay,
            first: 1.0 - BETA1,
            second: 1.0 - BETA2,
            rate: lr / (1.0 - BETA1.powi(self.step as i32)),
            correction2: 1.0 - BETA2.powi(self.step as i32),
            eps: EPS,
        };
        no_grad(|| {
            let (mut master, gradient) = (arena.master().shallow_clone(), arena.gradient());
            update.apply(Buffers { master: &mut master, gradient: &gradient, m: &mut self.m, v: &mut self.v });
            arena.sync();
        });
    }
}

/// Linear warm-up per step, then cosine to `peak / 1000` (protocol section 2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Learning rate at the end of the warm-up.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: i64,
    /// Steps in all.
    pub total: i64,
}

impl Schedule {
    /// Learning rate of step `step` (the first is 0).
    pub fn at(&self, step: i64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let floor = self.peak / 1000.0;
        let progress = (step - self.warmup) as f64 / (self.total - self.warmup).max(1) as f64;
        floor + 0.5 * (self.peak - floor) * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Compute, Init, Part, Registry};
    use tch::{Device, Kind};

    #[test]
    fn schedule_rises_peaks_and_ends_at_a_thousandth() {
        let schedule = Schedule { peak: 1.0, warmup: 10, total: 110 };
        assert!((schedule.at(0) - 0.1).abs() < 1e-12);
        assert!((schedule.at(9) - 1.0).abs() < 1e-12);
        assert!((schedule.at(10) - 1.0).abs() < 1e-12);
        assert!((schedule.at(60) - 0.5005).abs() < 1e-9);
        assert!((schedule.at(110) - 0.001).abs() < 1e-12);
    }

    /// Two steps against the update written out by hand in f64.
    #[test]
    fn adam_equals_its_equations() {
        let mut registry = Registry::default();
        let length = 1003;
        registry.add(Part::Global, "a", &[length], Init::Normal(1.0));
        let mut arena = Arena::new(registry, 3, Compute::F64, Device::Cpu);
        let mut adam = Adam::new(&arena, 0.1);
        let mut expected = Vec::<f64>::try_from(arena.master().narrow(0, 0, length)).unwrap();
        let (mut m, mut v) = (vec![0.0; length as usize], vec![0.0; length as usize]);
        for step in 1..=2 {
            let gradient: Vec<f64> = (0..length).map(|i| 0.3 * (i % 7) as f64 - 0.2 * f64::from(step)).collect();
            arena.store_gradients(Part::Global, &[Tensor::from_slice(&gradient).to_kind(Kind::Double)]);
            adam.update(&mut arena, 0.01);
            for i in 0..length as usize {
                let g = gradient[i] + 0.1 * expected[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powi(step)), v[i] / (1.0 - 0.999f64.powi(step)));
                expected[i] -= 0.01 * mh / (vh.sqrt() + 1e-8);
            }
        }
        let got = Vec::<f64>::try_from(arena.master().narrow(0, 0, length)).unwrap();
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{got} {expected}");
        }
    }
}
