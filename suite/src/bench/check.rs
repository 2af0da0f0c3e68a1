//! The check of a build: losses and gradients of a few steps against recorded ones.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use eqr_models::Compute;
use serde::{Deserialize, Serialize};

use crate::bench::definition::Scale;
use crate::bench::finished_run::{number_type, training};
use crate::run_folder::cell::{Cell, CurvePoint};

/// The steps of every definition in float32 on a CPU, written by scripts/reference/record_bench_steps.py.
const RECORDED: &str = include_str!("../../bench/recorded_steps.json");

/// What the steps are compared by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trajectory {
    /// The loss before each step.
    loss: Vec<f64>,
    /// The norm of each step's gradient.
    gradient_norm: Vec<f64>,
}

/// Largest relative differences from the recorded steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Differences {
    loss: f64,
    gradient_norm: f64,
}

/// The result of a check that passed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Check {
    differences: Differences,
    bounds: Differences,
}

impl Check {
    /// The result in words.
    pub(super) fn text(&self) -> String {
        let Check { differences, bounds } = self;
        format!(
            "check: losses differ by up to {:.1e} (bound {:.0e}) from the recorded steps, norms of gradients by \
             {:.1e} (bound {:.0e})",
            differences.loss, bounds.loss, differences.gradient_norm, bounds.gradient_norm
        )
    }
}

impl Trajectory {
    /// The steps of a training each of whose points is a step.
    ///
    /// # Errors
    /// Fewer points than steps.
    fn of_training(training: &Cell) -> Result<Trajectory> {
        let points: &[CurvePoint] = &training.curve;
        ensure!(points.len() as u64 == training.step, "{}: a point of the curve is not a step", training.id);
        Ok(Trajectory {
            loss: points.iter().map(|point| point.terms["loss"]).collect(),
            gradient_norm: points.iter().filter_map(|point| point.gradient_norm).collect(),
        })
    }

    fn recorded(scale: Scale) -> Result<Trajectory> {
        let mut all: BTreeMap<String, Trajectory> = serde_json::from_str(RECORDED)?;
        let definition = scale.definition();
        all.remove(&definition).with_context(|| format!("no steps of {definition} are recorded"))
    }

    fn differences(&self, recorded: &Trajectory) -> Result<Differences> {
        let worst = |own: &[f64], recorded: &[f64]| {
            let pairs = own.iter().zip(recorded);
            let differences = pairs.map(|(own, recorded)| (own - recorded).abs() / recorded.abs());
            // not f64::max, which passes over NaN
            let worse = |worst: f64, difference: f64| {
                if worst.is_nan() || difference <= worst { worst } else { difference }
            };
            differences.fold(0.0, worse)
        };
        ensure!(
            (self.loss.len(), self.gradient_norm.len())
                == (recorded.loss.len(), recorded.gradient_norm.len()),
            "{} steps were taken and {} are recorded",
            self.loss.len(),
            recorded.loss.len()
        );
        Ok(Differences {
            loss: worst(&self.loss, &recorded.loss),
            gradient_norm: worst(&self.gradient_norm, &recorded.gradient_norm),
        })
    }
}

/// The bounds of a number type (docs/cluster.md says what was seen).
fn bounds(compute: Compute) -> Differences {
    match compute {
        Compute::F64 | Compute::F32 => Differences { loss: 4e-4, gradient_norm: 9e-3 },
        Compute::Bf16 => Differences { loss: 6e-3, gradient_norm: 0.13 },
    }
}

/// Checks the steps of a run against the recorded ones.
///
/// # Errors
/// Differences above the bounds of the run's number type; steps that cannot be read.
pub(super) fn check(scale: Scale, run: &Path) -> Result<Check> {
    let (compute, training) = (number_type(run)?, training(run)?);
    let differences = Trajectory::of_training(&training)?.differences(&Trajectory::recorded(scale)?)?;
    let bounds = bounds(compute);
    let check = Check { differences, bounds };
    ensure!(
        differences.loss <= bounds.loss && differences.gradient_norm <= bounds.gradient_norm,
        "the result is not valid: {} in {}: {}\n\
         hint: this build, device or library computes something else; `make test` may find what",
        scale.definition(),
        compute.name(),
        check.text()
    );
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trajectory(loss: &[f64], gradient_norm: &[f64]) -> Trajectory {
        Trajectory { loss: loss.to_vec(), gradient_norm: gradient_norm.to_vec() }
    }

    #[test]
    fn the_worst_step_counts_and_nan_is_worst() {
        let recorded = trajectory(&[10.0, 8.0], &[2.0, 1.0]);
        let found = trajectory(&[10.1, 8.0], &[2.0, 1.1]).differences(&recorded).unwrap();
        assert!((found.loss - 0.01).abs() < 1e-12 && (found.gradient_norm - 0.1).abs() < 1e-12);
        let broken = trajectory(&[f64::NAN, 8.0], &[2.0, 1.0]).differences(&recorded).unwrap();
        assert!(broken.loss.is_nan());
        assert!(trajectory(&[10.0], &[2.0]).differences(&recorded).is_err());
    }

    #[test]
    fn every_definition_is_recorded() {
        for scale in Scale::ALL {
            assert!(!Trajectory::recorded(scale).unwrap().loss.is_empty());
        }
    }
}
