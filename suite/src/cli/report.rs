//! `eqr-bench report`: prints what a run wrote.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};

use crate::console::print_text;
use crate::report::{self, ReportContext};
use crate::run_folder::folder::RunFolder;

/// Options of `report`.
#[derive(Args)]
pub struct ReportArgs {
    /// A run's folder.
    dir: PathBuf,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "terminal")]
    format: FormatArg,
    /// Number of the paper's table; default: all that the suite mirrors.
    #[arg(long)]
    table: Option<u8>,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    Terminal,
    Markdown,
    Latex,
    Csv,
    Html,
}

/// Prints the report in the format that was asked for.
///
/// # Errors
/// A folder that holds no run, a table that the run does not mirror.
pub fn run(args: &ReportArgs) -> Result<()> {
    let folder = RunFolder::new(&args.dir);
    let all = report::stored_contexts(&folder)?;
    let wanted =
        |context: &&ReportContext| args.table.is_none_or(|number| context.mirrored().contains(&number));
    let contexts: Vec<&ReportContext> = all.iter().filter(wanted).collect();
    if let (true, Some(number)) = (contexts.is_empty(), args.table) {
        let has: BTreeSet<u8> = all.iter().flat_map(ReportContext::mirrored).collect();
        let has: Vec<String> = has.iter().map(|number| format!("Table {number}")).collect();
        let has = if has.is_empty() { "none of the paper's tables".to_owned() } else { has.join(", ") };
        return Err(anyhow!("{} mirrors {has}, not Table {number}", args.dir.display()));
    }
    let (cells, problems) = folder.readable_cells()?;
    let problems: Vec<String> = problems.into_iter().map(|problem| format!("left out: {problem}")).collect();
    problems.iter().for_each(|problem| eprintln!("warning: {problem}"));
    let format = match args.format {
        FormatArg::Terminal => report::Format::Terminal,
        FormatArg::Markdown => report::Format::Markdown,
        FormatArg::Latex => report::Format::Latex,
        FormatArg::Csv => report::Format::Csv,
        FormatArg::Html => {
            return print_text(&report::page(&folder, &cells, &contexts, args.table, &problems)?);
        }
    };
    print_text(&match args.table {
        Some(number) => report::render_table(&cells, &contexts, number, format)?,
        None => report::render(&cells, &contexts, format)?,
    })
}
