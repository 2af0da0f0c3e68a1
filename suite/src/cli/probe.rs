//! `eqr-bench probe`: R2 of probes that predict the transformation between two views from features.

use anyhow::{Result, bail, ensure};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use eqr_datasets::SetKind;
use eqr_datasets::transforms::{Shift, Transform};
use eqr_models::{Compute, Solo};
use eqr_probes::mlp::{Fit, Precision as ProbePrecision, ProbeConfig};
use eqr_probes::r2::R2;
use eqr_probes::stats::Summary;
use serde_json::{Map, Value, json};
use tch::Device;

use crate::cli::input::{Input, NO_FLOOR_HELP, Source};
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::precision::Precision;
use crate::cluster::worker::Worker;
use crate::console::{one_line, print_text, say, with_progress};
use crate::data::open::OpenedPack;
use crate::data::pairs::PairSource;
use crate::encoder::frozen::FrozenEncoder;
use crate::failure::{Failure, Outcome};
use crate::measure::attentive::AttentiveProbes;
use crate::measure::duration;
use crate::measure::evaluation::Evaluation;
use crate::measure::exit_code::failure;
use crate::measure::feature_file::FeatureFile;
use crate::measure::geometry;
use crate::measure::pair_features::PairSet;
use crate::measure::regression::{self, Question, Scores};
use crate::measure::shifted::{ShiftedScores, TestScore};
use crate::measure::tokens::{TOKEN_MEMORY, more_memory};
use crate::registry::{Predictor, R2Definition, R2Metric, Readout, TaskFamily};
use crate::run_folder::encoder_description::EncoderDescription;
use crate::run_folder::metric::{MeasuredValue, ResampledMetric};
use crate::suite_file::probe::{Probe, ReadoutHalf};
use crate::suite_file::transforms::Transforms;

/// Options of `probe`; the defaults are the protocol's.
#[derive(Args)]
pub struct ProbeArgs {
    #[command(flatten)]
    input: Input,
    /// Transforms that make view 2 of photographs, one at a time: a comma-separated list of rotation,
    /// translation, crop, flip, color, blur; default: all.
    #[arg(long, value_delimiter = ',', requires = "encoder")]
    transforms: Option<Vec<Transform>>,
    /// Halves of y to probe, if the encoder has halves: a comma-separated list of all, inv, equi.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    parts: Vec<ReadoutHalf>,
    /// Also measure pairs of photographs that differ by all transforms at once.
    #[arg(long, requires = "encoder")]
    combined: bool,
    /// Also test the probes on pairs of photographs from other ranges than those that they are trained on,
    /// such as rotation=90..135,brightness=0.2..0.6; also contrast, saturation, hue, blur.
    #[arg(long, value_name = "RANGES", value_delimiter = ',', requires = "encoder")]
    shift: Vec<Shift>,
    /// Number of training pairs to encode.
    #[arg(long, default_value_t = 40_000, value_parser = at_least_two)]
    train_pairs: usize,
    /// Number of test pairs to encode.
    #[arg(long, default_value_t = 10_000, value_parser = at_least_two)]
    test_pairs: usize,
    /// Number of seeds of the MLP probe: 0, 1, ...
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Passes of the MLP probe over the training pairs.
    #[arg(long, default_value_t = 300)]
    epochs: usize,
    /// Width of the MLP probe's two hidden layers.
    #[arg(long, default_value_t = 1024)]
    hidden: usize,
    /// Pairs per step.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Learning rate of the MLP probe.
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// Number type of the MLP probe's matrix products; linear probes use f64.
    #[arg(long, value_enum, default_value = "fp32")]
    precision: Precision,
    /// With `--readout attentive`: memory for tokens in GB [default: 8]. A probe whose tokens take more is
    /// refused.
    #[arg(long, value_name = "GB", requires = "readout")]
    token_memory: Option<f64>,
    #[arg(long, requires = "encoder", help = NO_FLOOR_HELP)]
    no_floor: bool,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl ProbeArgs {
    fn seeds(&self) -> Vec<u64> {
        (0..self.seeds).collect()
    }

    fn config(&self) -> ProbeConfig {
        ProbeConfig { hidden: self.hidden, epochs: self.epochs, batch: self.batch, lr: self.lr }
    }
}

/// Trains the probes and prints their R2.
///
/// # Errors
/// A feature file or an option that cannot be used (2), a probe that diverged (3).
pub fn run(args: &ProbeArgs) -> Outcome<()> {
    let worker = Worker::start(&Solo, args.compute)?;
    let features = features(args, worker.device).map_err(failure)?;
    let scores = score(args, &features.trained, &worker)?;
    scores.iter().filter(|scores| scores.question.readout() != Readout::Grid).for_each(warn_of_undefined);
    let floor = features.floor.as_ref().map(|floor| score(args, floor, &worker)).transpose()?;
    let floor = floor.unwrap_or_default();
    let draws = regression::resampled(&scores);
    let found = Found { scores: &scores, floor: &floor, draws: &draws };
    let text = if args.json { as_json(found, &features) } else { as_table(found, &features.geometry) };
    print_text(&text).map_err(Failure::run)
}

/// Reads a number of pairs.
pub fn at_least_two(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count >= 2).ok_or_else(|| "expected a number of at least 2".into())
}

