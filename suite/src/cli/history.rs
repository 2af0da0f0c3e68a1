//! `eqr-bench history`: the weeks of a series.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use eqr_datasets::output::Output;
use serde_json::json;

use crate::cli::force::FORCE_HELP;
use crate::console::print_text;
use crate::report::history::{History, PAGE, page, text};

/// Options of `history`.
#[derive(Args)]
pub struct HistoryArgs {
    /// A folder of recorded runs, which `record` fills.
    series: PathBuf,
    /// Also write a page with a drawing of every value.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[arg(long, requires = "html", help = FORCE_HELP)]
    force: bool,
    /// Probability that a series without any drift raises an alarm within a year of weekly runs, over all
    /// lines.
    #[arg(long, default_value_t = 0.05, value_parser = crate::cli::compare::probability)]
    drift: f64,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Prints the series and writes its page.
///
/// # Errors
/// A folder without recorded runs; a file that cannot be written.
pub fn run(args: &HistoryArgs) -> Result<()> {
    let output = |path: &PathBuf| Output::new(path, &PAGE, &[args.series.as_path()], args.force);
    let output = args.html.as_ref().map(output).transpose()?;
    let history = History::read(&args.series, args.drift)?;
    if let Some(output) = output {
        let name = args.series.file_name().unwrap_or(args.series.as_os_str()).to_string_lossy();
        output.write(page(&history, &name).as_bytes())?;
    }
    print_text(&if args.json { format!("{:#}\n", json!(history)) } else { text(&history) })
}
