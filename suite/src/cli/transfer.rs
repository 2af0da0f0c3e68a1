//! `eqr-bench transfer`: linear transfer of features to labels.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use eqr_datasets::output::Output;
use eqr_datasets::pack::PackedSplit;
use eqr_datasets::transforms::Shift;
use eqr_models::Collective;
use eqr_probes::Accuracy;
use eqr_probes::few_shot::{self, FewShot, FewShotConfig, few_shot};
use eqr_probes::knn::NEIGHBOURS;
use eqr_probes::logistic::LogisticConfig;
use eqr_probes::stats::Summary;
use eqr_probes::transfer::{GridEnd, Transfer, TransferData, transfer};
use serde_json::{Value, json};
use tch::Device;

use crate::cli::force::FORCE_HELP;
use crate::cli::input::{Input, NO_FLOOR_HELP, Source};
use crate::cluster::agreement::agree;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::worker::Worker;
use crate::console::{print_text, say, with_progress};
use crate::encoder::frozen::FrozenEncoder;
use crate::failure::{Failure, Outcome};
use crate::measure::duration;
use crate::measure::exit_code::failure;
use crate::measure::feature_file::{FEATURES, FeatureFile, write_labelled};
use crate::measure::transfer::{
    Asked, ImageEncoder, end_of_grid_note, resampled, transfer_data, unfinished_note,
};
use crate::registry::{
    KNN_MEAN_PER_CLASS, KNN_TOP1, LAMBDA, Measure, SHIFTED_MEAN_PER_CLASS, SHIFTED_TOP1,
    TRANSFER_MEAN_PER_CLASS, TRANSFER_TOP1,
};
use crate::run_folder::encoder_description::EncoderDescription;
use crate::run_folder::metric::ResampledMetric;
use crate::suite_file::downstream_sets::Preparation;

/// Options of `transfer`.
#[derive(Args)]
pub struct TransferArgs {
    #[command(flatten)]
    input: Input,
    /// Side of the square crop that an encoder takes, as a fraction of the resized image's shorter side.
    #[arg(long, default_value_t = Preparation::default().crop_pct, requires = "encoder")]
    crop_pct: f64,
    /// Fraction of each class of the training images to hold out for validation if the pack has no validation
    /// split.
    #[arg(long, default_value_t = Preparation::default().val_fraction, requires = "encoder")]
    val_fraction: f64,
    /// Also classify after this many training images of each class, for several random draws of them:
    /// 1,2,5,10.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    few_shot: Vec<u64>,
    /// Random draws of these images.
    #[arg(long, default_value_t = few_shot::DRAWS, requires = "few_shot")]
    draws: u64,
    /// Also classify the test images after changes from these ranges, which the classifier was not trained on,
    /// such as rotation=90..135,brightness=0.2..0.6; also contrast, saturation, hue, blur.
    #[arg(long, value_name = "RANGES", value_delimiter = ',', requires = "encoder")]
    shift: Vec<Shift>,
    /// Maximum number of L-BFGS iterations per fit.
    #[arg(long, default_value_t = 500)]
    iterations: usize,
    #[arg(long, requires = "encoder", help = NO_FLOOR_HELP)]
    no_floor: bool,
    /// Write the encoder's features and the labels of the three splits, as `--features` reads them.
    #[arg(long, value_name = "FILE.h5", requires = "encoder")]
    write_features: Option<PathBuf>,
    #[arg(long, requires = "write_features", help = FORCE_HELP)]
    force: bool,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Fits the grid, which is shared among the ranks, and prints the test accuracies.
///
/// # Errors
/// A feature file, encoder or pack that cannot be used (2).
pub fn run(args: &TransferArgs, ranks: &dyn Collective) -> Outcome<()> {
    let worker = Worker::start(ranks, args.compute)?;
    let shots = args.shots();
    agree(ranks, shots.iter().try_for_each(FewShotConfig::validate).map_err(Into::into))?;
    let output = agree(ranks, args.features_output())?;
    let Features { data, floor, encoder } = agree(ranks, features(args, shots.as_ref(), worker.device))?;
    if let Some(output) = output.filter(|_| worker.leads()) {
        output.write_with(|path| write_labelled(path, &data)).map_err(Failure::run)?;
    }
    let [rows, features] = data.train.x.size()[..] else { unreachable!("features are (N, D)") };
    duration::say_transfer([rows, features, data.classes as i64], worker.device);
    let result = fit(args, shots.as_ref(), "logistic regression", &data, ranks)?;
    let floor =
        floor.map(|floor| fit(args, shots.as_ref(), "logistic regression, random weights", &floor, ranks));
    let floor = floor.transpose()?;
    if !worker.leads() {
        return Ok(());
    }
    let grid = &result.transfer.grid;
    let unfinished = grid.iter().filter(|point| !point.converged).count();
    if unfinished > 0 {
        say(&format!("note: {unfinished} of {} fits stopped at {} iterations", grid.len(), args.iterations));
    }
    for note in
        [unfinished_note(&result.few_shot), end_of_grid_note(result.transfer.lambda)].into_iter().flatten()
    {
        say(&note);
    }
    let text = if args.json {
        as_json(&result, floor.as_ref(), encoder.as_ref())
    } else {
        let floor = floor.iter().map(|floor| format!("random weights:\n{}", as_lines(floor)));
        as_lines(&result) + &floor.collect::<String>()
    };
    print_text(&text).map_err(Failure::run)
}

impl TransferArgs {
    /// The checked place for the features.
    fn features_output(&self) -> Result<Option<Output>> {
        let output = |path: &PathBuf| Output::new(path, &FEATURES, &self.input.files(), self.force);
        Ok(self.write_features.as_ref().map(output).transpose()?)
    }

