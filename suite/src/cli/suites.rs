//! `eqr-bench suites`: the suites that ship with the program.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::console::print_text;
use crate::suite_file::data_sets;
use crate::suite_file::data_source::Data;
use crate::suite_file::preset_head::PresetHead;
use crate::suite_file::presets::{PRESETS, read};
use crate::suite_file::suite::Suite;
use crate::suite_file::{reference, schema};

/// Options of `suites`.
#[derive(Args)]
pub struct SuitesArgs {
    #[command(subcommand)]
    command: Option<SuitesCommand>,
}

#[derive(Subcommand)]
enum SuitesCommand {
    /// Print the text of a suite.
    Show {
        /// A preset or a file.
        name: String,
    },
    /// Print the JSON schema of suite files, for editors.
    Schema,
    /// Print the reference of all keys of a suite, as Markdown.
    Keys,
}

/// Prints the list or a text.
///
/// # Errors
/// No such suite.
pub fn run(args: &SuitesArgs) -> Result<()> {
    match &args.command {
        Some(SuitesCommand::Show { name }) => print_text(&read(name)?.0),
        Some(SuitesCommand::Schema) => print_text(&schema::text()),
        Some(SuitesCommand::Keys) => print_text(&reference::page()),
        None => print_text(&list()?),
    }
}

/// Every preset with its cost, its data and what it is.
fn list() -> Result<String> {
    let mut text = String::new();
    for (name, preset) in PRESETS {
        let suites = data_sets::load(name, &[], &[])?;
        let files: BTreeSet<&str> = suites.iter().flat_map(|sub_suite| files(&sub_suite.suite)).collect();
        let needs = match files.len() {
            0 => "no data".to_owned(),
            1..=3 => Vec::from_iter(files).join(", "),
            count => format!("{count} packs"),
        };
        let PresetHead { summary, cost } = PresetHead::of(preset).expect("a test reads every head");
        text += &format!("{name}\n    {summary}\n    cost: {cost}; needs {needs}\n");
    }
    text += "\n`eqr-bench suites show NAME` prints one, `eqr-bench init FILE --from NAME` makes one of your own.\n";
    Ok(text)
}

/// The packs that a suite needs.
fn files(suite: &Suite) -> Vec<&str> {
    let own = match &suite.data {
        Data::Solids { .. } => None,
        Data::Pack { file, .. } => Some(file.as_str()),
    };
    let transfer = suite.transfer.iter().map(|set| set.file.as_str());
    let segmentation = suite.segmentation.iter().map(|set| set.file.as_str());
    own.into_iter().chain(transfer).chain(segmentation).collect()
}
