//! Which engine to start, and whether the loader finds its libraries.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::helper;
use crate::mpi_launch::is_mpi_launch;
use crate::problem::Problem;

/// The engine for this kind of launch, in the launcher's folder.
///
/// # Errors
/// An engine that was not built.
pub fn find(launcher: &Path) -> Result<PathBuf, Problem> {
    let (name, hint) = if is_mpi_launch() {
        (
            "eqr-bench-mpi",
            "this is an MPI launch, and the build has no MPI engine: install MPI (Debian, Ubuntu: \
             libopenmpi-dev openmpi-bin libclang-dev) and run `make build`, or start it without mpirun",
        )
    } else {
        ("eqr-bench-solo", "build it: `make build`, or `cargo build --release` (which builds all binaries)")
    };
    let engine = launcher.with_file_name(name);
    if engine.is_file() {
        return Ok(engine);
    }
    Err(Problem::new(format!("the engine {} does not exist", engine.display()), hint))
}

pub fn cannot_start(engine: &Path, failure: &io::Error) -> Problem {
    let hint = match failure.kind() {
        io::ErrorKind::WouldBlock => "raise the limit on processes (`ulimit -u`, or that of the container)",
        _ => "rebuild it: `make build`",
    };
    Problem::new(format!("cannot start {}: {failure}", engine.display()), hint)
}

/// Lets the dynamic loader list the libraries that the engine needs, without running it.
///
/// # Errors
/// Libraries that the loader does not find.
pub fn check_libraries(mut command: Command, engine: &Path, libtorch: &Path) -> Result<(), Problem> {
    let listing = helper::output(command.env("LD_TRACE_LOADED_OBJECTS", "1"))
        .map_err(|failure| cannot_start(engine, &failure))?;
    let listing = [listing.stdout, listing.stderr].concat();
    let missing = missing_libraries(&String::from_utf8_lossy(&listing));
    if missing.is_empty() {
        return Ok(());
    }
    let error = format!("{} cannot be loaded, not found: {}", engine.display(), missing.join(", "));
    Err(Problem::new(error, hint(&missing, libtorch)))
}

/// The names in lines like `libmpi.so.40 => not found`; a complaint about a version is kept unchanged.
fn missing_libraries(listing: &str) -> Vec<String> {
    let missing = listing.lines().map(str::trim).filter(|line| line.contains("not found"));
    let mut names: Vec<String> =
        missing.map(|line| line.strip_suffix(" => not found").unwrap_or(line).to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn hint(missing: &[String], libtorch: &Path) -> String {
    let needs = |prefixes: &[&str]| {
        missing.iter().any(|library| prefixes.iter().any(|prefix| library.starts_with(prefix)))
    };
    if needs(&["libmpi", "libopen-"]) {
        "install the MPI that it was built with (Debian, Ubuntu: openmpi-bin; a cluster: load its MPI \
         module), or rebuild here"
            .to_owned()
    } else if needs(&["libhdf5"]) {
        "install HDF5 (Debian, Ubuntu: libhdf5-dev; a cluster: load its HDF5 module), or rebuild here"
            .to_owned()
    } else if needs(&["libopenblas"]) {
        "install OpenBLAS (Debian, Ubuntu: libopenblas-dev; a cluster: load its OpenBLAS module), or \
         rebuild here"
            .to_owned()
    } else if needs(&["libcu", "libtorch", "libc10", "libnv", "libarm_compute"]) {
        format!(
            "the libtorch in {} is incomplete: set LIBTORCH to another one, or run `make setup`",
            libtorch.display()
        )
    } else {
        "install it, or rebuild on this machine: `make build`".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{hint, missing_libraries};

    #[test]
    fn missing_libraries_are_named_once_with_what_to_install() {
        let listing = "\tlibc.so.6 => /lib/libc.so.6 (0x1)\n\
                       \tlibmpi.so.40 => not found\n\tlibmpi.so.40 => not found\n\
                       engine: /lib/libm.so.6: version `GLIBC_2.99' not found (required by engine)\n";
        let missing = missing_libraries(listing);
        assert_eq!(missing.len(), 2);
        assert_eq!(missing[1], "libmpi.so.40");
        let hint = |library: &str| hint(&[library.to_owned()], Path::new("/opt/libtorch"));
        assert!(hint("libmpi.so.40").contains("openmpi-bin"));
        assert!(hint("libhdf5_serial.so.310").contains("libhdf5-dev"));
        assert!(hint("libopenblas.so.0").contains("libopenblas-dev"));
        for library in ["libtorch_cpu.so", "libnvpl_blas_core.so.0", "libarm_compute.so"] {
            assert!(hint(library).contains("/opt/libtorch is incomplete"), "{library}");
        }
        assert!(hint("libz.so.1").contains("rebuild on this machine"));
    }
}
