//! The help texts of the launcher: what clap prints for each command, in one file.
//!
//! `EQR_RENEW_GOLDEN=1 cargo test --release -p eqr-bench --lib help_texts` rewrites the file.

use clap::CommandFactory;

use super::Cli;
use crate::recorded_text::held_against;

/// The names of every command that takes `--help`, one after the other: none for the program itself.
fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, names: &[String], found: &mut Vec<Vec<String>>) {
        found.push(names.to_vec());
        for command in command.get_subcommands() {
            below(command, &[names, &[command.get_name().to_owned()]].concat(), found);
        }
    }
    let mut found = Vec::new();
    below(&Cli::command(), &[], &mut found);
    found
}

/// What the engine prints for a command line that ends in a request for help.
fn printed(line: &[&str]) -> String {
    let line = ["eqr-bench"].iter().chain(line);
    Cli::command().try_get_matches_from(line).unwrap_err().render().ansi().to_string()
}

fn section(names: &[&str]) -> String {
    let line = |option: &'static str| [names, &[option]].concat();
    let [short, long] = ["-h", "--help"].map(|option| (line(option).join(" "), printed(&line(option))));
    assert_eq!(printed(&[&["help"], names].concat()), long.1, "help {}", names.join(" "));
    if short.1 == long.1 {
        format!("==> {}, {}\n{}", short.0, long.0, short.1)
    } else {
        format!("==> {}\n{}==> {}\n{}", short.0, short.1, long.0, long.1)
    }
}

#[test]
fn the_launcher_prints_what_the_engine_would() {
    let sections = commands().into_iter().map(|names| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        section(&names)
    });
    held_against("suite/src/bin/launcher/help.txt", &sections.collect::<String>());
    assert_eq!(printed(&[]), printed(&["-h"]), "without a subcommand");
}
