//! eqr-bench: the benchmark suite, which combines models, data sets and probes.
//!
//! How a run works: [`cli`] reads the command line and [`suite_file`] reads the suite, which expands to a
//! plan of cells. [`run`] prepares the data, then pretrains and measures what the [`run_folder`] does not
//! hold yet, on all ranks of the [`cluster`]. Each finished cell is one file; [`report`] makes tables from
//! these files alone.
//!
//! The folders from top to bottom. A folder uses only those below it; `tests/rooms.rs` enforces this order.
//! - [`cli`]: one file per subcommand.
//! - [`mod@bench`]: a fixed work and the time to complete it.
//! - [`run`]: a whole run, from the suite to its cells and reports.
//! - [`pretrain`]: trains one network. [`measure`]: measures what a frozen encoder kept, one file per kind of
//!   measurement. [`report`]: tables, documents and comparisons. [`perf`]: the speed of one stage.
//! - [`encoder`]: encoders with their weights, trained here or elsewhere.
//! - [`data`]: opened packs, and the pairs of views that training takes from them.
//! - [`run_folder`]: what a run writes and reads back: cells, manifest, checkpoints.
//! - [`suite_file`]: suite files and their plans. [`cluster`]: ranks, devices, cores and signals.
//! - [`registry`]: the measures. [`console`], [`failure`]: progress lines and exit codes. Every folder may
//!   use these.

pub mod bench;
pub mod cli;
pub mod cluster;
pub mod console;
pub mod data;
pub mod encoder;
pub mod failure;
pub mod measure;
pub mod perf;
pub mod pretrain;
#[cfg(test)]
mod recorded_text;
pub mod registry;
pub mod report;
pub mod run;
pub mod run_folder;
pub mod suite_file;
pub mod verify;
