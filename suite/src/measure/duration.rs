//! How long a measurement takes and why, said before it starts if it is long.

use std::time::Instant;

use eqr_probes::attentive;
use eqr_probes::attentive_transfer::{self, AttentiveConfig};
use eqr_probes::mlp::ProbeConfig;
use tch::{Device, Kind, Tensor};

use crate::console::say;
use crate::encoder::frozen::FrozenEncoder;
use crate::measure::regression::Question;

/// Seconds from which on a measurement is announced.
const LONG: f64 = 120.0;

/// Mean number of iterations of a logistic regression of the grid, and operations of an iteration for each
/// row, feature and class: the scores and their gradient.
const LOGISTIC: f64 = 50.0 * 4.0;

/// Number of logistic regressions of the grid.
const STRENGTHS: f64 = 45.0;

/// Says how long `encoder` takes for `images` images, if that is long.
pub fn say_encoding(encoder: &FrozenEncoder, images: usize) {
    let Some(opened) = encoder.opened() else { return };
    let each = opened.seconds_per_image;
    let side = encoder.side();
    announce(
        "encoding",
        each * images as f64,
        &format!("{images} images of {side} x {side} px at {:.3} s an image on this machine", each),
        "--size (smaller images), fewer images or pairs, or a GPU",
    );
}

/// Says how long the probes of `questions` take with `seeds` seeds each, if that is long.
pub fn say_probes(questions: &[Question], seeds: usize, config: &ProbeConfig, device: Device) {
    let operations: f64 = questions
        .iter()
        .map(|question| {
            let [rows, features, outputs] = question.shape();
            mlp_operations(rows, features, outputs, config) * seeds as f64 + ridge_operations(rows, features)
        })
        .sum();
    let shape = questions.first().map_or([0; 3], Question::shape);
    let why = format!(
        "{} targets x {seeds} seeds x {} epochs of {} pairs with {} features",
        questions.len(),
        config.epochs,
        shape[0],
        shape[1]
    );
    announce_operations("the probes", operations, &why, "--epochs, --seeds, --hidden or fewer pairs", device);
}

/// Says how long the perceptrons of an X-ray take with `seeds` seeds each, if that is long. `shapes` has
/// pairs, features and outputs of each.
pub(super) fn say_perceptrons(shapes: &[[i64; 3]], seeds: usize, config: &ProbeConfig, device: Device) {
    let operations = |&[rows, features, outputs]: &[i64; 3]| mlp_operations(rows, features, outputs, config);
    let why = format!(
        "{} places and transformations x {seeds} seeds x {} epochs of {} pairs",
        shapes.len(),
        config.epochs,
        shapes.first().map_or(0, |shape| shape[0])
    );
    let all = shapes.iter().map(operations).sum::<f64>() * seeds as f64;
    let less = "--epochs, --seeds, --hidden, fewer pairs or `--probe linear`";
    announce_operations("training the MLP probes", all, &why, less, device);
}

/// Says how long the attentive probes of `questions` take on images of `tokens` (T, D), if that is long.
pub fn say_attentive(questions: &[Question], tokens: [i64; 2], seeds: usize, config: &ProbeConfig) {
    let Some(first) = questions.first() else { return };
    let ([count, width], [pairs, _, outputs]) = (tokens, first.shape());
    let rows: i64 = questions.iter().map(|question| question.shape()[0]).sum();
    let config = &ProbeConfig { batch: config.batch.clamp(1, pairs as usize), ..config.clone() };
    let operations = (config.epochs as i64 * rows) as f64 * 2.0 * pooling_operations(tokens)
        + mlp_operations(rows, 2 * width, outputs, config);
    let why = format!(
        "{} targets x {seeds} seeds x {} epochs of {pairs} pairs with {count} tokens of width {width} in each view",
        questions.len(),
        config.epochs,
    );
    let steps = (seeds * config.epochs) as f64 * rows as f64 / config.batch as f64;
    announce_steps(
        "training the attentive probes",
        Steps { count: steps, operations: operations * seeds as f64 },
        &why,
        "--epochs, --seeds, fewer pairs or a GPU",
        || attentive::seconds_per_step(tokens, outputs, config, first.device()),
    );
}

/// Says how long attentive classifiers take on images of `tokens` (T, D), if that is long. `fits` has the
/// number of images that each is trained on.
pub(super) fn say_attentive_transfer(
    tokens: [i64; 2],
    fits: &[usize],
    classes: usize,
    config: &AttentiveConfig,
    device: Device,
) {
    let [count, width] = tokens;
    let most = fits.iter().copied().max().unwrap_or(1);
    let config = &AttentiveConfig { batch: config.batch.clamp(1, most), ..config.clone() };
    let images = (config.epochs * fits.iter().sum::<usize>()) as f64;
    let classifier = 6.0 * (width * classes as i64) as f64;
    let why = format!(
        "{} fits x {} epochs of up to {most} images with {count} tokens of width {width}",
        fits.len(),
        config.epochs
    );
    let steps = Steps {
        count: images / config.batch as f64,
        operations: images * (pooling_operations(tokens) + classifier),
    };
    let less = "--epochs, a smaller --size, ranks (mpirun -n 3 eqr-bench transfer ..) or a GPU";
    announce_steps("training the attentive classifiers", steps, &why, less, || {
        attentive_transfer::seconds_per_step(tokens, classes as i64, config, device)
    });
}

