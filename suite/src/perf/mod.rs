//! `eqr-bench perf`: speed, against a ceiling measured in the same process. Timings are benchmarks, never assertions.

mod allreduce;
mod load;
mod memory;
mod probe;
mod render;
mod scale;
pub mod scaling;
mod train;
mod transforms;

use std::time::Instant;

pub use allreduce::{AllreduceArgs, allreduce};
use anyhow::Result;
pub use load::{LoadArgs, load};
pub use probe::{ProbeArgs, probe};
pub use render::{RenderArgs, render};
pub use scale::{ScaleArgs, scale};
use serde_json::Value;
pub use train::{TrainArgs, gemm_ceiling, train};
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

/// Median seconds of each of `works` over `rounds` rounds, after one that is not counted. A round calls every work once, so that whatever
/// else the machine does meets all of them alike.
fn interleaved<const N: usize>(rounds: usize, mut works: [&mut dyn FnMut() -> Result<()>; N]) -> Result<[f64; N]> {
    let mut seconds = [const { Vec::new() }; N];
    for round in 0..=rounds.max(1) {
        for (work, seconds) in works.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            work()?;
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    Ok(seconds.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }))
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
