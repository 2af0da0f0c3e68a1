//! `eqr-bench transfer`: linear transfer of features to labels.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use eqr_datasets::output::Output;
use eqr_datasets::transforms::Shift;
use eqr_models::Collective;
use eqr_probes::Accuracy;
use eqr_probes::attentive_transfer::{AttentiveConfig, AttentiveTransfer};
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
use crate::cluster::standstill::MeasurementWatch;
use crate::cluster::worker::Worker;
use crate::console::{print_text, say, with_progress};
use crate::encoder::frozen::FrozenEncoder;
use crate::failure::{Failure, Outcome};
use crate::measure::attentive_transfer::{AttentiveClassifiers, rate_notes};
use crate::measure::duration;
use crate::measure::exit_code::failure;
use crate::measure::feature_file::{FEATURES, FeatureFile, write_labelled};
use crate::measure::tokens::TOKEN_MEMORY;
use crate::measure::transfer::{
    Asked, ImageEncoder, TransferImages, end_of_grid_note, resampled, resampled_accuracies, unfinished_note,
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
    /// Also classify the test images after changes from these ranges, which the classifier was not trained
    /// on, such as rotation=90..135,brightness=0.2..0.6; also contrast, saturation, hue, blur.
    #[arg(long, value_name = "RANGES", value_delimiter = ',', requires = "encoder")]
    shift: Vec<Shift>,
    /// Maximum number of L-BFGS iterations per fit.
    #[arg(long, default_value_t = 500)]
    iterations: usize,
    /// With `--readout attentive`: passes over the training images [default: 50].
    #[arg(long, requires = "readout")]
    epochs: Option<usize>,
    /// With `--readout attentive`: memory for tokens in GB [default: 8]. A set whose tokens take more is
    /// refused.
    #[arg(long, value_name = "GB", requires = "readout")]
    token_memory: Option<f64>,
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
    let _watch = MeasurementWatch::begin("the transfer");
    let Features { trained, floor, images } = agree(ranks, features(args, shots.as_ref(), worker.device))?;
    if let Some(output) = output.filter(|_| worker.leads()) {
        output.write_with(|path| write_labelled(path, &trained.data)).map_err(Failure::run)?;
    }
    let data = &trained.data;
    let [rows, features] = data.train.x.size()[..] else { unreachable!("features are (N, D)") };
    duration::say_transfer([rows, features, data.classes as i64], worker.device);
    let attentive = images.as_ref().and_then(|images| args.classifiers(images, worker.device));
    let fits = Fits { args, shots: shots.as_ref(), attentive, ranks };
    let result = fits.of(&trained, "")?;
    let floor = floor.map(|floor| fits.of(&floor, ", random weights")).transpose()?;
    if !worker.leads() {
        return Ok(());
    }
    notes(args, &result).iter().for_each(|note| say(note));
    let text = if args.json {
        let opened = trained.encoder.as_ref().and_then(FrozenEncoder::opened);
        as_json(&result, floor.as_ref(), opened.map(|opened| &opened.description))
    } else {
        let floor = floor.iter().map(|floor| format!("random weights:\n{}", as_lines(floor)));
        as_lines(&result) + &floor.collect::<String>()
    };
    print_text(&text).map_err(Failure::run)
}

/// What must be known to judge the result.
fn notes(args: &TransferArgs, result: &Found) -> Vec<String> {
    let grid = &result.transfer.grid;
    let unfinished = grid.iter().filter(|point| !point.converged).count();
    let unfinished = (unfinished > 0).then(|| {
        format!("note: {unfinished} of {} fits stopped at {} iterations", grid.len(), args.iterations)
    });
    let of_linear = [unfinished, unfinished_note(&result.few_shot), end_of_grid_note(result.transfer.lambda)];
    of_linear.into_iter().flatten().chain(result.attentive.iter().flat_map(rate_notes)).collect()
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

    /// How tokens are classified, if they are to be.
    fn classifiers<'a>(
        &self,
        images: &'a TransferImages,
        device: Device,
    ) -> Option<AttentiveClassifiers<'a>> {
        let default = AttentiveConfig::default();
        let config = AttentiveConfig { epochs: self.epochs.unwrap_or(default.epochs), ..default };
        let memory = self.token_memory.unwrap_or(TOKEN_MEMORY);
        self.input.is_attentive().then_some(AttentiveClassifiers { images, config, memory, device })
    }

    fn check_attentive(&self) -> Result<()> {
        self.input.check_attentive("--epochs", self.epochs.is_some())?;
        self.input.check_attentive("--token-memory", self.token_memory.is_some())?;
        ensure!(self.epochs != Some(0), "--epochs 0: expected at least 1");
        Ok(())
    }
}

/// What is classified.
struct Features {
    trained: Seen,
    /// The same images, seen by an encoder with random weights, if there is one.
    floor: Option<Seen>,
    /// The images, unless the features are from a file.
    images: Option<TransferImages>,
}

/// Labelled features, and the encoder that they are of, unless they are from a file.
struct Seen {
    data: TransferData,
    encoder: Option<FrozenEncoder>,
}

