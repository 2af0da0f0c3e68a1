//! `eqr-bench completions` and `eqr-bench man`: what shells and `man` know of the program, made from the same
//! command line as `--help`.

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::console::print_text;

/// Options of `completions`.
#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the completions of `program` for a shell.
///
/// # Errors
/// A stdout that cannot be written to.
pub fn completions(args: &CompletionsArgs, mut program: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "eqr-bench", &mut script);
    print_text(&String::from_utf8(script)?)
}

/// Prints the manual page of `program`.
///
/// # Errors
/// A stdout that cannot be written to.
pub fn manual(program: Command) -> Result<()> {
    let mut page = Vec::new();
    Man::new(program).render(&mut page)?;
    print_text(&String::from_utf8(page)?)
}
