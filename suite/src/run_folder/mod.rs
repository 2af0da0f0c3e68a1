//! What lies in the folder of a run.

pub mod atomic_file;
pub mod baseline;
pub mod cell;
pub mod checkpoint;
pub mod curve_sums;
pub mod json_leaves;
pub mod lock;
pub mod manifest;
pub mod metric;
pub mod provenance;
pub mod row_files;
pub mod safetensors;
pub mod store;
