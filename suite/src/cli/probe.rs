//! `eqr-bench probe`: what an encoder's features, or features from anywhere, hold of the transformation between two views.

use std::num::NonZeroUsize;

use anyhow::{Result, ensure};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use eqr_datasets::Kind;
use eqr_datasets::transforms::Transform;
use eqr_models::{Compute, Solo};
use eqr_probes::mlp::{Precision as ProbePrecision, ProbeConfig, fit_with_progress};
use eqr_probes::Problem;
use eqr_probes::r2::{R2, constant_predictor};
use eqr_probes::stats::Summary;
use eqr_probes::{quaternion, ridge};
use serde_json::{Map, Value, json};
use tch::Device;

use super::input::{Input, Source};
use super::{print_text, probes_failure};
use crate::cluster::precision::Precision;
use crate::cluster::worker::Worker;
use crate::console::{Progress, say};
use crate::data::open::OpenedPack;
use crate::data::pairs::PairSource;
use crate::failure::{Failure, Outcome};
use crate::measure::feature_file::FeatureFile;
use crate::measure::probe::{Evaluation, ProbeScope};
use crate::measure::regression::Regression;
use crate::suite_file::suite::{Probe, ReadoutHalf, Transforms};

/// Options of `probe`; the defaults are the protocol's.
#[derive(Args)]
pub struct ProbeArgs {
    #[command(flatten)]
    input: Input,
    /// What makes view 2 of photographs, each alone: some of rotation, translation, crop, flip, color, blur, with commas between; default: all.
    #[arg(long, value_delimiter = ',', requires = "encoder")]
    transforms: Option<Vec<Transform>>,
    /// Parts of y that are probed, of an encoder of ours: some of all, inv, equi, with commas between.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    parts: Vec<ReadoutHalf>,
    /// Also measure pairs of photographs that differ by all transforms at once.
    #[arg(long, requires = "encoder")]
    combined: bool,
    /// Training pairs that an encoder is asked for.
    #[arg(long, default_value_t = 40_000, value_parser = at_least_two)]
    train_pairs: usize,
    /// Test pairs that an encoder is asked for.
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
    /// Pairs of a step.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Learning rate of the MLP probe.
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// Number type of the MLP probe's products; linear probes are f64.
    #[arg(long, value_enum, default_value = "fp32")]
    precision: Precision,
    /// Threads; default: all allowed cores.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What one target's probes score on the test split.
struct Scores {
    name: String,
    /// One for each seed.
    mlp: Vec<R2>,
    linear: R2,
    lambda: Vec<f64>,
    constant: R2,
}

/// Trains the probes and prints their R2.
///
/// # Errors
/// A feature file or an option that cannot be used (2), a probe that diverged (3).
pub fn run(args: &ProbeArgs) -> Outcome<()> {
    let worker = Worker::start(&Solo, args.threads)?;
    let Asked { problems, geometry } = ask(args, worker.device).map_err(Failure::bad_input)?;
    let problems = with_canonical(problems);
    let scores = score(args, &problems, args.precision.resolve(worker.device))?;
    undefined_targets(&scores);
    let text = if args.json { as_json(&scores, &geometry) } else { as_table(&scores, &geometry) };
    print_text(&text).map_err(Failure::run)
}

fn at_least_two(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count >= 2).ok_or_else(|| "expected a number of at least 2".into())
}

/// What is probed, and what is known without a probe.
struct Asked {
    problems: Vec<Problem>,
    /// Measures of an encoder's y alone, by name.
    geometry: Vec<(String, f64)>,
}

/// One problem for each target of a feature file, or for each transform of an encoder's images and each part of y.
fn ask(args: &ProbeArgs, device: Device) -> Result<Asked> {
    let parts = &args.parts;
    let whole = parts == &[ReadoutHalf::All];
    let (encoder, pack) = match args.input.open(device)? {
        Source::Features(path) => {
            let sets = FeatureFile::open(path)?.regressions(device)?;
            ensure!(whole, "--parts: features have no halves");
            return Ok(Asked { problems: sets.iter().map(Regression::problem).collect(), geometry: Vec::new() });
        }
        Source::Encoder(encoder, pack) => (encoder, *pack),
    };
    ensure!(whole || encoder.has_halves(), "--parts: this encoder's features have no halves, ours have");
    let of_photographs = args.transforms.is_some() || args.combined;
    ensure!(
        pack.kind == Kind::Photographs || !of_photographs,
        "--transforms, --combined: {} has renders, whose pairs are two views of an object",
        pack.path().display()
    );
    let active = args.transforms.clone().unwrap_or_else(|| Transform::ALL.to_vec());
    let transforms = Transforms { active, ..Transforms::default() };
    let probe = Probe {
        train_pairs: args.train_pairs,
        test_pairs: args.test_pairs,
        combined: args.combined,
        ..Probe::default()
    };
    let opened = OpenedPack { pack, side: encoder.side() };
    let source = |split: &str| {
        let source = PairSource::new(&opened, split, &transforms, device)?;
        Ok::<_, anyhow::Error>(source.normalised_by(encoder.normalisation))
    };
    let (train, test) = (source("train")?, source("test")?);
    say(&format!("features of {}", opened.pack.path().display()));
    let evaluation =
        Evaluation { transforms: &transforms, probe: &probe, pack: &opened.pack, train: &train, test: &test };
    let sets = tch::no_grad(|| evaluation.sets(&*encoder, ProbeScope::Full))?;
    let geometry = tch::no_grad(|| evaluation.geometry(&*encoder))?;
    // the name says the part
    let of_part = |&part: &ReadoutHalf| sets.iter().map(move |set| set.problem_of(part));
    Ok(Asked {
        problems: parts.iter().flat_map(of_part).collect(),
        geometry: geometry.into_iter().map(|value| (value.metric, value.value)).collect(),
    })
}

