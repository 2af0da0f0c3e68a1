//! The lines that a training writes to the run's log.

use serde_json::json;

use crate::pretrain::collapse::CollapseStatistics;
use crate::pretrain::training_job::TrainingJob;
use crate::run_folder::cell::CurvePoint;
use crate::run_folder::checkpoint::TrainingState;

/// Writes one line for each of the `new_points` of the loss curve, and one for the epoch.
pub(super) fn log_epoch(
    job: &TrainingJob,
    state: &TrainingState,
    new_points: &[CurvePoint],
    collapse: Option<CollapseStatistics>,
) -> anyhow::Result<()> {
    for CurvePoint { step, terms, gradient_norm, encoder_gradient } in new_points {
        let mut point =
            json!({"cell": job.cell, "step": step, "terms": terms, "gradient_norm": gradient_norm});
        if !encoder_gradient.is_empty() {
            point["encoder_gradient"] = json!(encoder_gradient);
        }
        job.run_folder.log(&point)?;
    }
    job.run_folder.log(&json!({"cell": job.cell, "epoch": state.epoch, "step": state.step, "y": collapse}))
}
