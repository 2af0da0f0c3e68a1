//! The learning-rate schedule of pretraining.

use serde::{Deserialize, Serialize};

/// Linear warm-up per step, then decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Learning rate at the end of the warm-up.
    pub peak: f64,
    /// Number of warm-up steps.
    pub warmup: i64,
    /// Total number of steps.
    pub total: i64,
    /// What follows the warm-up.
    #[serde(default, skip_serializing_if = "Decay::is_cosine")]
    pub decay: Decay,
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Along a cosine to `peak / 1000` (protocol section 2).
    #[default]
    Cosine,
    /// Not at all.
    Constant,
}

impl Decay {
    fn is_cosine(&self) -> bool {
        *self == Decay::Cosine
    }
}

impl Schedule {
    /// Learning rate of step `step`, counted from 0.
    pub fn at(&self, step: i64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        if self.decay == Decay::Constant {
            return self.peak;
        }
        let floor = self.peak / 1000.0;
        let progress = (step - self.warmup) as f64 / (self.total - self.warmup).max(1) as f64;
        floor + 0.5 * (self.peak - floor) * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule_rises_peaks_and_ends_at_a_thousandth() {
        let schedule = Schedule { peak: 1.0, warmup: 10, total: 110, decay: Decay::Cosine };
        for (step, expected) in [(0, 0.1), (9, 1.0), (10, 1.0), (60, 0.5005), (110, 0.001)] {
            assert!((schedule.at(step) - expected).abs() < 1e-9, "step {step}");
        }
        let constant = Schedule { warmup: 0, decay: Decay::Constant, ..schedule };
        assert_eq!([constant.at(0), constant.at(110)], [1.0, 1.0]);
    }
}
