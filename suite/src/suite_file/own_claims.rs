//! `[[claim]]`: orders of two rows that the user expects and that the report tests as one family.
//!
//! ```toml
//! [[claim]]
//! first = "Ours"
//! second = "SimCLR"
//! task = "rotation"      # or a family of tasks, or "mean" for the mean over the equivariance columns
//! margin = 0.05          # default 0: the first is above the second
//! ```

use anyhow::{Result, bail, ensure};
use eqr_datasets::transforms::Transform;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::registry::{TaskFamily, claimable_metrics};
use crate::suite_file::suggestions::nearest;

/// The task of a claim about the mean over the equivariance columns.
pub const MEAN: &str = "mean";

/// The claim that the first row's value is above the second's by more than the margin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnClaim {
    /// Name of a row.
    pub first: String,
    /// Name of another row.
    pub second: String,
    /// A transformation, `mean` over all of them, `classification`, or the mean over the suite's sets of
    /// `linear transfer` or `segmentation`.
    pub task: String,
    /// The metric; default: that of the task's column in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Difference that must be exceeded, in the metric's unit.
    #[serde(default)]
    pub margin: f64,
}

impl OwnClaim {
    /// The family of the claim's task.
    pub fn family(&self) -> TaskFamily {
        TaskFamily::of_task(&self.task)
    }

    /// Checks task, metric and margin. The rows are checked with those of the suite.
    ///
    /// # Errors
    /// An unknown task or metric, with the nearest valid one; a margin that is not a finite number.
    pub fn validate(&self) -> Result<()> {
        ensure_known("task", &self.task, &task_names())?;
        if let Some(metric) = &self.metric {
            ensure_known("metric", metric, &claimable_metrics(self.family()))?;
        }
        ensure!(self.margin.is_finite(), "margin = {}: must be a finite number", self.margin);
        Ok(())
    }
}

/// Every task that a claim can be about. Tasks that the suite does not measure are valid: the claim is then
/// reported as not measured.
fn task_names() -> Vec<String> {
    let others = [TaskFamily::Classification, TaskFamily::LinearTransfer, TaskFamily::Segmentation];
    let transformations = Transform::ALL.map(Transform::name);
    let others = others.map(TaskFamily::name);
    transformations.into_iter().chain([MEAN]).chain(others).map(str::to_owned).collect()
}

fn ensure_known(what: &str, name: &str, valid: &[String]) -> Result<()> {
    if valid.iter().any(|valid| valid == name) {
        return Ok(());
    }
    let near = nearest(name, valid.iter().map(String::as_str));
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    bail!("unknown {what} `{name}`\nhint: {near}expected one of {}", valid.join(", "))
}