/// What the probes read.
struct Features {
    trained: Measured,
    /// The same pairs, seen by an encoder with random weights.
    floor: Option<Measured>,
    /// Geometry of an encoder's y.
    geometry: Vec<MeasuredValue>,
    /// What an encoder from a file is.
    encoder: Option<EncoderDescription>,
}

/// The pairs as one encoder sees them.
struct Measured {
    sets: Vec<PairSet>,
    /// Attentive probes of every question that reads all of y, if they were asked for.
    attentive: Vec<Vec<Fit>>,
}

/// The scores of every question, and in the same order those of the floor, if there is one.
#[derive(Clone, Copy)]
struct Found<'a> {
    scores: &'a [Scores<'a>],
    floor: &'a [Scores<'a>],
    /// Draws over the test objects.
    draws: &'a [ResampledMetric],
}

impl<'a> Found<'a> {
    fn all(self) -> impl Iterator<Item = (&'a Scores<'a>, Option<&'a Scores<'a>>)> {
        self.scores.iter().enumerate().map(move |(place, scores)| (scores, self.floor.get(place)))
    }

    /// 95% interval of an R2 over the test objects; `None` if there are too few of them.
    fn interval(self, question: &Question, metric: R2Metric) -> Option<(f64, f64)> {
        let metric = metric.to_string();
        let is_wanted = |draws: &&ResampledMetric| draws.task == question.task() && draws.metric == metric;
        self.draws.iter().find(is_wanted)?.interval()
    }

    /// The R2s by their names, with the intervals of both definitions of `metric`.
    fn with_intervals(self, question: &Question, metric: R2Metric, r2: &R2) -> Map<String, Value> {
        let of = |definition| self.interval(question, R2Metric { definition, ..metric });
        let (pooled, per_output) = (R2Metric::POOLED.to_string(), R2Metric::PER_OUTPUT.to_string());
        let intervals =
            json!({(pooled): of(R2Definition::Pooled), (per_output): of(R2Definition::PerOutput)});
        let mut all = r2_json(r2);
        all.insert("ci95".into(), intervals);
        all
    }
}