/// Adds to each target of quaternions one whose signs are chosen so that w >= 0: q and -q are one rotation.
fn with_canonical(problems: Vec<Problem>) -> Vec<Problem> {
    let mut all = Vec::with_capacity(problems.len() + 1);
    for problem in problems {
        let rotations =
            problem.name == "rotation" && [&problem.train_t, &problem.test_t].into_iter().all(quaternion::are_unit);
        let canonical = rotations.then(|| Problem {
            name: format!("{}_canonical", problem.name),
            train_x: problem.train_x.shallow_clone(),
            train_t: quaternion::canonical(&problem.train_t),
            test_x: problem.test_x.shallow_clone(),
            test_t: quaternion::canonical(&problem.test_t),
        });
        all.push(problem);
        all.extend(canonical);
    }
    all
}

fn score(args: &ProbeArgs, problems: &[Problem], compute: Compute) -> Outcome<Vec<Scores>> {
    let config = ProbeConfig { hidden: args.hidden, epochs: args.epochs, batch: args.batch, lr: args.lr };
    let seeds: Vec<u64> = (0..args.seeds).collect();
    let precision = match compute {
        Compute::Bf16 => ProbePrecision::Bf16,
        _ => ProbePrecision::Fp32,
    };
    let progress = Progress::new("probes, epochs");
    let mut tick = |done: usize, all: usize| progress.at(done as u64, all as u64);
    let fits = fit_with_progress(precision, problems, &seeds, &config, &mut tick).map_err(probes_failure)?;
    progress.finish();
    let one = |(problem, fits): (&Problem, Vec<eqr_probes::mlp::Fit>)| {
        let linear = ridge::fit(problem)?;
        Ok(Scores {
            name: problem.name.clone(),
            mlp: fits.into_iter().map(|fit| fit.test).collect(),
            linear: linear.test,
            lambda: linear.lambda,
            constant: constant_predictor(&problem.train_t, &problem.test_t)?,
        })
    };
    problems.iter().zip(fits).map(one).collect::<eqr_probes::Result<_>>().map_err(probes_failure)
}

/// Says which targets have no R2.
fn undefined_targets(scores: &[Scores]) {
    for Scores { name, constant, .. } in scores {
        let still: Vec<String> =
            (0..constant.outputs.len()).filter(|&j| constant.outputs[j].is_none()).map(|j| j.to_string()).collect();
        if !still.is_empty() {
            say(&format!(
                "note: target {name}: column {} does not vary on the test split: its R2 is undefined",
                still.join(", ")
            ));
        }
    }
}

/// Mean over the seeds where it is defined.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

fn mean_r2(fits: &[R2]) -> R2 {
    R2 {
        pooled: mean(fits.iter().map(|r2| r2.pooled)),
        per_output: mean(fits.iter().map(|r2| r2.per_output)),
        outputs: (0..fits[0].outputs.len()).map(|j| mean(fits.iter().map(|r2| r2.outputs[j]))).collect(),
    }
}

fn r2_json(r2: &R2) -> Map<String, Value> {
    let value = json!({"r2_pooled": r2.pooled, "r2_per_output": r2.per_output, "outputs": r2.outputs});
    value.as_object().expect("an object").clone()
}

fn as_json(scores: &[Scores], geometry: &[(String, f64)]) -> String {
    let targets: Map<String, Value> = scores
        .iter()
        .map(|scores| {
            let mut mlp = r2_json(&mean_r2(&scores.mlp));
            mlp.insert("seeds".into(), scores.mlp.iter().map(|r2| Value::Object(r2_json(r2))).collect());
            let mut linear = r2_json(&scores.linear);
            linear.insert("lambda".into(), json!(scores.lambda));
            (scores.name.clone(), json!({"mlp": mlp, "linear": linear, "constant": r2_json(&scores.constant)}))
        })
        .collect();
    let mut all = json!({ "targets": targets });
    if !geometry.is_empty() {
        all["representation"] = geometry.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    }
    format!("{all:#}\n")
}

fn as_table(scores: &[Scores], geometry: &[(String, f64)]) -> String {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "target",
        "probe",
        "R2 pooled",
        "R2 per output",
        "R2 of each output",
    ]);
    for Scores { name, mlp, linear, constant, .. } in scores {
        for (probe, fits) in [
            ("MLP", mlp.as_slice()),
            ("linear", std::slice::from_ref(linear)),
            ("constant", std::slice::from_ref(constant)),
        ] {
            let outputs: Vec<String> = mean_r2(fits).outputs.into_iter().map(number).collect();
            let spread = |of: fn(&R2) -> Option<f64>| cell(&fits.iter().map(of).collect::<Vec<_>>());
            table.add_row([name, probe, &spread(|r2| r2.pooled), &spread(|r2| r2.per_output), &outputs.join(" ")]);
        }
    }
    let geometry: Vec<String> = geometry.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
    let geometry = if geometry.is_empty() { String::new() } else { format!("y: {}\n", geometry.join(", ")) };
    format!("{table}\n{geometry}")
}

/// A value, with its standard deviation over the seeds where there are several.
fn cell(values: &[Option<f64>]) -> String {
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
