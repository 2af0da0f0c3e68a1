//! A suite as read from a file or preset: what is trained on what, and how it is measured.

pub mod compared_pairs;
mod counts;
pub mod data_sets;
pub mod data_source;
pub mod downstream_sets;
pub mod encoder_options;
pub mod external_rows;
pub mod model;
pub mod names;
pub mod new_suite;
pub mod own_claims;
mod plain_text;
pub mod plan;
pub mod preset_head;
pub mod presets;
pub mod probe;
pub mod scale;
pub mod suggestions;
pub mod suite;
pub mod tasks;
pub mod train;
pub mod training_steps;
pub mod transforms;
pub mod until_decided;
mod validate;
