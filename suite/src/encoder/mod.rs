//! Encoders with their weights, whoever trained them.

pub mod export;
pub mod frozen;
pub mod network;
pub mod representation;
pub mod torchscript;
pub mod vit_file;
