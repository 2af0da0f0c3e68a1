//! Tests of eqr-probes as another crate sees it.

mod linear_classification;
mod logistic;
mod measures;
mod mlp;
mod r2;
mod ridge;
mod segmentation_head;
