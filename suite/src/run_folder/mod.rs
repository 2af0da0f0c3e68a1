//! The folder of a run: its path names, cells, manifest, lock and checkpoints.

pub mod atomic_file;
pub mod baseline;
pub mod calibration;
pub mod cell;
pub mod checkpoint;
pub mod checkpoints;
pub mod claim;
pub mod csv_text;
pub mod curve_sums;
pub mod encoder_description;
pub mod folder;
mod joint_configuration;
pub mod json_leaves;
pub mod layout;
pub mod lock;
pub mod manifest;
pub mod merge;
pub mod metric;
pub mod metrics_file;
pub mod onlooker;
pub mod provenance;
pub mod row_files;
pub mod safetensors;
pub mod seal;
pub mod training_identity;
pub mod value_range;
pub mod xray;