/// The pairs of a feature file, or the pairs of an encoder on a pack.
fn features(args: &ProbeArgs, device: Device) -> Result<Features> {
    let whole = args.parts == [ReadoutHalf::All];
    args.input.check_attentive("--token-memory", args.token_memory.is_some())?;
    let (encoder, pack) = match args.input.open(device)? {
        Source::Features(path) => {
            let sets = FeatureFile::open(path)?.pair_sets(device)?;
            ensure!(whole, "--parts: features have no halves");
            let trained = Measured { sets, attentive: vec![] };
            return Ok(Features { trained, floor: None, geometry: vec![], encoder: None });
        }
        Source::Encoder(encoder, pack) => (encoder, *pack),
    };
    ensure!(
        whole || encoder.has_halves(),
        "--parts: this encoder's features have no halves; encoders trained by eqr-bench have them"
    );
    ensure!(
        args.parts.contains(&ReadoutHalf::All) || !args.input.is_attentive(),
        "--readout attentive: it reads tokens, which have no halves\nhint: add `all` to --parts"
    );
    ensure!(
        args.shift.is_empty() || !args.input.is_attentive(),
        "--shift: attentive probes are tested on ordinary pairs only\nhint: leave out --shift or --readout attentive"
    );
    let for_photographs = args.transforms.is_some() || args.combined || !args.shift.is_empty();
    ensure!(
        pack.kind == SetKind::Photographs || !for_photographs,
        "--transforms, --combined, --shift: {} has renders, whose pairs are two views of an object",
        pack.path().display()
    );
    let active = args.transforms.clone().unwrap_or_else(|| Transform::ALL.to_vec());
    let transforms = Transforms { active, ..Transforms::default() };
    let shift = args.shift.iter().copied().reduce(Shift::merge);
    let idle =
        shift.and_then(|shift| shift.transforms().find(|shifted| !transforms.active.contains(shifted)));
    if let Some(idle) = idle {
        bail!("--shift: a range of {idle}, which is not in --transforms");
    }
    let (train_pairs, test_pairs) = (args.train_pairs, args.test_pairs);
    let probe = Probe { train_pairs, test_pairs, shift, regression: args.config(), ..Probe::default() };
    let opened = OpenedPack { pack, side: encoder.side() };
    let source = |split: &str| {
        let source = PairSource::new(&opened, split, &transforms, device)?;
        Ok::<_, anyhow::Error>(source.normalised_by(encoder.normalisation))
    };
    let (train, test) = (source("train")?, source("test")?);
    say(&format!("features of {}", opened.pack.path().display()));
    let evaluation = Evaluation {
        transforms: &transforms,
        probe: &probe,
        pack: &opened.pack,
        train: &train,
        test: &test,
        resamples: true,
    };
    let trained = measure(args, &evaluation, &encoder)?;
    let geometry = tch::no_grad(|| geometry::measure(&evaluation, &*encoder))?;
    let untrained = if args.no_floor { None } else { encoder.untrained()? };
    let floor = untrained.map(|encoder| measure(args, &evaluation, &encoder)).transpose()?;
    let encoder = encoder.opened().map(|opened| opened.description.clone());
    Ok(Features { trained, floor, geometry, encoder })
}

/// The pairs as `encoder` sees them, with the attentive probes if they are asked for.
fn measure(args: &ProbeArgs, evaluation: &Evaluation, encoder: &FrozenEncoder) -> Result<Measured> {
    duration::say_encoding(encoder, evaluation.views(args.combined));
    let sets = tch::no_grad(|| evaluation.pair_sets(encoder, args.combined))?;
    if !args.input.is_attentive() {
        return Ok(Measured { sets, attentive: vec![] });
    }
    let (seeds, config) = (args.seeds(), args.config());
    let memory = args.token_memory.unwrap_or(TOKEN_MEMORY);
    let remedy = |needed| {
        let less = "fewer --train-pairs and --test-pairs (all probes then read these), or a smaller --size";
        more_memory(needed, less)
    };
    let probes = AttentiveProbes { evaluation, seeds: &seeds, config: &config, memory, remedy };
    Ok(Measured { attentive: probes.fit(encoder, &sets)?, sets })
}

/// Scores of every target: from each half of y in `--parts`, and from the grid unless an option names what is
/// read.
fn score<'a>(args: &ProbeArgs, measured: &'a Measured, worker: &Worker) -> Outcome<Vec<Scores<'a>>> {
    let Measured { sets, attentive } = measured;
    let (seeds, config) = (args.seeds(), args.config());
    let precision = match args.precision.choose(worker.device).compute {
        Compute::Bf16 => ProbePrecision::Bf16,
        _ => ProbePrecision::Fp32,
    };
    let has_grid = !args.input.names_features() && sets.iter().all(PairSet::has_grid);
    let halves = args.parts.iter().map(|&half| half.into());
    let readouts = halves.chain(has_grid.then_some(Readout::Grid));
    let questions: Vec<Question<'a>> =
        readouts.flat_map(|readout| sets.iter().flat_map(move |set| Question::all(set, readout))).collect();
    duration::say_probes(&questions, seeds.len(), &config, worker.device);
    let mut scores = with_progress("probes, epochs", |tick| {
        regression::score(questions, &seeds, &config, precision, tick)
    })
    .map_err(failure)?;
    let of_all = scores.iter_mut().filter(|scores| scores.question.readout() == Readout::Y);
    of_all.zip(attentive).for_each(|(scores, fits)| scores.attentive = fits.clone());
    Ok(scores)
}

/// Warns of target columns whose R2 is undefined.
fn warn_of_undefined(Scores { question, constant, .. }: &Scores) {
    let undefined = constant.outputs.iter().enumerate().filter(|(_, r2)| r2.is_none());
    let columns: Vec<String> = undefined.map(|(column, _)| column.to_string()).collect();
    if !columns.is_empty() {
        let (name, columns) = (question.name(), columns.join(", "));
        say(&format!(
            "note: target {name}: column {columns} does not vary on the test split: its R2 is undefined"
        ));
    }
}

