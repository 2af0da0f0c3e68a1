//! `eqr-bench perf`: speed, against a ceiling measured in the same process. Timings are benchmarks, never assertions.

mod allreduce;
mod train;
mod transforms;

use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

pub use allreduce::{AllreduceArgs, allreduce};
pub use train::{TrainArgs, gemm_ceiling, step_flops, train};
pub use transforms::{TransformsArgs, transforms};

/// Calls of a timed work that are not counted.
const WARM_UP: usize = 3;

/// Median seconds of `calls` calls of `work`, after some that are not counted. On a device `work` must wait for it.
fn median_seconds(calls: usize, mut work: impl FnMut()) -> f64 {
    let mut seconds = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    for _ in 0..WARM_UP {
        seconds();
    }
    let mut all: Vec<f64> = (0..calls.max(1)).map(|_| seconds()).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Prints all of `result` as JSON, or the numbers under `keys` as lines.
fn print(result: &Value, json: bool, keys: &[&str]) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(result)?);
        return Ok(());
    }
    for key in keys {
        println!("{key:18} {:.3}", result[key].as_f64().unwrap_or(f64::NAN));
    }
    Ok(())
}
