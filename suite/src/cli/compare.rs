//! `eqr-bench compare`: compares a run with a recorded one.

use std::path::PathBuf;

use clap::Args;
use eqr_datasets::output::Output;
use eqr_probes::stats::Summary;

use crate::cli::force::FORCE_HELP;
use crate::console::{one_line, print_lines, print_text};
use crate::failure::{Failure, Outcome};
use crate::report::compare::{
    Anchor, Baseline, ComparedMetric, Comparison, JUNIT, Record, Thresholds, against_anchor, compare, drifts,
};

/// Exit code of a regression.
const REGRESSION: i32 = 1;

/// Options of `compare`.
#[derive(Args)]
pub struct CompareArgs {
    /// The baseline: a run's folder, its metrics.csv (quality only), or a folder of recorded runs. In a
    /// folder of recorded runs, the newest run gives the quality and each run gives one value of speed and of
    /// energy. Fewer than five pretraining seeds, or runs, are too few for a verdict.
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
    /// Smallest slow-down, or growth of the energy per view, that counts, as a fraction of the baseline's.
    #[arg(long, default_value_t = 0.03, value_parser = fraction)]
    slower: f64,
    /// Also compare with this run of a series, by the name of its folder, or with the median of its first K
    /// runs (first:K): it does not move with the weeks.
    #[arg(long, value_name = "NAME|first:K")]
    anchor: Option<Anchor>,
    /// Probability that a series without any drift raises an alarm of drift within a year of weekly runs,
    /// over the lines of a table.
    #[arg(long, default_value_t = 0.05, value_parser = probability)]
    drift: f64,
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

pub(super) fn probability(text: &str) -> Result<f64, String> {
    fraction(text).ok().filter(|&value| value > 0.0).ok_or_else(|| "expected a number between 0 and 1".into())
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
    let thresholds = Thresholds { alpha, tolerance, slower };
    let mut found = compare(&baseline, &candidate, &thresholds).map_err(Failure::bad_input)?;
    if let Some(anchor) = &args.anchor {
        let anchored = against_anchor(&baseline, &candidate, anchor, &thresholds);
        found.metrics.extend(anchored.map_err(Failure::bad_input)?);
    }
    found.metrics.extend(drifts(&baseline, &candidate, args.drift).map_err(Failure::bad_input)?);
    if let Some(output) = junit {
        output.write(found.as_junit().map_err(Failure::run)?.as_bytes()).map_err(Failure::run)?;
    }
    match args.json {
        true => print_text(&found.as_json()),
        false => print_lines(as_table(&found)),
    }
    .map_err(Failure::run)?;
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

/// A line of the table.
type Line = [String; 6];

/// The lines of a table with columns as wide as their longest text, and the notes below it. They are made one
/// by one, because files of others may have a million.
fn as_table(found: &Comparison) -> impl Iterator<Item = String> + '_ {
    let header = ["", "baseline", "candidate", "gain", "p of a drop", "verdict"].map(str::to_owned);
    let mut widths = header.each_ref().map(|text| width(text));
    for metric in &found.metrics {
        widths.iter_mut().zip(&line(metric)).for_each(|(widest, text)| *widest = width(text).max(*widest));
    }
    let aligned = move |line: Line| {
        let cells = line.iter().zip(widths).map(|(text, widest)| {
            let space = " ".repeat(widest - width(text));
            format!(" {text}{space} |")
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = format!("|{}\n", widths.map(|widest| "-".repeat(widest + 2) + "|").concat());
    let head = (!found.metrics.is_empty()).then(|| aligned(header) + &rule);
    let lines = found.metrics.iter().map(line).map(aligned);
    let notes = found.notes.iter().map(|note| format!("note: {}\n", one_line(note)));
    head.into_iter().chain(lines).chain(notes)
}

fn line(metric: &ComparedMetric) -> Line {
    let ComparedMetric { name, baseline, candidate, gain, p_drop, verdict, .. } = metric;
    let mean = |summary: &Summary| match summary.std {
        Some(std) => format!("{:.4} ± {std:.4} (n = {})", summary.mean, summary.n),
        None => format!("{:.4} (n = {})", summary.mean, summary.n),
    };
    let p = p_drop.map_or("-".to_owned(), |p| format!("{p:.4}"));
    let (name, verdict) = (one_line(name).into_owned(), verdict.text().to_owned());
    [name, mean(baseline), mean(candidate), format!("{gain:+.4}"), p, verdict]
}

fn width(text: &str) -> usize {
    text.chars().count()
}
