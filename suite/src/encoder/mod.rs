//! Encoders with their weights: the network that a suite trains, and frozen encoders from files.
//!
//! [`network`] builds the network of a suite. [`frozen`] is an encoder that does not change. [`open`] makes
//! one from a checkpoint or export of this program ([`vit_file`]), from `published` weights or from a module
//! of another library (`module_encoder`); [`file_format`] tells these apart, and [`neighbours`] are the
//! configuration files beside one. Published weights are `found_weights` by the [`layout`] of their names. A
//! [`module`] returns tensors whose axes [`module_layout`] tells apart. It is run by a [`module_engine`]:
//! [`torchscript`], or `onnx` with the library that `onnx_runtime` finds; `module_file` chooses it. Its floor
//! is an `untrained_module`. A `readout` makes features of class token and map, and a [`layer`] is what is
//! read inside an encoder. Networks and frozen encoders both return a [`representation`], which the measures
//! read; so does [`pixel_pca`], which is no network. [`export`] writes a trained encoder for other programs.

pub mod export;
pub mod file_format;
mod found_weights;
pub mod frozen;
pub mod gathered;
pub mod layer;
pub mod layout;
mod layout_tables;
pub mod module;
mod module_encoder;
pub mod module_engine;
mod module_file;
pub mod module_layout;
pub mod neighbours;
pub mod network;
#[cfg_attr(not(feature = "onnx"), path = "onnx_absent.rs")]
mod onnx;
#[cfg(feature = "onnx")]
mod onnx_runtime;
pub mod open;
pub mod pixel_pca;
mod properties;
mod published;
mod readout;
pub mod representation;
pub mod torchscript;
mod untrained_module;
pub mod vit_file;
