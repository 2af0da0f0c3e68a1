//! Pretraining of one network.
//!
//! [`training_loop`] runs a [`training_job`]. It resumes from the newest checkpoint, and may try how many
//! pairs fit in memory. In each step it makes a [`batch`], of photographs on a stream of its own, computes
//! the gradient, reads the loss terms into the [`loss_curve`] (which stops a training that
//! [diverged](divergence)), and updates the parameters. At the end of each epoch it writes a checkpoint,
//! measures [`collapse`] and writes lines to the log, and events for TensorBoard if they are wanted.

pub mod batch;
mod checkpointing;
pub mod collapse;
pub mod divergence;
mod event_file;
mod largest_micro_batch;
pub mod loss_curve;
mod side_stream;
mod training_events;
pub mod training_job;
mod training_log;
pub mod training_loop;
