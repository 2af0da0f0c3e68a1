//! The engine as a single process.

fn main() {
    eqr_bench::failure::survive_file_size_limit().expect("a signal that can be handled");
    eqr_bench::failure::end_on_panic(String::new(), |code| std::process::exit(code));
    std::process::exit(eqr_bench::cli::main(&eqr_models::Solo));
}
