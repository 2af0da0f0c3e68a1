//! Probes on the features of a frozen encoder, and statistics of their results.
//!
//! - [`mlp`]: regression probes of transformation parameters (R2), all problems and seeds trained together;
//! - [`attentive`]: the same from tokens, whose pooling is learned;
//! - [`ridge`]: the same with linear regression in closed form;
//! - [`linear_classification`]: linear classification probe (top-1), all seeds trained together;
//! - [`transfer`]: linear transfer by [`logistic`] regression over a grid of penalty strengths, and [`knn`];
//!   [`few_shot`]: the same on a few images of each class; [`attentive_transfer`]: the same from tokens, whose
//!   pooling is learned;
//! - [`redraw`]: training pairs of the regression probes that change with the epoch;
//! - [`r2`]: the two definitions of R2, and the constant predictor as the floor of each;
//! - [`segmentation_head`]: a [`hypernet`] head trained on the token maps of [`scenes`]; [`confusion`]: mIoU,
//!   mAcc, aAcc, and their bootstrap over [`scene_pixels`];
//! - [`retrieval`]: MRR, H@k and retrieval error of predicted embeddings;
//! - [`Invariance`] and [`effective_rank()`] of representations; [`PrincipalComponents`];
//! - [`stats`]: means with confidence intervals, tests, effect sizes, Holm's correction;
//!   [`drift`] of a series; [`sequential`] tests after each further seed; [`block_analysis`] of methods and
//!   seeds;
//!   [`VarianceComponents`]; [`bootstrap`] intervals over test objects.
//!
//! The crate takes tensors on any device. It contains no code for files, encoders or pretraining. Random
//! draws depend only on the caller's seeds, and torch's global generator is neither read nor set.

mod accuracy;
pub mod attentive;
mod attentive_pooling;
pub mod attentive_transfer;
pub mod block_analysis;
pub mod bootstrap;
mod checks;
pub mod confusion;
mod doubles;
mod draws;
pub mod drift;
mod effective_rank;
mod error;
pub mod few_shot;
mod flat_parameters;
pub mod hypernet;
mod invariance;
pub mod knn;
mod lbfgs;
pub mod linear_classification;
pub mod logistic;
mod logistic_objective;
pub mod mlp;
mod mlp_stack;
mod principal_axes;
mod principal_components;
mod problem;
pub mod quaternion;
pub mod r2;
pub mod redraw;
pub mod retrieval;
pub mod ridge;
mod scaling;
pub mod scene_pixels;
pub mod scenes;
pub mod segmentation_head;
pub mod sequential;
pub mod stats;
mod step_time;
pub mod transfer;
mod variance_components;

pub use accuracy::{Accuracy, accuracy_statistics};
pub use effective_rank::effective_rank;
pub use error::{Error, Result, TensorRole};
pub use invariance::Invariance;
pub use principal_components::PrincipalComponents;
pub use problem::Problem;
pub use variance_components::VarianceComponents;
