//! `perf transforms`: two views of a batch of photographs, against two plain copies of it.

use anyhow::Result;
use clap::Args;
use eqr_datasets::transforms::{Border, Draws, FirstView, Ranges, Transform, base_view, photo_pair};
use eqr_models::Solo;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::result::print;
use super::timing::median_seconds;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::worker::Worker;

/// Options of `perf transforms`.
#[derive(Args, Clone, Debug)]
pub struct TransformsArgs {
    /// Side of the image in pixels.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(i64).range(2..=4096))]
    img: i64,
    /// Photographs per batch.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(i64).range(1..))]
    batch: i64,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Number of timed batches, after three warm-up batches.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Times the base view and view 2 with all six transforms in float32, including the random draws and
/// parameter vectors.
///
/// # Errors
/// A device that cannot be used.
pub fn transforms(args: &TransformsArgs) -> Result<()> {
    let worker = Worker::start(&Solo, args.compute).map_err(|failure| failure.error)?;
    let TransformsArgs { img, batch, steps, .. } = *args;
    let mut result = Workload::new(img, batch, worker.device).measure(steps);
    result["config"] = json!({
        "img": img, "batch": batch, "threads": worker.threads, "precision": "fp32",
        "device": format!("{:?}", worker.device),
    });
    print(&result, args.json, &["views_per_s", "share_of_ceiling"])
}

/// A batch of photographs.
struct Workload {
    /// (N, 3, H, W), uint8.
    images: Tensor,
    keys: Vec<u64>,
    ranges: Ranges,
}

impl Workload {
    fn new(side: i64, batch: i64, device: Device) -> Workload {
        let images = Tensor::randint(256, [batch, 3, side, side], (Kind::Uint8, device));
        Workload { images, keys: (0..batch as u64).collect(), ranges: Ranges::default() }
    }

    /// The result without its configuration.
    fn measure(&self, steps: usize) -> Value {
        let views = 2.0 * self.keys.len() as f64;
        let rate = views / self.pair_seconds(steps);
        let ceiling = views / self.copy_seconds(steps);
        json!({
            "stage": "transforms",
            "views_per_s": rate,
            "ceiling": {"name": "plain copies of both views", "value": ceiling, "unit": "views/s"},
            "share_of_ceiling": rate / ceiling,
            "milliseconds": self.milliseconds_by_part(steps),
        })
    }

    /// Seconds of two views and their parameters.
    fn pair_seconds(&self, steps: usize) -> f64 {
        let mut epoch = 0;
        median_seconds(steps, || {
            epoch += 1;
            let (active, border) = (&Transform::ALL, Border::default());
            let (_, view2, draws) =
                photo_pair(&self.images, &self.keys, 0, epoch, active, &self.ranges, border);
            std::hint::black_box(Transform::ALL.map(|transform| draws.target(transform, &self.ranges)));
            wait_for(&view2);
        })
    }

    /// Seconds of the ceiling: the bytes are converted to floats, which are copied once more, in the same
    /// shapes and on the same threads. Two views stored as floats cannot be made with less memory traffic.
    ///
    /// The rest of the time is arithmetic. Resize and blur, as dense products, take 12 S^3 multiply-adds per
    /// pair of views of side S, so their share grows with the side. The colours take about sixty operations
    /// on the image, each of which reads and writes one to three channels. The affine resampling gathers four
    /// neighbours of every pixel.
    fn copy_seconds(&self, steps: usize) -> f64 {
        median_seconds(steps, || {
            let view1 = self.images.to_kind(Kind::Float);
            wait_for(&view1.copy());
        })
    }

    /// Milliseconds of each part, timed separately. They add up to about the total.
    fn milliseconds_by_part(&self, steps: usize) -> Value {
        let base = |epoch: u64| base_view(&self.images, &self.keys, 0, epoch, 1.0);
        let mut epoch = 0;
        let base_view = median_seconds(steps, || {
            epoch += 1;
            wait_for(&base(epoch).pixels());
        });
        let view1 = base(0);
        let [geometry, color, blur] = [&Transform::ALL[..4], &Transform::ALL[4..5], &Transform::ALL[5..]]
            .map(|t| self.part_seconds(&view1, t, steps));
        let rounded = |seconds: f64| (seconds * 1e6).round() / 1e3;
        json!({
            "base_view": rounded(base_view), "geometry": rounded(geometry), "color": rounded(color),
            "blur": rounded(blur),
        })
    }

    /// Seconds of view 2 with only the transforms `active`.
    fn part_seconds(&self, view1: &FirstView, active: &[Transform], steps: usize) -> f64 {
        let mut epoch = 0;
        median_seconds(steps, || {
            epoch += 1;
            let draws = Draws::sample(&self.keys, 0, epoch, active, &self.ranges);
            wait_for(&view1.transformed(&draws, Border::default()));
        })
    }
}

/// Reading a value waits for the device.
fn wait_for(tensor: &Tensor) {
    let _ = tensor.double_value(&[0, 0, 0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_has_the_form_that_scripts_rely_on() {
        let result = Workload::new(8, 2, Device::Cpu).measure(1);
        let number =
            |value: &Value| value.as_f64().filter(|number| *number > 0.0).expect("a positive number");
        let (rate, ceiling) = (number(&result["views_per_s"]), number(&result["ceiling"]["value"]));
        assert!((number(&result["share_of_ceiling"]) - rate / ceiling).abs() < 1e-9);
        assert_eq!((&result["stage"], &result["ceiling"]["unit"]), (&json!("transforms"), &json!("views/s")));
        for part in ["base_view", "geometry", "color", "blur"] {
            number(&result["milliseconds"][part]);
        }
    }
}
