//! `eqr-bench segment`: segmentation with a frozen encoder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use eqr_datasets::Pack;
use eqr_datasets::output::{Output, OutputKind};
use eqr_models::Collective;
use eqr_probes::Error;
use eqr_probes::bootstrap::Resampled;
use eqr_probes::confusion::{ClassScore, SegmentationScore};
use eqr_probes::segmentation_head::SegmentConfig;
use eqr_probes::stats::Summary;
use serde_json::{Map, Value, json};
use tch::{Device, Tensor};

use crate::cli::force::FORCE_HELP;
use crate::cli::input::{NO_FLOOR_HELP, warn_of_script};
use crate::cluster::agreement::{agree, agree_in_run, same_everywhere};
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::standstill::MeasurementWatch;
use crate::cluster::worker::Worker;
use crate::console::{one_line, print_text, say};
use crate::encoder::frozen::FrozenEncoder;
use crate::failure::{Failure, Outcome};
use crate::measure::duration;
use crate::measure::exit_code::failure;
use crate::measure::segment::{LossPoint, SegmentationScenes, Segmented, draw, resampled, segment};
use crate::registry::{AACC, MACC, MIOU, Measure};
use crate::run_folder::csv_text::guarded;
use crate::run_folder::encoder_description::EncoderDescription;
use crate::run_folder::metric::ResampledMetric;
use crate::suite_file::encoder_options::{ENCODER_HELP, EncoderOptions};

/// Options of `segment`; the defaults are the protocol's.
#[derive(Args)]
pub struct SegmentArgs {
    #[arg(long, help = ENCODER_HELP)]
    encoder: PathBuf,
    #[command(flatten)]
    options: EncoderOptions,
    /// A pack with masks, such as `data pack ade20k` makes. A head is trained on `train` and scored on
    /// `test`.
    #[arg(long)]
    data: PathBuf,
    /// Number of heads, with the seeds 0, 1, ...
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Number of AdamW steps.
    #[arg(long, default_value_t = SegmentConfig::default().steps)]
    steps: usize,
    /// Crops per step, over all ranks.
    #[arg(long, default_value_t = SegmentConfig::default().batch)]
    batch: usize,
    /// Side of the crops and sliding windows in pixels. The encoder takes images of this side instead of
    /// --size.
    #[arg(long, default_value_t = SegmentConfig::default().crop)]
    crop: i64,
    /// Step of the sliding window in pixels; default: two thirds of the crop.
    #[arg(long)]
    stride: Option<i64>,
    /// Learning rate (constant).
    #[arg(long, default_value_t = SegmentConfig::default().lr)]
    lr: f64,
    /// Weight decay of AdamW.
    #[arg(long, default_value_t = SegmentConfig::default().weight_decay)]
    weight_decay: f64,
    /// Smallest and largest factor by which training images are resized.
    #[arg(long, default_value = "0.5,2", value_parser = two_numbers, value_name = "LOW,HIGH")]
    scale: (f64, f64),
    /// Width of the head.
    #[arg(long, default_value_t = SegmentConfig::default().width)]
    width: i64,
    /// Folder for classes.csv and scenes.png; scenes.png shows the first seed.
    #[arg(long)]
    out: Option<PathBuf>,
    #[arg(long, requires = "out", help = FORCE_HELP)]
    force: bool,
    /// Number of test scenes to draw, spread over the split; 0 draws none.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(..=200))]
    pictures: u64,
    #[arg(long, help = NO_FLOOR_HELP)]
    no_floor: bool,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

fn two_numbers(text: &str) -> Result<(f64, f64), String> {
    let number = |part: &str| part.trim().parse().ok();
    text.split_once(',')
        .and_then(|(low, high)| Some((number(low)?, number(high)?)))
        .ok_or_else(|| "expected two numbers with a comma between them".into())
}

/// Tables of class scores among the files that may be replaced.
const CLASS_SCORES: OutputKind = OutputKind {
    name: "a table of class scores",
    begins: |start| start.starts_with(CLASS_COLUMNS.join(",").as_bytes()),
};

/// Columns of classes.csv.
const CLASS_COLUMNS: [&str; 5] = ["class", "pixels", "seed", "iou", "accuracy"];

/// The files in the folder of `--out`.
struct Outputs {
    classes: Output,
    scenes: Output,
}

impl Outputs {
    fn open(folder: &Path, args: &SegmentArgs) -> Result<Outputs> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let inputs = [args.data.as_path(), &args.encoder];
        let output = |name: &str, kind| Output::new(&folder.join(name), kind, &inputs, args.force);
        Ok(Outputs {
            classes: output("classes.csv", &CLASS_SCORES)?,
            scenes: output("scenes.png", &OutputKind::PNG)?,
        })
    }
}