/// Mean over the seeds, if the value is defined for every seed.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

fn mean_r2(all: &[R2]) -> R2 {
    R2 {
        pooled: mean(all.iter().map(|r2| r2.pooled)),
        per_output: mean(all.iter().map(|r2| r2.per_output)),
        outputs: (0..all[0].outputs.len()).map(|j| mean(all.iter().map(|r2| r2.outputs[j]))).collect(),
    }
}

/// The test scores of trained probes, one per seed.
fn test_scores(fits: &[Fit]) -> Vec<R2> {
    fits.iter().map(|fit| fit.test.clone()).collect()
}

/// The mean of the test scores of trained probes.
fn mean_json(fits: &[Fit]) -> Map<String, Value> {
    r2_json(&mean_r2(&test_scores(fits)))
}

fn r2_json(r2: &R2) -> Map<String, Value> {
    let (pooled, per_output) = (R2Metric::POOLED.to_string(), R2Metric::PER_OUTPUT.to_string());
    let value = json!({(pooled): r2.pooled, (per_output): r2.per_output, "outputs": r2.outputs});
    value.as_object().expect("an object").clone()
}

fn as_json(found: Found, Features { geometry, encoder, .. }: &Features) -> String {
    let target = |(scores, floor): (&Scores, Option<&Scores>)| {
        let question = &scores.question;
        let metric = |predictor| question.metric(R2Definition::PerOutput, predictor);
        let trained = |fits: &[Fit], predictor| {
            let all = test_scores(fits);
            let mut of_probe = found.with_intervals(question, metric(predictor), &mean_r2(&all));
            of_probe.insert("seeds".into(), all.iter().map(|r2| Value::Object(r2_json(r2))).collect());
            of_probe
        };
        let mlp = trained(&scores.mlp, Predictor::Mlp);
        let mut linear = found.with_intervals(question, metric(Predictor::Linear), &scores.linear.test);
        linear.insert("lambda".into(), json!(scores.linear.lambda));
        let mut probes = json!({"mlp": mlp, "linear": linear, "constant": r2_json(&scores.constant)});
        let is_attentive = !scores.attentive.is_empty();
        if is_attentive {
            probes["attentive"] = json!(trained(&scores.attentive, Predictor::Attentive));
        }
        if let Some(shifted) = &scores.shifted {
            probes["shifted"] = shifted_json(found, question, shifted);
        }
        if let Some(Scores { mlp, linear, attentive, shifted, .. }) = floor {
            let mut floor = json!({"mlp": mean_json(mlp), "linear": r2_json(&linear.test)});
            if is_attentive {
                floor["attentive"] = json!(mean_json(attentive));
            }
            if let Some(ShiftedScores { mlp, linear, .. }) = shifted {
                floor["shifted"] =
                    json!({"mlp": r2_json(&mean_r2(&shifted_scores(mlp))), "linear": r2_json(&linear.r2)});
            }
            probes["random_weights"] = floor;
        }
        (question.name(), probes)
    };
    let mut all = json!({"targets": found.all().map(target).collect::<Map<_, _>>()});
    if !geometry.is_empty() {
        let values = geometry.iter().map(|value| (value.metric.clone(), json!(value.value))).collect();
        all[TaskFamily::Representation.name()] = Value::Object(values);
    }
    if let Some(encoder) = encoder {
        all["encoder"] = json!(encoder);
    }
    format!("{all:#}\n")
}

/// The scores of the same probes on pairs from shifted ranges.
fn shifted_json(
    found: Found,
    question: &Question,
    ShiftedScores { mlp, linear, constant }: &ShiftedScores,
) -> Value {
    let of_probe = |r2: &R2, predictor| {
        found.with_intervals(question, question.shifted_metric(R2Definition::PerOutput, predictor), r2)
    };
    json!({
        "mlp": of_probe(&mean_r2(&shifted_scores(mlp)), Predictor::Mlp),
        "linear": of_probe(&linear.r2, Predictor::Linear),
        "constant": r2_json(constant),
    })
}

