//! `eqr-bench report`: prints what a run wrote.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::console::{print_text, say};
use crate::report::formats::{FORMATS, Format, JSON, TERMINAL, by_name};
use crate::report::{self, Report, ReportContext, Scope};
use crate::run_folder::folder::RunFolder;

/// Options of `report`.
#[derive(Args)]
pub struct ReportArgs {
    /// A run's folder.
    dir: PathBuf,
    /// Output format.
    #[arg(long, value_parser = format_parser(), default_value = "terminal")]
    format: &'static dyn Format,
    /// Print the claims and their verdicts as JSON, as `--format json` does.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print only the tables that mirror this table of the paper; default: all tables.
    #[arg(long)]
    table: Option<u8>,
    /// Print all tables to the terminal, and not only the claims and the main tables. The other formats
    /// always have all.
    #[arg(long, conflicts_with = "json")]
    full: bool,
}

fn format_parser() -> impl TypedValueParser<Value = &'static dyn Format> {
    let names = PossibleValuesParser::new(FORMATS.iter().map(|format| format.name()));
    names.map(|name| by_name(&name).expect("one of the possible values"))
}

/// Prints the report in the requested format.
///
/// # Errors
/// A folder that holds no run, a table that the run does not mirror; cells with problems, after the report.
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
    let (cells, problems) = folder.whole_cells()?;
    let problems: Vec<String> =
        problems.into_iter().map(|problem| format!("left out: {}", problem.text)).collect();
    let incomplete = format!(
        "the report is incomplete\n{}\nhint: `eqr-bench run` with the run's options makes them anew",
        problems.join("\n")
    );
    ensure!(problems.is_empty() || !cells.is_empty(), incomplete);
    let format = if args.json { JSON } else { args.format };
    let scope = match args.table {
        Some(number) => Scope::Mirroring(number),
        None if format.name() == TERMINAL.name() && !args.full => Scope::Headline,
        None => Scope::All,
    };
    let report = Report { folder: &folder, cells: &cells, contexts: &contexts, scope, problems: &problems };
    print_text(&report.render(format)?)?;
    if scope == Scope::Headline {
        say(&report::where_all_is(&folder));
    }
    ensure!(problems.is_empty(), incomplete);
    Ok(())
}
