//! The calibration that the values of planted encoders say.

use crate::registry::TaskFamily;
use crate::report::context::ReportContext;
use crate::report::values::{Quantity, Sample, Values};
use crate::run_folder::calibration::Calibration;
use crate::suite_file::plant::Plant;

/// The calibration of a data set; without a curve if no planted encoder was probed.
pub fn calibration(values: &Values, context: &ReportContext) -> Calibration {
    let is_transformation = |task: &&String| TaskFamily::of_task(task) == TaskFamily::Transformation;
    let tasks: Vec<String> = context.tasks.iter().filter(is_transformation).cloned().collect();
    let sample = |plant: Plant, task: &str, metric: &str| {
        values.sample(&plant.to_string(), &Quantity::probed(task, metric))
    };
    Calibration::new(
        &tasks,
        |plant, task, metric| sample(plant, task, metric).map(Sample::values).unwrap_or_default(),
        |plant, task, metric| sample(plant, task, metric)?.draws_of_one(),
    )
}
