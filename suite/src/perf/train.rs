//! `perf train`: training steps against the machine's fastest matrix product.

use std::cell::RefCell;

use anyhow::Result;
use eqr_models::Collective;
use serde_json::json;
use tch::{Device, Tensor};

use super::gemm::gemm_ceiling;
use super::peak_memory::peak_memory;
use super::result::print;
use super::sum_afterwards::SumAfterwards;
use super::timing::{interleaved_medians, median_seconds};
use super::training_setup::{TrainArgs, TrainingSetup};
use crate::cluster::worker::Worker;

/// Times training steps on the ranks of the launch, with the optimiser but without transforms and loading. If
/// the gradient is summed during the backward pass, also times the same steps with the sum after it.
///
/// # Errors
/// An unknown method or a shape that cannot be built.
pub fn train(args: &TrainArgs, ranks: &dyn Collective) -> Result<()> {
    let worker = Worker::start(ranks, args.compute).map_err(|failure| failure.error)?;
    let mut setup = TrainingSetup::new(args, &worker)?;
    let pairs = setup.random_pairs(ranks);
    let (seconds, summed_afterwards) = {
        let step = RefCell::new(|ranks: &dyn Collective| setup.step(&pairs, ranks));
        if ranks.overlaps_from().is_some() {
            let sum_afterwards = SumAfterwards(ranks);
            let mut beside = || {
                step.borrow_mut()(ranks);
                Ok(())
            };
            let mut afterwards = || {
                step.borrow_mut()(&sum_afterwards);
                Ok(())
            };
            let [beside, afterwards] = interleaved_medians(args.steps, [&mut beside, &mut afterwards])?;
            (beside, Some(afterwards))
        } else {
            (median_seconds(args.steps, || step.borrow_mut()(ranks)), None)
        }
    };
    let batch = setup.batch as f64;
    let flops = setup.model.step_flops(setup.batch);
    // read before the ceiling's matrices exist; it does not include a GPU's memory
    let peak_memory = peak_memory().filter(|_| worker.device == Device::Cpu);
    let ceiling = sum(ranks, gemm_ceiling(setup.arena.compute().kind(), worker.device));
    if !worker.leads() {
        return Ok(());
    }
    let mut result = json!({
        "stage": "train",
        "config": setup.describe(&worker),
        "seconds_per_step": seconds,
        "seconds_per_step_summed_after": summed_afterwards,
        "views_per_s": 2.0 * batch / seconds,
        "gflop_per_view": flops / (2.0 * batch) / 1e9,
        "gflop_per_s": flops / seconds / 1e9,
        "ceiling": {"name": "GEMM", "value": ceiling / 1e9, "unit": "GFLOP/s"},
        "share_of_ceiling": flops / seconds / ceiling,
    });
    result["config"]["micro_batch"] = json!(args.micro_batch);
    result["config"]["recompute"] = json!(args.recompute);
    result["config"]["cuda_graph"] = json!(args.cuda_graph);
    result["config"]["ranks"] = json!(ranks.size());
    result["config"]["parameters"] = json!(setup.arena.count());
    if let Some(bytes) = peak_memory {
        result["peak_memory_bytes"] = json!(bytes);
    }
    print(&result, args.json, &["views_per_s", "gflop_per_s", "share_of_ceiling"])
}

/// The sum of the ranks' `value`.
fn sum(ranks: &dyn Collective, value: f64) -> f64 {
    let mut sum = Tensor::from_slice(&[value]);
    ranks.all_reduce_sum(&mut sum);
    sum.double_value(&[0])
}
#[cfg(test)]
mod tests {
    use eqr_models::vit::{Pool, PositionInit, VitConfig};

    #[test]
    fn flops_of_a_small_network_are_counted_by_hand() {
        let (pool, positions) = (Pool::Split, PositionInit::Timm);
        let encoder = VitConfig { image: 8, patch: 4, dim: 16, depth: 1, heads: 2, out: 8, pool, positions };
        // 4 patches of 48 values; 5 tokens; 12 d^2 per token; two attention products; half of y per token
        let products = 4 * 48 * 16 + 5 * 12 * 256 + 2 * 25 * 16 + 5 * 16 * 4;
        assert!((encoder.forward_flops() - 2.0 * f64::from(products)).abs() < 1e-9);
    }
}
