//! `eqr-bench compare`: compares a run with a recorded one.

use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use eqr_datasets::output::Output;

use crate::cli::force::FORCE_HELP;
use crate::console::print_text;
use crate::failure::{Failure, Outcome};
use crate::report::compare::{Baseline, ComparedMetric, Comparison, JUNIT, Record, Thresholds, compare};

/// Exit code of a regression.
const REGRESSION: i32 = 1;

/// Options of `compare`.
#[derive(Args)]
pub struct CompareArgs {
    /// The baseline: a run's folder, its metrics.csv (quality only), or a folder of recorded runs. In a
    /// folder of recorded runs, the newest run gives the quality and each run gives one speed value. Fewer
    /// than five pretraining seeds, or runs, are too few for a verdict.
    baseline: PathBuf,
    /// The run to judge: its folder or its metrics.csv.
    candidate: PathBuf,
    /// Probability of a false alarm in a table (a data set with its probes, its transfer or its
    /// segmentation). The more lines a table has, the larger a drop must be to be found: with six lines and
    /// five seeds, a drop of three standard deviations is found nine times in ten.
    #[arg(long, default_value_t = 0.05, value_parser = fraction)]
    alpha: f64,
    /// Smallest drop of a metric that counts, in the metric's unit.
    #[arg(long, default_value_t = 0.0, value_parser = fraction)]
    tolerance: f64,
    /// Smallest slow-down that counts, as a fraction of the baseline's steps per second.
    #[arg(long, default_value_t = 0.03, value_parser = fraction)]
    slower: f64,
    /// Also write the verdicts as JUnit XML.
    #[arg(long)]
    junit: Option<PathBuf>,
    #[arg(long, requires = "junit", help = FORCE_HELP)]
    force: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn fraction(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value| (0.0..1.0).contains(value))
        .ok_or_else(|| "expected a number from 0 to below 1".into())
}

/// Prints the verdicts.
///
/// # Errors
/// Runs that cannot be read, a file that cannot be written (2); a regression (1), returned after the verdicts
/// are printed.
pub fn run(args: &CompareArgs) -> Outcome<()> {
    let CompareArgs { alpha, tolerance, slower, .. } = *args;
    let inputs = [args.baseline.as_path(), &args.candidate];
    let output = |path: &PathBuf| Output::new(path, &JUNIT, &inputs, args.force);
    let junit = args.junit.as_ref().map(output).transpose().map_err(Failure::bad_input)?;
    let baseline = Baseline::read(&args.baseline).map_err(Failure::bad_input)?;
    let candidate = Record::read(&args.candidate).map_err(Failure::bad_input)?;
    let found = compare(&baseline, &candidate, &Thresholds { alpha, tolerance, slower })
        .map_err(Failure::bad_input)?;
    if let Some(output) = junit {
        output.write(found.as_junit().map_err(Failure::run)?.as_bytes()).map_err(Failure::run)?;
    }
    print_text(&if args.json { found.as_json() } else { as_table(&found) }).map_err(Failure::run)?;
    if !found.regressed() {
        return Ok(());
    }
    let worse = found
        .metrics
        .iter()
        .filter(|metric| metric.verdict == crate::report::compare::Verdict::Regression)
        .count();
    let error =
        anyhow::anyhow!("{worse} of {} became worse than {}", found.metrics.len(), args.baseline.display());
    Err(Failure { error, code: REGRESSION, agreed: true })
}

fn as_table(found: &Comparison) -> String {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "",
        "baseline",
        "candidate",
        "gain",
        "p of a drop",
        "verdict",
    ]);
    for ComparedMetric { name, baseline, candidate, gain, p_drop, verdict, .. } in &found.metrics {
        let mean = |summary: &eqr_probes::stats::Summary| match summary.std {
            Some(std) => format!("{:.4} ± {std:.4} (n = {})", summary.mean, summary.n),
            None => format!("{:.4} (n = {})", summary.mean, summary.n),
        };
        let p = p_drop.map_or("-".to_owned(), |p| format!("{p:.4}"));
        table.add_row([name, &mean(baseline), &mean(candidate), &format!("{gain:+.4}"), &p, verdict.text()]);
    }
    let table = if found.metrics.is_empty() { String::new() } else { format!("{table}\n") };
    let notes = found.notes.iter().map(|note| format!("note: {note}\n")).collect::<String>();
    format!("{table}{notes}")
}
