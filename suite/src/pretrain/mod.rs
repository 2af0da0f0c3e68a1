//! Pretraining of one network.
//!
//! [`training_loop`] takes a [`training_job`] and runs it: resume from the newest checkpoint, then for each
//! epoch make each [`batch`], compute its gradient, read its loss terms into the [`loss_curve`] (which stops
//! a training that [diverged](divergence)), and update the parameters. Each epoch ends with a checkpoint, a
//! measure of [`collapse`] and lines in the log.

pub mod batch;
mod checkpointing;
pub mod collapse;
pub mod divergence;
pub mod loss_curve;
pub mod training_job;
mod training_log;
pub mod training_loop;
