//! Encoders with their weights: the network that a suite trains, and frozen encoders from files.
//!
//! [`network`] builds the network of a suite. [`frozen`] is an encoder that does not change. [`open`] makes
//! one from a checkpoint, a safetensors file ([`vit_file`]) or a TorchScript module ([`torchscript`]);
//! [`file_format`] tells these apart, [`neighbours`] are the configuration files beside one, and
//! [`module_layout`] is the order of the axes of what a module returns. Networks and frozen encoders both
//! return a [`representation`], which the measures read; so does [`pixel_pca`], which is no network.
//! [`export`] writes a trained encoder for other programs.

pub mod export;
pub mod file_format;
pub mod frozen;
pub mod module_layout;
pub mod neighbours;
pub mod network;
pub mod open;
pub mod pixel_pca;
pub mod representation;
pub mod torchscript;
pub mod vit_file;
