//! A model of the time of a training step on many devices, based on the time of its computation and the speed
//! of the interconnect.
//!
//! The global batch is fixed: n devices share its pairs (strong scaling). A step is
//!
//! ```text
//! compute(n) + gather(n) + exposed(n)
//! ```
//!
//! - compute(n): the encoder on a device's share of the batch, the heads on the whole batch (on every
//!   device), the optimiser.
//! - gather(n): sending the representations of the whole batch to every device.
//! - exposed(n): the part of the gradient's sum that does not run during the backward pass. The gradient is
//!   summed in equal segments, each while the next one is computed.

use eqr_models::methods::BACKWARD_COST;

/// The links between devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interconnect {
    /// Devices per node.
    pub per_node: usize,
    /// Bytes per second that a device sends to another device of its node.
    pub within: f64,
    /// Bytes per second that a device sends out of its node.
    pub between: f64,
    /// Seconds until the first byte arrives, within a node and between two nodes.
    pub latency: [f64; 2],
}

/// The data moved in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Bytes of the gradient.
    pub gradient: f64,
    /// Bytes of the representations of the whole batch.
    pub representations: f64,
    /// Number of segments in which the gradient is summed; 1 means one sum after the backward pass.
    pub segments: usize,
}

/// Share of a step's computation spent in the backward pass.
const BACKWARD_SHARE: f64 = BACKWARD_COST / (1.0 + BACKWARD_COST);

impl Interconnect {
    /// Speed and latency of the slowest link among `n` devices.
    fn slowest(&self, n: usize) -> (f64, f64) {
        if n <= self.per_node { (self.within, self.latency[0]) } else { (self.between, self.latency[1]) }
    }

    /// Seconds to sum `bytes` over `n` devices. Every link carries 2 (n - 1) / n of the bytes. Latencies add
    /// up along a tree of depth log2 n, up and down.
    pub fn sum(&self, n: usize, bytes: f64) -> f64 {
        let (speed, latency) = self.slowest(n);
        let n = n as f64;
        2.0 * (n - 1.0) / n * bytes / speed + 2.0 * n.log2().ceil() * latency
    }

    /// Seconds until each of `n` devices has all of `bytes`, if each starts with an equal share.
    pub fn gather(&self, n: usize, bytes: f64) -> f64 {
        let (speed, latency) = self.slowest(n);
        let n = n as f64;
        (n - 1.0) / n * bytes / speed + n.log2().ceil() * latency
    }
}

/// The predicted times of a step, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PredictedStep {
    /// Number of devices.
    pub devices: usize,
    /// Computation of a device.
    pub compute: f64,
    /// Gathering of the representations.
    pub gather: f64,
    /// The part of the gradient's sum that does not run during the backward pass.
    pub exposed: f64,
}

impl PredictedStep {
    /// A step whose computation takes `compute` seconds on each of `n` devices.
    pub fn new(n: usize, compute: f64, traffic: &Traffic, interconnect: &Interconnect) -> PredictedStep {
        let Traffic { gradient, representations, segments } = *traffic;
        let (sum, segments) = (interconnect.sum(n, gradient), segments.max(1) as f64);
        // the last segment is summed after the backward pass
        let hidden = BACKWARD_SHARE * compute * (segments - 1.0) / segments;
        let exposed = if n == 1 { 0.0 } else { (sum / segments).max(sum - hidden) };
        PredictedStep { devices: n, compute, gather: interconnect.gather(n, representations), exposed }
    }

    /// Seconds of the whole step.
    pub fn seconds(&self) -> f64 {
        self.compute + self.gather + self.exposed
    }

    /// Speed as a fraction of n times the speed of one device, whose step takes `one_device` seconds.
    pub fn efficiency(&self, one_device: f64) -> f64 {
        one_device / (self.devices as f64 * self.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR_A_NODE: Interconnect =
        Interconnect { per_node: 4, within: 100.0, between: 10.0, latency: [0.0, 0.0] };

    #[test]
    fn a_ring_carries_twice_all_but_one_part() {
        // 2 * 3/4 * 200 bytes at 100 bytes per second; over two nodes 2 * 7/8 * 200 at 10
        assert_eq!(FOUR_A_NODE.sum(4, 200.0), 3.0);
        assert_eq!(FOUR_A_NODE.sum(8, 200.0), 35.0);
        assert_eq!(FOUR_A_NODE.gather(4, 200.0), 1.5);
        let slow = Interconnect { latency: [0.5, 1.0], ..FOUR_A_NODE };
        // up and down a tree of depth 2; of depth 3 between nodes
        assert_eq!(slow.sum(4, 0.0), 2.0);
        assert_eq!(slow.sum(8, 0.0), 6.0);
        assert_eq!(slow.gather(5, 0.0), 3.0);
    }

    #[test]
    fn one_device_only_computes_and_a_perfect_network_costs_nothing() {
        let traffic = Traffic { gradient: 1e9, representations: 1e6, segments: 4 };
        let one = PredictedStep::new(1, 3.0, &traffic, &FOUR_A_NODE);
        assert_eq!((one.seconds(), one.efficiency(3.0)), (3.0, 1.0));
        let perfect = Interconnect { within: f64::INFINITY, between: f64::INFINITY, ..FOUR_A_NODE };
        for n in [2, 16, 1024] {
            let step = PredictedStep::new(n, 3.0 / n as f64, &traffic, &perfect);
            assert!((step.efficiency(3.0) - 1.0).abs() < 1e-12);
        }
    }

    /// The sum takes 3 s, and the backward pass takes 2/3 of the computation. With 4 segments, 3 s of
    /// computation hide 1.5 s; 30 s hide all but the last segment.
    #[test]
    fn what_the_backward_pass_hides_is_not_exposed() {
        let traffic = |segments| Traffic { gradient: 200.0, representations: 0.0, segments };
        let exposed =
            |compute, segments| PredictedStep::new(4, compute, &traffic(segments), &FOUR_A_NODE).exposed;
        assert_eq!(exposed(3.0, 1), 3.0);
        assert!((exposed(3.0, 4) - 1.5).abs() < 1e-12);
        assert!((exposed(30.0, 4) - 0.75).abs() < 1e-12);
    }

    #[test]
    fn efficiency_falls_with_every_doubling() {
        let traffic = Traffic { gradient: 1e3, representations: 10.0, segments: 4 };
        let efficiency =
            |n: usize| PredictedStep::new(n, 50.0 / n as f64 + 0.1, &traffic, &FOUR_A_NODE).efficiency(50.1);
        let all: Vec<f64> = (0..=10).map(|k| efficiency(1 << k)).collect();
        assert!(all.is_sorted_by(|a, b| a > b), "{all:?}");
    }
}