/// The features of a file, or of an encoder on a pack.
fn features(args: &TransferArgs, shots: Option<&FewShotConfig>, device: Device) -> Result<Features> {
    args.check_attentive()?;
    let (encoder, pack) = match args.input.open(device)? {
        Source::Features(path) => {
            let trained = Seen { data: FeatureFile::open(path)?.transfer_data(device)?, encoder: None };
            return Ok(Features { trained, floor: None, images: None });
        }
        Source::Encoder(encoder, pack) => (*encoder, pack),
    };
    say(&format!("features of {}", pack.path().display()));
    let preparation = Preparation { crop_pct: args.crop_pct, val_fraction: args.val_fraction };
    let shift = args.shift.iter().copied().reduce(Shift::merge);
    let images = TransferImages::of(&pack, Asked { preparation: &preparation, few_shot: shots, shift })?;
    args.classifiers(&images, device).map_or(Ok(()), |attentive| attentive.check(&encoder))?;
    duration::say_encoding(&encoder, images.counts().iter().sum());
    let of = |encoder: FrozenEncoder| {
        let data = images.encode(ImageEncoder::frozen(&encoder, device))?;
        Ok::<_, anyhow::Error>(Seen { data, encoder: Some(encoder) })
    };
    let untrained = if args.no_floor { None } else { encoder.untrained()? };
    let (trained, floor) = (of(encoder)?, untrained.map(of).transpose()?);
    Ok(Features { trained, floor, images: Some(images) })
}

/// What is found of an encoder.
struct Found {
    transfer: Transfer,
    /// One for each number of images; empty if none is asked for.
    few_shot: Vec<FewShot>,
    /// The classifier of tokens, if it is asked for.
    attentive: Option<AttentiveTransfer>,
}

/// What is fitted to the images of an encoder.
struct Fits<'a> {
    args: &'a TransferArgs,
    shots: Option<&'a FewShotConfig>,
    attentive: Option<AttentiveClassifiers<'a>>,
    ranks: &'a dyn Collective,
}

impl Fits<'_> {
    /// Fits the few-shot draws, which are quick to refuse, then the grid, and then the classifiers of tokens.
    /// `whose` follows the names of what is fitted.
    fn of(&self, Seen { data, encoder }: &Seen, whose: &str) -> Outcome<Found> {
        let Fits { args, shots, attentive, ranks } = self;
        let config = LogisticConfig { iterations: args.iterations, ..LogisticConfig::default() };
        let of_shots = |shots| {
            with_progress(&format!("logistic regression{whose}, few-shot fits ended"), |tick| {
                few_shot(data, shots, &config, *ranks, tick)
            })
        };
        let few_shot = shots.map_or(Ok(Vec::new()), of_shots).map_err(failure)?;
        let label = format!("logistic regression{whose}, fits ended");
        let transfer =
            with_progress(&label, |tick| transfer(data, &config, *ranks, tick)).map_err(failure)?;
        let of_tokens = attentive.as_ref().zip(encoder.as_ref());
        let label = format!("attentive classifiers{whose}, epochs");
        let attentive = of_tokens.map(|(attentive, encoder)| attentive.fit(encoder, &label, *ranks));
        Ok(Found { transfer, few_shot, attentive: attentive.transpose()? })
    }
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

fn result_json(Found { transfer: result, few_shot, attentive }: &Found) -> Value {
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
    if let Some(attentive) = attentive {
        value["attentive"] = attentive_json(attentive, result);
    }
    value
}

fn attentive_json(found: &AttentiveTransfer, transfer: &Transfer) -> Value {
    let intervals = Intervals::of_attentive(found, transfer);
    let (top1, mean_per_class) = (TRANSFER_TOP1, TRANSFER_MEAN_PER_CLASS);
    json!({
        (top1.metric): found.accuracy.top1,
        (mean_per_class.metric): found.accuracy.mean_per_class,
        "ci95": {(top1.metric): intervals.get(top1), (mean_per_class.metric): intervals.get(mean_per_class)},
        "lr": found.lr,
        "grid": found.grid,
    })
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

fn as_lines(Found { transfer: result, few_shot, attentive }: &Found) -> String {
    let Transfer { accuracy, lambda, knn, shifted, .. } = result;
    let intervals = Intervals::of(result);
    let shifted = shifted
        .iter()
        .map(|accuracy| format!("shifted test images  {}\n", intervals.line(accuracy, SHIFTED)));
    let (linear, nearest) = (intervals.line(accuracy, LINEAR), intervals.line(knn, NEAREST));
    let attentive = attentive.iter().map(|found| {
        let line = Intervals::of_attentive(found, result).line(&found.accuracy, LINEAR);
        format!("attentive classifier {line}  (lr {}, chosen on val)\n", found.lr)
    });
    format!(
        "logistic regression  {linear}  (lambda {lambda:.3e}, chosen on val)\n\
         {NEIGHBOURS} nearest by cosine {nearest}\n"
    ) + &shifted.chain(attentive).collect::<String>()
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

    /// Those of the classifier of tokens, under the names of the logistic regression.
    fn of_attentive(found: &AttentiveTransfer, transfer: &Transfer) -> Intervals {
        Intervals(resampled_accuracies(&transfer.test, &[(LINEAR, &found.predicted[..])]))
    }

    fn get(&self, measure: Measure) -> Option<(f64, f64)> {
        self.0.iter().find(|draws| draws.metric == measure.metric)?.interval()
    }

    fn text(&self, measure: Measure) -> String {
        self.get(measure).map(|(low, high)| format!(" [{low:.4}, {high:.4}]")).unwrap_or_default()
    }

    fn line(&self, accuracy: &Accuracy, [top1, mean_per_class]: [Measure; 2]) -> String {
        let (of_top1, of_mean) = (self.text(top1), self.text(mean_per_class));
        format!("top1 {:.4}{of_top1}  mean per class {:.4}{of_mean}", accuracy.top1, accuracy.mean_per_class)
    }
}
