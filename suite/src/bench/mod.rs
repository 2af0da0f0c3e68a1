//! `eqr-bench bench`: a fixed work with one number, the time to complete it, for computing centres.
//!
//! The work of a `definition` is an ordinary run: it renders its data, trains and probes. Before it, a few
//! steps are taken whose losses and gradients are recorded (`check`): a build, a device or a library that
//! computes something else has no time. A `stopwatch` around the ranks says where a step's time goes.
//! `scaling` trains the same network on 1, 2, 4, ... of the launch's ranks.

mod check;
mod definition;
mod figure_of_merit;
mod finished_run;
mod fixed_work;
mod request;
mod scaling;
mod stopwatch;

pub use definition::Scale;
pub use fixed_work::{bench, check_only};
pub use request::BenchRequest;
pub use scaling::{Scaling, scale};