/// Says how long the logistic regressions take on `rows` rows, if that is long.
pub fn say_transfer([rows, features, classes]: [i64; 3], device: Device) {
    let size = rows as f64 * features as f64;
    let operations = STRENGTHS * LOGISTIC * size * classes as f64 + 2.0 * size * features as f64;
    let why = format!("{STRENGTHS} strengths on {rows} rows of {features} features and {classes} classes");
    let hint = "ranks (mpirun -n 4 eqr-bench transfer ..) share the strengths";
    announce_operations("logistic regression", operations, &why, hint, device);
}

/// Operations of the three products of each layer, forward and backward.
fn mlp_operations(rows: i64, features: i64, outputs: i64, config: &ProbeConfig) -> f64 {
    let hidden = config.hidden as f64;
    let weights = features as f64 * hidden + hidden * hidden + hidden * outputs as f64;
    6.0 * config.epochs as f64 * rows as f64 * weights
}

/// Operations of pooling an image of `tokens` (T, D), forward and backward: for each token and channel,
/// twelve heads take four products of two operations. They are narrow, and memory bounds them.
fn pooling_operations([count, width]: [i64; 2]) -> f64 {
    12.0 * 4.0 * 2.0 * (count * width) as f64
}

/// Operations of the closed form, in f64, which is half as fast: Gram matrix, rotation, eigenvectors.
fn ridge_operations(rows: i64, features: i64) -> f64 {
    let (rows, features) = (rows as f64, features as f64);
    let small = rows.min(features);
    2.0 * (4.0 * rows * features * small + 20.0 * small.powi(3))
}

fn announce_operations(what: &str, operations: f64, why: &str, less: &str, device: Device) {
    // a machine of one gigaflop a second finishes this in time; nothing is measured for small problems
    if operations < LONG * 1e9 {
        return;
    }
    let rate = operations_per_second(device);
    announce(
        what,
        operations / rate,
        &format!("{why}: {operations:.0e} operations at {rate:.0e} a second"),
        less,
    );
}

/// Training steps that are alike.
struct Steps {
    count: f64,
    /// Operations of the matrix products of all of them.
    operations: f64,
}

/// Like [`announce_operations`], where the rate of a product says little about a step: one is timed.
fn announce_steps(what: &str, steps: Steps, why: &str, less: &str, seconds_per_step: impl FnOnce() -> f64) {
    if steps.operations < LONG * 1e9 {
        return;
    }
    let each = seconds_per_step();
    let why = format!("{why}: {:.0} steps at {each:.2} s each on this machine", steps.count);
    announce(what, steps.count * each, &why, less);
}

fn announce(what: &str, seconds: f64, why: &str, less: &str) {
    if let Some(text) = text(what, seconds, why, less) {
        say(&text);
    }
}

fn text(what: &str, seconds: f64, why: &str, less: &str) -> Option<String> {
    let time = match seconds {
        seconds if seconds < LONG => return None,
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 48.0 * 3600.0 => format!("{:.1} h", seconds / 3600.0),
        seconds => format!("{:.1} days", seconds / 86_400.0),
    };
    Some(format!("note: {what} takes about {time}: {why}\nhint: shorter with {less}"))
}

/// Rate of a product of the size that the probes have.
fn operations_per_second(device: Device) -> f64 {
    let side = 512;
    let a = Tensor::ones([side, side], (Kind::Float, device));
    let product = || a.matmul(&a).sum(Kind::Float).double_value(&[]);
    let _ = product();
    let start = Instant::now();
    let _ = product();
    2.0 * (side as f64).powi(3) / start.elapsed().as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_measurements_are_announced() {
        let said = |seconds| text("encoding", seconds, "because", "a GPU");
        assert_eq!(said(100.0), None);
        assert!(said(600.0).unwrap().starts_with("note: encoding takes about 10 min: because\nhint: "));
        assert!(said(9000.0).unwrap().contains("about 2.5 h"));
        assert!(said(864_000.0).unwrap().contains("about 10.0 days"));
    }

    /// The protocol's probe of 40,000 pairs with 1,024 features and one output.
    #[test]
    fn operations_follow_the_shapes() {
        let operations = mlp_operations(40_000, 1024, 1, &ProbeConfig::default());
        let weights = 1024.0 * 1024.0 * 2.0 + 1024.0;
        assert!((operations / (6.0 * 300.0 * 40_000.0 * weights) - 1.0).abs() < 1e-12);
        assert!(ridge_operations(100, 4000) < ridge_operations(4000, 4000));
    }
}
