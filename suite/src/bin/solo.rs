//! The engine as one process.

fn main() {
    std::process::exit(eqr_bench::cli::main(&eqr_models::Solo));
}
