//! `eqr-bench report`: prints what a run wrote.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail, ensure};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::console::{Look, say};
use crate::report::formats::{CSV, FORMATS, Format, JSON, TABULAR, TERMINAL, by_name};
use crate::report::{self, Numbers, Report, ReportContext, Scope, Spread};
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
    /// Print only the tables of this section, as `--format csv` names them.
    #[arg(long, value_name = "SECTION", value_parser = section_parser(), conflicts_with_all = ["full", "json", "table"])]
    only: Option<&'static str>,
    /// Print only these columns, separated by commas and in this order: headings such as `rotation R2`, or
    /// their beginning (`rotation`). Tables without any of them are left out. May be given more than once.
    #[arg(long, value_name = "LIST", conflicts_with = "json")]
    columns: Vec<String>,
    /// Number of decimals; default: 3, and 1 of a percentage.
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=12), conflicts_with = "json")]
    digits: Option<u8>,
    /// Print R2, accuracies and their differences in percent.
    #[arg(long, conflicts_with = "json")]
    percent: bool,
    /// What stands beside a mean; default: both, and the standard deviation in `--format tabular`.
    #[arg(long, value_enum, conflicts_with = "json")]
    spread: Option<Spread>,
}

fn format_parser() -> impl TypedValueParser<Value = &'static dyn Format> {
    let names = PossibleValuesParser::new(FORMATS.iter().map(|format| format.name()));
    names.map(|name| by_name(&name).expect("one of the possible values"))
}

fn section_parser() -> impl TypedValueParser<Value = &'static str> {
    let names = PossibleValuesParser::new(report::names_of_sections());
    names.map(|name| {
        report::names_of_sections().into_iter().find(|own| *own == name).expect("one of the possible values")
    })
}

impl ReportArgs {
    fn format(&self) -> &'static dyn Format {
        if self.json { JSON } else { self.format }
    }

    fn is_for_terminal(&self) -> bool {
        self.format().name() == TERMINAL.name()
    }

    fn scope(&self) -> Scope {
        match (self.table, self.only) {
            (Some(number), _) => Scope::Mirroring(number),
            (None, Some(section)) => Scope::Section(section),
            (None, None) if self.is_for_terminal() && !self.full => Scope::Headline,
            (None, None) if self.format().name() == TABULAR.name() => Scope::Scores,
            (None, None) => Scope::All,
        }
    }

    /// How numbers are written. Programs get them whole.
    fn numbers(&self) -> Result<Numbers> {
        let numbers =
            Numbers { digits: self.digits.map(usize::from), percent: self.percent, spread: self.spread };
        let format = self.format().name();
        if [CSV.name(), JSON.name()].contains(&format) && numbers != Numbers::default() {
            bail!(
                "--digits, --percent and --spread do not change --format {format}\nhint: it has every number \
                 as it was measured; leave these options out"
            );
        }
        Ok(numbers)
    }
}

/// Prints the report in the requested format.
///
/// # Errors
/// A folder that holds no run; a table that the run does not mirror, a section or column that it does not
/// have; cells with problems, after the report.
pub fn run(args: &ReportArgs) -> Result<()> {
    let numbers = args.numbers()?;
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
    let report = Report {
        folder: &folder,
        cells: &cells,
        contexts: &contexts,
        scope: args.scope(),
        columns: &args.columns,
        problems: &problems,
        numbers,
        look: Look::of_stdout(),
    };
    report.print(args.format())?;
    if report.scope == Scope::Headline {
        say(&report::where_all_is(&folder));
    }
    ensure!(problems.is_empty(), incomplete);
    Ok(())
}
