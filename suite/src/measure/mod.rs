//! One file for each kind of measurement of a frozen encoder.

pub mod feature_file;
pub mod imported_results;
pub mod pictures;
pub mod probe;
pub mod reconstruction;
pub mod regression;
pub mod retrieval;
pub mod segment;
pub mod transfer;