/// The scores of a head.
struct HeadScore {
    score: SegmentationScore,
    /// Draws of a bootstrap over the test scenes.
    resampled: Vec<ResampledMetric>,
}

impl HeadScore {
    fn new(Segmented { confusion, scenes, .. }: &Segmented) -> Outcome<HeadScore> {
        Ok(HeadScore { score: confusion.score().map_err(Failure::bad_input)?, resampled: resampled(scenes) })
    }
}

/// The scores of all heads.
struct Scores {
    /// What the encoder is.
    encoder: Option<EncoderDescription>,
    class_names: Vec<String>,
    /// One per seed.
    seeds: Vec<HeadScore>,
    /// One per seed.
    curves: Vec<Vec<LossPoint>>,
    /// Scores of heads on an encoder with random weights, one per seed; empty if there is none.
    floor: Vec<HeadScore>,
}

/// Trains the heads and prints their scores.
///
/// # Errors
/// An encoder, pack or option that cannot be used (2), a head that diverged, a file that cannot be written
/// (3).
pub fn run(args: &SegmentArgs, ranks: &dyn Collective) -> Outcome<()> {
    let config = args.config();
    config.validate().map_err(Failure::bad_input)?;
    let worker = Worker::start(ranks, args.compute)?;
    let pack = agree(ranks, Pack::open(&args.data).map_err(Into::into))?;
    same_everywhere(ranks, "the data set", &pack.content)?;
    let encoder = agree(ranks, open(args, config.crop as usize, worker.device))?;
    let normalise = |pixels: &Tensor| encoder.normalise(pixels);
    let scenes = agree(ranks, SegmentationScenes::open(&pack, &normalise, worker.device))?;
    let folder = args.out.as_deref().filter(|_| worker.leads());
    let outputs = agree(ranks, folder.map(|folder| Outputs::open(folder, args)).transpose())?;

    let _watch = MeasurementWatch::begin("the segmentation");
    duration::say_encoding(&encoder, args.crops());
    let mut scores = Scores {
        encoder: encoder.opened().map(|opened| opened.description.clone()),
        class_names: pack.class_names.clone(),
        seeds: Vec::new(),
        curves: Vec::new(),
        floor: Vec::new(),
    };
    for seed in 0..args.seeds {
        let segmented =
            segment(&encoder, &scenes, seed, &config, ranks).map_err(|error| on_rank(error, ranks))?;
        scores.seeds.push(HeadScore::new(&segmented)?);
        let Segmented { head, curve, .. } = segmented;
        scores.curves.push(curve);
        let pictured = outputs.as_ref().filter(|_| seed == 0 && args.pictures > 0);
        let drawn = pictured.map_or(Ok(()), |outputs| {
            let (encoder, count) = ((&encoder as _, &head), args.pictures as usize);
            outputs.scenes.write_with(|path| draw(&pack, &scenes.test, encoder, &config, count, path))
        });
        agree_in_run(ranks, drawn)?;
    }
    let untrained = if args.no_floor { None } else { agree(ranks, encoder.untrained())? };
    if let Some(untrained) = untrained {
        say("heads on the same architecture with random weights (--no-floor saves their time)");
        for seed in 0..args.seeds {
            let segmented =
                segment(&untrained, &scenes, seed, &config, ranks).map_err(|error| on_rank(error, ranks))?;
            scores.floor.push(HeadScore::new(&segmented)?);
        }
    }
    let written = outputs.as_ref().map_or(Ok(()), |outputs| Ok(outputs.classes.write(&scores.as_csv()?)?));
    agree_in_run(ranks, written)?;
    if !worker.leads() {
        return Ok(());
    }
    if let Some(folder) = folder {
        say(&format!("written to {}", folder.display()));
    }
    print_text(&if args.json { scores.as_json(&pack.name) } else { scores.as_table() }).map_err(Failure::run)
}