fn as_table(found: Found, geometry: &[MeasuredValue]) -> String {
    let mut table = Table::new();
    let header = ["target", "probe", "R2 pooled", "R2 per output", "R2 of each output"];
    table.load_preset(ASCII_MARKDOWN).set_header(header);
    for (scores, floor) in found.all() {
        let name = scores.question.name();
        for (probe, all, metric) in rows(scores, floor).into_iter().filter(|(_, all, _)| !all.is_empty()) {
            let outputs: Vec<String> = mean_r2(&all).outputs.into_iter().map(number).collect();
            let spread = |value: fn(&R2) -> Option<f64>, definition| {
                let interval =
                    metric.and_then(|of| found.interval(&scores.question, R2Metric { definition, ..of }));
                cell(&all.iter().map(value).collect::<Vec<_>>(), interval)
            };
            table.add_row([
                &*one_line(&name),
                probe,
                &spread(|r2| r2.pooled, R2Definition::Pooled),
                &spread(|r2| r2.per_output, R2Definition::PerOutput),
                &outputs.join(" "),
            ]);
        }
    }
    let geometry: Vec<String> =
        geometry.iter().map(|value| format!("{} {:.3}", value.metric, value.value)).collect();
    let geometry = if geometry.is_empty() { String::new() } else { format!("y: {}\n", geometry.join(", ")) };
    format!("{table}\n{geometry}")
}

/// The rows of a question: a name, the R2 of every seed (none if it was not measured), and the metric whose
/// interval is shown beside it.
fn rows(scores: &Scores, floor: Option<&Scores>) -> Vec<(&'static str, Vec<R2>, Option<R2Metric>)> {
    let metric = |predictor| Some(scores.question.metric(R2Definition::PerOutput, predictor));
    let of_floor = |floor: &Scores| [&floor.mlp, &floor.attentive].map(|fits| test_scores(fits));
    let [random_mlp, random_attentive] = floor.map(of_floor).unwrap_or_default();
    let mut rows = vec![
        ("MLP", test_scores(&scores.mlp), metric(Predictor::Mlp)),
        ("attentive", test_scores(&scores.attentive), metric(Predictor::Attentive)),
        ("linear", vec![scores.linear.test.clone()], metric(Predictor::Linear)),
        ("constant", vec![scores.constant.clone()], None),
        ("MLP, random weights", random_mlp, None),
        ("attentive, random weights", random_attentive, None),
    ];
    if let Some(ShiftedScores { mlp, linear, constant }) = &scores.shifted {
        let metric = |predictor| Some(scores.question.shifted_metric(R2Definition::PerOutput, predictor));
        let random = floor.and_then(|floor| floor.shifted.as_ref());
        rows.extend([
            ("MLP, shifted", shifted_scores(mlp), metric(Predictor::Mlp)),
            ("linear, shifted", vec![linear.r2.clone()], metric(Predictor::Linear)),
            ("constant, shifted", vec![constant.clone()], None),
            (
                "MLP, shifted, random weights",
                random.map_or(vec![], |random| shifted_scores(&random.mlp)),
                None,
            ),
        ]);
    }
    rows
}

fn shifted_scores(all: &[TestScore]) -> Vec<R2> {
    all.iter().map(|score| score.r2.clone()).collect()
}

/// A value, with its standard deviation if there are several seeds of the probe, and its interval over the
/// test objects.
fn cell(values: &[Option<f64>], interval: Option<(f64, f64)>) -> String {
    let interval = interval.map(|(low, high)| format!(" [{low:.3}, {high:.3}]")).unwrap_or_default();
    format!("{}{interval}", mean_and_std(values))
}

fn mean_and_std(values: &[Option<f64>]) -> String {
    let Some(values) = values.iter().copied().collect::<Option<Vec<f64>>>() else { return number(None) };
    match Summary::from_values(&values) {
        Ok(Summary { mean, std: Some(std), .. }) => format!("{mean:.3} ± {std:.3}"),
        Ok(Summary { mean, .. }) => number(Some(mean)),
        Err(_) => number(None),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("undefined".into(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_undefined_where_one_seed_is() {
        let r2 = |first: f64, second: Option<f64>| R2 {
            pooled: Some(first),
            per_output: second,
            outputs: vec![Some(first), second],
        };
        let mean = mean_r2(&[r2(0.25, Some(0.5)), r2(0.75, None)]);
        assert_eq!(mean, R2 { pooled: Some(0.5), per_output: None, outputs: vec![Some(0.5), None] });
        assert_eq!([cell(&[Some(0.5)], None), cell(&[Some(0.5), None], None)], ["0.500", "undefined"]);
        let interval = Some((0.25, 0.75));
        assert_eq!(cell(&[Some(0.25), Some(0.75)], interval), "0.500 ± 0.354 [0.250, 0.750]");
    }
}