    fn shots(&self) -> Option<FewShotConfig> {
        (!self.few_shot.is_empty()).then(|| FewShotConfig { shots: self.few_shot.clone(), draws: self.draws })
    }
}

/// Labelled features.
struct Features {
    data: TransferData,
    /// The same images, seen by an encoder with random weights, if there is one.
    floor: Option<TransferData>,
    /// What an encoder from a file is.
    encoder: Option<EncoderDescription>,
}

/// The features of a file, or of an encoder on a pack.
fn features(args: &TransferArgs, shots: Option<&FewShotConfig>, device: Device) -> Result<Features> {
    match args.input.open(device)? {
        Source::Features(path) => {
            Ok(Features { data: FeatureFile::open(path)?.transfer_data(device)?, floor: None, encoder: None })
        }
        Source::Encoder(encoder, pack) => {
            say(&format!("features of {}", pack.path().display()));
            let shift = args.shift.iter().copied().reduce(Shift::merge);
            let preparation = Preparation { crop_pct: args.crop_pct, val_fraction: args.val_fraction };
            duration::say_encoding(&encoder, pack.splits.iter().map(PackedSplit::len).sum());
            let of = |encoder: &FrozenEncoder| {
                let asked = Asked { preparation: &preparation, few_shot: shots, shift: shift.as_ref() };
                transfer_data(&pack, ImageEncoder::frozen(encoder, device), asked)
            };
            let data = of(&encoder)?;
            let untrained = if args.no_floor { None } else { encoder.untrained()? };
            let floor = untrained.as_ref().map(of).transpose()?;
            Ok(Features { data, floor, encoder: encoder.opened().map(|opened| opened.description.clone()) })
        }
    }
}

/// What is found of an encoder.
struct Found {
    transfer: Transfer,
    /// One for each number of images; empty if none is asked for.
    few_shot: Vec<FewShot>,
}

/// Fits the few-shot draws, which are quick to refuse, and then the grid.
fn fit(
    args: &TransferArgs,
    shots: Option<&FewShotConfig>,
    label: &str,
    data: &TransferData,
    ranks: &dyn Collective,
) -> Outcome<Found> {
    let config = LogisticConfig { iterations: args.iterations, ..LogisticConfig::default() };
    let of_shots = |shots| {
        with_progress(&format!("{label}, few-shot fits ended"), |tick| {
            few_shot(data, shots, &config, ranks, tick)
        })
    };
    let few_shot = shots.map_or(Ok(Vec::new()), of_shots).map_err(failure)?;
    let transfer =
        with_progress(&format!("{label}, fits ended"), |tick| transfer(data, &config, ranks, tick));
    Ok(Found { transfer: transfer.map_err(failure)?, few_shot })
}

fn as_json(result: &Found, floor: Option<&Found>, encoder: Option<&EncoderDescription>) -> String {
    let mut value = result_json(result);
    if let Some(floor) = floor {
        value["random_weights"] = result_json(floor);
    }
    if let Some(encoder) = encoder {
        value["encoder"] = json!(encoder);
    }
    format!("{value:#}\n")
}

fn result_json(Found { transfer: result, few_shot }: &Found) -> Value {
    let Transfer { accuracy, lambda, knn, grid, shifted, .. } = result;
    let (top1, mean_per_class) = (TRANSFER_TOP1.metric, TRANSFER_MEAN_PER_CLASS.metric);
    let intervals = Intervals::of(result);
    let ci95 = |[of_top1, of_mean]: [Measure; 2]| json!({(top1): intervals.get(of_top1), (mean_per_class): intervals.get(of_mean)});
    let mut value = json!({
        (top1): accuracy.top1,
        (mean_per_class): accuracy.mean_per_class,
        "ci95": ci95(LINEAR),
        (LAMBDA.metric): lambda,
        "lambda_at_end_of_grid": GridEnd::of(*lambda),
        "knn": {
            "k": NEIGHBOURS, "similarity": "cosine",
            (top1): knn.top1, (mean_per_class): knn.mean_per_class, "ci95": ci95(NEAREST),
        },
        "grid": grid,
    });
    if let Some(shifted) = shifted {
        value["shifted"] = json!({
            (top1): shifted.top1, (mean_per_class): shifted.mean_per_class, "ci95": ci95(SHIFTED),
        });
    }
    if !few_shot.is_empty() {
        value["few_shot"] = few_shot.iter().map(few_shot_json).collect();
    }
    value
}

fn few_shot_json(found: &FewShot) -> Value {
    let summary = |of: Summary, value: fn(&Accuracy) -> f64| {
        let draws: Vec<f64> = found.accuracies.iter().map(value).collect();
        json!({"mean": of.mean, "std": of.std, "ci95": of.ci95, "draws": draws})
    };
    json!({
        "shots": found.shots,
        (LAMBDA.metric): few_shot::STRENGTH,
        (TRANSFER_TOP1.metric): summary(found.top1(), |accuracy| accuracy.top1),
        (TRANSFER_MEAN_PER_CLASS.metric): summary(found.mean_per_class(), |accuracy| accuracy.mean_per_class),
    })
}

fn as_lines(Found { transfer: result, few_shot }: &Found) -> String {
    let Transfer { accuracy, lambda, knn, shifted, .. } = result;
    let intervals = Intervals::of(result);
    let text = |accuracy: &Accuracy, [top1, mean]: [Measure; 2]| {
        let (top1, mean) = (intervals.text(top1), intervals.text(mean));
        format!("top1 {:.4}{top1}  mean per class {:.4}{mean}", accuracy.top1, accuracy.mean_per_class)
    };
    let [linear, nearest] = [(accuracy, LINEAR), (knn, NEAREST)].map(|(accuracy, of)| text(accuracy, of));
    let shifted =
        shifted.as_ref().map(|accuracy| format!("shifted test images  {}\n", text(accuracy, SHIFTED)));
    format!(
        "logistic regression  {linear}  (lambda {lambda:.3e}, chosen on val)\n\
         {NEIGHBOURS} nearest by cosine {nearest}\n"
    ) + &shifted.unwrap_or_default()
        + &few_shot_lines(few_shot)
}

fn few_shot_lines(found: &[FewShot]) -> String {
    let Some(draws) = found.first().map(|of_shots| of_shots.accuracies.len()) else { return String::new() };
    let text = |Summary { mean, ci95, .. }: Summary| match ci95 {
        Some((low, high)) => format!("{mean:.4} [{low:.4}, {high:.4}]"),
        None => format!("{mean:.4}"),
    };
    let line = |of_shots: &FewShot| {
        let (shots, [top1, mean]) = (of_shots.shots, [of_shots.top1(), of_shots.mean_per_class()].map(text));
        format!("{shots:>4} a class  top1 {top1}  mean per class {mean}\n")
    };
    let interval = if draws > 1 { " [95% interval over the draws]" } else { "" };
    let head = format!("few training images, mean over {draws} draws{interval}\n");
    head + &found.iter().map(line).collect::<String>()
}

/// The measures of the logistic regression: top-1, mean per class.
const LINEAR: [Measure; 2] = [TRANSFER_TOP1, TRANSFER_MEAN_PER_CLASS];

/// Those of the logistic regression on shifted test images.
const SHIFTED: [Measure; 2] = [SHIFTED_TOP1, SHIFTED_MEAN_PER_CLASS];

/// Those of the nearest neighbours.
const NEAREST: [Measure; 2] = [KNN_TOP1, KNN_MEAN_PER_CLASS];

/// 95% intervals of the accuracies over the test images.
struct Intervals(Vec<ResampledMetric>);

impl Intervals {
    fn of(result: &Transfer) -> Intervals {
        Intervals(resampled(result))
    }

    fn get(&self, measure: Measure) -> Option<(f64, f64)> {
        self.0.iter().find(|draws| draws.metric == measure.metric)?.interval()
    }

    fn text(&self, measure: Measure) -> String {
        self.get(measure).map(|(low, high)| format!(" [{low:.4}, {high:.4}]")).unwrap_or_default()
    }
}
