//! The engine as a single process.

use eqr_bench::cli::CommandLine;
use eqr_bench::failure;

fn main() {
    failure::survive_file_size_limit().expect("a signal that can be handled");
    let command = CommandLine::read().expect("signals that can be handled");
    failure::end_on_panic(String::new(), failure::end_now);
    std::process::exit(command.run(&eqr_models::Solo));
}
