//! What is measured of a method: the key of its values.

use crate::registry::R2Metric;

/// A quantity that is measured for a method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    /// Data set of a transfer or a segmentation; `None` for the one that was trained on.
    pub set: Option<String>,
    /// `rotation`, `linear transfer`, ...
    pub task: String,
    /// `r2_per_output`, `top1`, ...
    pub metric: String,
}

impl Quantity {
    /// A metric of a task on the data that was trained on.
    pub fn probed(task: &str, metric: &str) -> Self {
        Quantity { set: None, task: task.to_owned(), metric: metric.to_owned() }
    }

    /// Norm of the encoder's gradient of a term of the loss.
    pub fn encoder_gradient(term: &str) -> Self {
        Quantity::probed("pretraining", &format!("encoder_gradient/{term}"))
    }

    /// Share of the loss that the last third of the training took off.
    pub fn loss_fall() -> Self {
        Quantity::probed("pretraining", "loss_fall")
    }

    /// What the headline R2 of a transformation gained in the last third of the training.
    pub fn late_gain(task: &str) -> Self {
        Quantity::probed(task, &format!("late_gain/{}", R2Metric::PER_OUTPUT))
    }

    /// Duration of a training.
    pub fn seconds() -> Self {
        Quantity::probed("pretraining", "seconds")
    }

    /// Rate of a training.
    pub fn views_per_second() -> Self {
        Quantity::probed("pretraining", "views_per_s")
    }

    /// Energy of a training, counted of `of`.
    pub fn watt_hours(of: &str) -> Self {
        Quantity::probed("pretraining", &format!("wh/{of}"))
    }

    /// Energy of a training for a million views, counted of `of`.
    pub fn watt_hours_per_million(of: &str) -> Self {
        Quantity::probed("pretraining", &format!("wh_per_million_views/{of}"))
    }

    /// A metric of a task on another data set.
    pub fn on(set: &str, task: &str, metric: &str) -> Self {
        Quantity { set: Some(set.to_owned()), ..Quantity::probed(task, metric) }
    }
}
