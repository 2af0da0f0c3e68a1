//! Pretraining of one network.

pub mod collapse;
pub mod divergence;
pub mod loss_curve;
pub mod training_loop;
