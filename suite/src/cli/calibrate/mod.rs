//! `eqr-bench calibrate`: what the probes read of encoders whose attainable R2 is known in closed form.

mod as_csv;
mod as_json;
mod calibrated;
mod terminal;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use eqr_datasets::Pack;
use eqr_datasets::output::{Output, OutputKind};
use eqr_models::Solo;
use eqr_probes::mlp::ProbeConfig;
use tch::Device;

use crate::cli::calibrate::calibrated::Calibrated;
use crate::cli::force::FORCE_HELP;
use crate::cli::probe::at_least_two;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::worker::Worker;
use crate::console::{print_text, say};
use crate::data::open::{OpenedPack, render};
use crate::data::pairs::PairSource;
use crate::failure::{Failure, Outcome};
use crate::measure::calibration;
use crate::measure::evaluation::Evaluation;
use crate::measure::exit_code::failure;
use crate::report::calibration_figure;
use crate::suite_file::data_sets;
use crate::suite_file::data_source::Data;
use crate::suite_file::plant;
use crate::suite_file::probe::Probe;
use crate::suite_file::suite::Suite;

/// Options of `calibrate`. What is not given is as in the suite `quickstart`.
#[derive(Args)]
pub struct CalibrateArgs {
    /// Pack of renders, made by `data pack` or `data generate`; default: solids, rendered as for the suite
    /// `quickstart`.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Number of training pairs. Default of this and the following options: as in the suite `quickstart`.
    #[arg(long, value_parser = at_least_two)]
    train_pairs: Option<usize>,
    /// Number of test pairs.
    #[arg(long, value_parser = at_least_two)]
    test_pairs: Option<usize>,
    /// Number of seeds of the MLP probe: 0, 1, ...
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Passes of the MLP probe over the training pairs.
    #[arg(long)]
    epochs: Option<usize>,
    /// Width of the MLP probe's two hidden layers.
    #[arg(long)]
    hidden: Option<usize>,
    /// Pairs per step.
    #[arg(long)]
    batch: Option<usize>,
    /// Learning rate of the MLP probe.
    #[arg(long)]
    lr: Option<f64>,
    /// Length of y of the planted encoders, at least 6. What carries nothing is noise.
    #[arg(long, value_parser = enough_features)]
    features: Option<usize>,
    /// Folder for calibration.csv and calibration.png.
    #[arg(long)]
    out: Option<PathBuf>,
    #[arg(long, requires = "out", help = FORCE_HELP)]
    force: bool,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Tables of calibrations among the files that may be replaced.
const TABLE: OutputKind = OutputKind {
    name: "a table of a calibration",
    begins: |start| start.starts_with(as_csv::COLUMNS.join(",").as_bytes()),
};

/// The files in the folder of `--out`.
struct Outputs {
    table: Output,
    curves: Output,
}

impl Outputs {
    fn open(folder: &Path, args: &CalibrateArgs) -> Result<Outputs> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let inputs: Vec<&Path> = args.data.iter().map(PathBuf::as_path).collect();
        let output = |name: &str, kind| Output::new(&folder.join(name), kind, &inputs, args.force);
        Ok(Outputs {
            table: output("calibration.csv", &TABLE)?,
            curves: output("calibration.png", &OutputKind::PNG)?,
        })
    }

    fn write(&self, Calibrated { data, calibration, .. }: &Calibrated) -> Result<()> {
        self.table.write(as_csv::text(calibration)?.as_bytes())?;
        let title = format!("{data}: what probes read of planted encoders (95% over test objects)");
        let curves = calibration_figure(&title, calibration)?.context("no reading to draw")?;
        Ok(self.curves.write(&curves)?)
    }
}

/// Probes all planted encoders and prints the calibration.
///
/// # Errors
/// A pack or an option that cannot be used (2), a probe that diverged, a file that cannot be written (3).
pub fn run(args: &CalibrateArgs) -> Outcome<()> {
    let worker = Worker::start(&Solo, args.compute)?;
    let outputs = args.out.as_deref().map(|folder| Outputs::open(folder, args)).transpose();
    let outputs = outputs.map_err(Failure::bad_input)?;
    let calibrated = calibrated(args, worker.device).map_err(failure)?;
    if let (Some(outputs), Some(folder)) = (&outputs, &args.out) {
        outputs.write(&calibrated).map_err(Failure::run)?;
        say(&format!("written to {}", folder.display()));
    }
    let text = if args.json { as_json::text(&calibrated) } else { terminal::text(&calibrated) };
    print_text(&text).map_err(Failure::run)
}

fn calibrated(args: &CalibrateArgs, device: Device) -> Result<Calibrated> {
    let suite = quickstart();
    let rendered = tempfile::tempdir().context("cannot make a temporary folder")?;
    let pack = match (&args.data, &suite.data) {
        (Some(path), _) => Pack::open(path)?,
        (None, Data::Solids { spec }) => {
            let path = rendered.path().join("solids.h5");
            render(spec, &path)?;
            Pack::open(&path)?
        }
        (None, Data::Pack { .. }) => unreachable!("the quickstart renders its images"),
    };
    let Some(side) = pack.splits[0].side() else {
        bail!(
            "{} has images of several sizes or that are no squares\nhint: `data pack --side N` makes squares",
            pack.path().display()
        );
    };
    let probe = probe(args, &suite.probe);
    let opened = OpenedPack { pack, side };
    let source = |split: &str| PairSource::new(&opened, split, &suite.transforms, device);
    let (train, test) = (source("train")?, source("test")?);
    let evaluation = Evaluation {
        transforms: &suite.transforms,
        probe: &probe,
        pack: &opened.pack,
        train: &train,
        test: &test,
        resamples: true,
    };
    let features = args.features.unwrap_or(suite.model.out as usize);
    let calibration = calibration::measure(&evaluation, features)?;
    Ok(Calibrated { data: opened.pack.name.clone(), features, probe, calibration })
}

fn quickstart() -> Suite {
    let mut sub_suites = data_sets::load("quickstart", &[], &[]).expect("the preset is whole");
    sub_suites.remove(0).suite
}

/// The probe of the suite with the options that are given.
fn probe(args: &CalibrateArgs, suite: &Probe) -> Probe {
    let ProbeConfig { hidden, epochs, batch, lr } = suite.regression;
    Probe {
        train_pairs: args.train_pairs.unwrap_or(suite.train_pairs),
        test_pairs: args.test_pairs.unwrap_or(suite.test_pairs),
        seeds: args.seeds.unwrap_or(suite.seeds),
        regression: ProbeConfig {
            hidden: args.hidden.unwrap_or(hidden),
            epochs: args.epochs.unwrap_or(epochs),
            batch: args.batch.unwrap_or(batch),
            lr: args.lr.unwrap_or(lr),
        },
        ..suite.clone()
    }
}

/// Reads a length of y.
fn enough_features(text: &str) -> Result<usize, String> {
    let least = plant::CARRIED;
    text.parse()
        .ok()
        .filter(|&count| count >= least)
        .ok_or_else(|| format!("expected a number of at least {least}"))
}