/// The encoder for crops of `side` pixels. An encoder without a token map is rejected.
fn open(args: &SegmentArgs, side: usize, device: Device) -> Result<FrozenEncoder> {
    warn_of_script(&args.encoder);
    FrozenEncoder::open_for_maps(&args.encoder, &args.options, side, device)
}

impl SegmentArgs {
    /// Number of crops that the heads are trained on.
    fn crops(&self) -> usize {
        self.steps * self.batch * self.seeds as usize
    }

    fn config(&self) -> SegmentConfig {
        SegmentConfig {
            width: self.width,
            steps: self.steps,
            batch: self.batch,
            crop: self.crop,
            stride: self.stride.unwrap_or((self.crop * 2 / 3).max(1)),
            lr: self.lr,
            weight_decay: self.weight_decay,
            scale: self.scale,
        }
    }
}

/// Errors of configuration and training are the same on every rank. Only one rank knows of a scene or mask
/// that cannot be read.
fn on_rank(error: Error, ranks: &dyn Collective) -> Failure {
    let everywhere = matches!(error, Error::Config { .. } | Error::Empty { .. } | Error::Diverged { .. });
    Failure { agreed: everywhere || ranks.size() == 1, ..failure(error) }
}

impl Scores {
    /// A score of `class`, one per seed.
    fn class(&self, class: usize, score: impl Fn(&ClassScore) -> Option<f64>) -> Vec<Option<f64>> {
        self.seeds.iter().map(|seed| score(&seed.score.classes[class])).collect()
    }

    fn as_json(&self, data: &str) -> String {
        let mut all = Map::new();
        all.insert("data".into(), json!(data));
        all.extend(metrics_json(&self.seeds));
        if !self.floor.is_empty() {
            all.insert("random_weights".into(), metrics_json(&self.floor).into());
        }
        let class = |(class, name): (usize, &String)| {
            json!({
                "name": name,
                "iou": self.class(class, |score| score.iou),
                "accuracy": self.class(class, |score| score.accuracy),
                "pixels": self.seeds[0].score.classes[class].pixels,
            })
        };
        all.insert("classes".into(), self.class_names.iter().enumerate().map(class).collect());
        let curve = |(seed, curve): (usize, &Vec<LossPoint>)| json!({"seed": seed, "curve": curve});
        all.insert("seeds".into(), self.curves.iter().enumerate().map(curve).collect());
        all.extend(self.encoder.iter().map(|encoder| ("encoder".to_owned(), json!(encoder))));
        format!("{:#}\n", Value::Object(all))
    }

    fn as_csv(&self) -> Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(CLASS_COLUMNS)?;
        let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        for (class, name) in self.class_names.iter().enumerate() {
            for (seed, HeadScore { score, .. }) in self.seeds.iter().enumerate() {
                let ClassScore { iou, accuracy, pixels } = score.classes[class];
                csv.write_record([
                    &*guarded(name),
                    &pixels.to_string(),
                    &seed.to_string(),
                    &text(iou),
                    &text(accuracy),
                ])?;
            }
        }
        csv.into_inner().map_err(|error| anyhow!("{error}"))
    }

    fn as_table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(["class", "IoU", "accuracy", "pixels"]);
        let mut absent = 0;
        for (class, name) in self.class_names.iter().enumerate() {
            let iou = self.class(class, |score| score.iou);
            if iou.iter().all(Option::is_none) {
                absent += 1;
                continue;
            }
            let accuracy = self.class(class, |score| score.accuracy);
            table.add_row([
                &*one_line(name),
                &cell(&iou),
                &cell(&accuracy),
                &self.seeds[0].score.classes[class].pixels.to_string(),
            ]);
        }
        let head = metrics_line(&self.seeds);
        let floor = match &self.floor[..] {
            [] => String::new(),
            floor => format!("{}  (random weights)\n", metrics_line(floor)),
        };
        let seeds = match self.seeds.len() {
            1 => "1 seed, no deviation".to_owned(),
            seeds => format!("mean ± standard deviation over {seeds} seeds"),
        };
        let left_out = if absent > 0 {
            format!("{absent} classes neither in the truth nor predicted are left out\n")
        } else {
            String::new()
        };
        let interval =
            if self.seeds[0].resampled.is_empty() { "" } else { " [95% interval over test scenes]" };
        format!("{head}  ({seeds}{interval})\n{floor}{table}\n{left_out}")
    }
}

