//! eqr-bench: the suite. Command line, suite files, training loop, cluster, checkpoints, run store and reports; where models,
//! data sets and probes meet.

pub mod cli;
pub mod cluster;
pub mod console;
pub mod data;
pub mod encoder;
pub mod failure;
pub mod measure;
pub mod perf;
pub mod pretrain;
pub mod report;
pub mod run;
pub mod run_folder;
pub mod suite_file;
