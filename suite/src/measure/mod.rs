//! One file per kind of measurement of a frozen encoder. `probe` lists the measures of a probe cell. A new
//! measure needs a new file here, a line in that list and a line in the registry.

pub mod attentive;
pub mod attentive_transfer;
pub mod calibration;
pub mod classification;
pub mod duration;
pub mod evaluation;
pub mod exact_map;
pub mod exit_code;
pub mod feature_file;
pub mod geometry;
pub mod imported_results;
pub mod pair_features;
pub mod pair_sets;
pub mod pictures;
pub mod probe;
pub mod reconstruction;
pub mod regression;
mod render_pairs;
pub mod retrieval;
pub mod segment;
pub mod shifted;
pub mod tokens;
pub mod transfer;
pub mod xray;
