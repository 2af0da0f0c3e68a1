//! eqr-bench: the suite. Command line, suite files, training loop, cluster, checkpoints, run store and reports; where models,
//! data sets and probes meet.

pub mod checkpoint;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod data;
pub mod doctor;
pub mod evaluate;
pub mod export;
pub mod failure;
pub mod features;
pub mod guard;
pub mod health;
pub mod import;
pub mod known;
pub mod manifest;
pub mod memory;
pub mod next_rank;
pub mod pairs;
pub mod parts;
pub mod perf;
pub mod pictures;
pub mod plan;
pub mod progress;
pub mod report;
pub mod retrieval;
pub mod run;
pub mod store;
pub mod tensors;
pub mod train;
pub mod watchdog;
