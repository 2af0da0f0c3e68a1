//! Integration tests of eqr-probes.

mod few_shot;
mod linear_classification;
mod logistic;
mod measures;
mod mlp;
mod r2;
mod ridge;
mod segmentation_head;
mod units;