/// A score over all classes.
struct Score {
    metric: &'static str,
    /// One per seed.
    values: Vec<f64>,
    /// 95% interval of their mean over the test scenes, if there are enough scenes.
    ci95: Option<(f64, f64)>,
}

/// The scores over all classes.
fn metrics(seeds: &[HeadScore]) -> [Score; 3] {
    let of = |measure: Measure, value: fn(&SegmentationScore) -> f64| {
        let values = seeds.iter().map(|seed| value(&seed.score)).collect();
        let draws =
            seeds.iter().flat_map(|seed| &seed.resampled).filter(|draws| draws.metric == measure.metric);
        let draws: Vec<Resampled> =
            draws.filter_map(|draws| Resampled::from_values(draws.values.clone())).collect();
        let mean = Resampled::mean(&draws.iter().collect::<Vec<_>>());
        Score { metric: measure.metric, values, ci95: mean.map(|mean| mean.interval()) }
    };
    [of(MIOU, |seed| seed.miou), of(MACC, |seed| seed.macc), of(AACC, |seed| seed.aacc)]
}

fn metrics_json(seeds: &[HeadScore]) -> Map<String, Value> {
    let metric = |Score { metric, values, ci95 }: Score| {
        let summary = summary(&values);
        let value = json!({"mean": summary.mean, "std": summary.std, "ci95": ci95, "values": values});
        (metric.to_owned(), value)
    };
    metrics(seeds).into_iter().map(metric).collect()
}

fn metrics_line(seeds: &[HeadScore]) -> String {
    let spread = |Score { metric, values, ci95 }: Score| {
        let interval = ci95.map(|(low, high)| format!(" [{low:.4}, {high:.4}]")).unwrap_or_default();
        format!("{metric} {}{interval}", cell(&values.into_iter().map(Some).collect::<Vec<_>>()))
    };
    metrics(seeds).map(spread).join("  ")
}

/// Mean and standard deviation of finite scores.
fn summary(values: &[f64]) -> Summary {
    Summary::from_values(values).expect("at least one seed")
}

/// Mean and standard deviation over the seeds that have a value.
fn cell(values: &[Option<f64>]) -> String {
    let defined: Vec<f64> = values.iter().copied().flatten().collect();
    match Summary::from_values(&defined) {
        Ok(Summary { mean, std: Some(std), .. }) => format!("{mean:.4} ± {std:.4}"),
        Ok(Summary { mean, .. }) => format!("{mean:.4}"),
        Err(_) => "none".into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: SegmentArgs,
    }

    #[test]
    fn the_defaults_are_the_protocols() {
        let parsed = |more: &[&str]| {
            let args = ["segment", "--encoder", "e.pt", "--data", "d.h5"].iter().chain(more);
            Alone::try_parse_from(args).map(|alone| alone.args.config())
        };
        assert_eq!(parsed(&[]).unwrap(), SegmentConfig::default());
        let small = parsed(&["--crop", "96", "--scale", "1, 1.5"]).unwrap();
        assert_eq!((small.stride, small.scale), (64, (1.0, 1.5)));
        assert!(parsed(&["--scale", "1"]).is_err());
    }
}
