//! A suite as it is read: what is trained on what, and how it is measured.

pub mod compared_pairs;
pub mod course;
pub mod data_sets;
pub mod downstream_sets;
pub mod encoder_options;
pub mod external_rows;
pub mod names;
pub mod plan;
pub mod presets;
pub mod scale;
pub mod suggestions;
pub mod suite;
pub mod tasks;
