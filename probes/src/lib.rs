//! What a frozen encoder kept: probes on its features, and the statistics of their results.
//!
//! - [`mlp`]: regression probes of transformation parameters (R2), all problems and seeds trained together;
//! - [`ridge`]: the same by linear regression in closed form;
//! - [`classify`]: linear classification probe (top-1), all seeds trained together;
//! - [`transfer`]: linear transfer by [`logistic`] regression over a grid of strengths, [`knn`] beside it;
//! - [`r2`]: the two definitions of R2 and the constant predictor that each is held against;
//! - [`segment`]: the [`hypernet`] head on a frozen encoder's token maps; [`segmentation`]: confusion matrix, mIoU, mAcc, aAcc;
//! - [`retrieval`]: MRR, H@k and retrieval error of predicted embeddings; [`geometry`]: invariance, effective rank;
//! - [`stats`]: means with intervals, Welch's and paired tests, effect sizes, Holm's correction, variance components.
//!
//! The crate takes tensors on any device and knows neither files nor encoders nor training. Random draws are functions of
//! the seeds that the caller gives; torch's global generator is neither read nor set.

mod adam;
pub mod classify;
mod error;
pub mod geometry;
pub mod hypernet;
pub mod knn;
mod labels;
mod lbfgs;
pub mod logistic;
pub mod mlp;
pub mod quaternion;
pub mod r2;
mod random;
pub mod retrieval;
pub mod ridge;
pub mod segment;
pub mod segmentation;
mod stack;
mod standardise;
pub mod stats;
pub mod transfer;

pub use error::{Error, Part, Result};
pub use labels::Accuracy;
