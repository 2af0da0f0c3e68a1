//! Where libtorch is.
//!
//! The places are searched in this order: `$LIBTORCH`; a `.libtorch` folder beside or above the launcher
//! (which `make setup` fills); the `torch` package of `python3`. The first one that exists must be usable: a
//! wrong version is an error, and the search does not continue.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::helper;
use crate::problem::Problem;

/// The libtorch series that the engine is compiled against.
const SERIES: &str = "2.11";

/// A libtorch of the right version.
pub struct Libtorch {
    /// Its folder, with links resolved. `.libtorch` often holds only links to Python's `torch`. Only the
    /// folder of that package holds the CUDA libraries, which the engine loads if they exist.
    pub root: PathBuf,
    pub version: String,
    /// Folders for the loader, in order of preference.
    lib_folders: Vec<PathBuf>,
}

impl Libtorch {
    /// # Errors
    /// No libtorch, or the first one found is not usable.
    pub fn find(launcher: &Path) -> Result<Self, Problem> {
        if let Some(given) = env::var_os("LIBTORCH").filter(|value| !value.is_empty()) {
            let hint = format!(
                "set LIBTORCH to a libtorch {SERIES} (the folder that holds lib/), or unset it to use the \
                 one of `make setup`"
            );
            return Self::open(Path::new(&given), "$LIBTORCH").map_err(|error| Problem::new(error, hint));
        }
        let folders = launcher.ancestors().skip(1).map(|folder| folder.join(".libtorch"));
        if let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) {
            return Self::open(&folder, "libtorch")
                .map_err(|error| Problem::new(error, "run `make setup` in the eqr-bench checkout again"));
        }
        let not_found = |python: String| {
            let error = format!(
                "libtorch {SERIES} not found: $LIBTORCH is not set, there is no .libtorch folder beside or \
                 above {}, and {python}",
                launcher.display()
            );
            let hint = format!(
                "run `make setup` in the eqr-bench checkout, or set LIBTORCH to a libtorch {SERIES} folder"
            );
            Problem::new(error, hint)
        };
        let package = python_torch().ok_or_else(|| not_found("python3 has no torch".to_owned()))?;
        Self::open(&package, "python3's torch").map_err(not_found)
    }

    /// The libtorch in `folder`, which messages call `name`.
    fn open(folder: &Path, name: &str) -> Result<Self, String> {
        let shown = folder.display();
        let lib = fs::canonicalize(folder.join("lib"))
            .map_err(|error| format!("{name} at {shown}: no lib folder ({error})"))?;
        for file in ["libtorch.so", "libc10.so"] {
            if !lib.join(file).exists() {
                return Err(format!("{name} at {shown} is not a complete libtorch: lib/{file} is missing"));
            }
        }
        let real_lib = fs::canonicalize(lib.join("libtorch.so"))
            .ok()
            .and_then(|file| file.parent().map(Path::to_path_buf))
            .filter(|folder| folder.join("libc10.so").exists())
            .unwrap_or_else(|| lib.clone());
        let root = real_lib.parent().unwrap_or(folder).to_path_buf();

        // the real folder first: a python package may have been upgraded since the links to it were made
        let Some(version) = version_in(&root).or_else(|| version_in(folder)) else {
            return Err(format!(
                "{name} at {shown} does not say its version (no build-version, version.py or version)"
            ));
        };
        if version != SERIES && !version.starts_with(&format!("{SERIES}.")) {
            return Err(format!("{name} at {shown} is version {version}; eqr-bench needs {SERIES}"));
        }
        let mut lib_folders = vec![real_lib];
        if lib_folders[0] != lib {
            lib_folders.push(lib);
        }
        Ok(Libtorch { root, version, lib_folders })
    }

    /// The value of `LD_LIBRARY_PATH`: this libtorch, then the libraries of a bundle (`lib/` beside the
    /// launcher), then the inherited folders.
    ///
    /// # Errors
    /// A path with a colon.
    pub fn loader_path(&self, launcher: &Path) -> Result<OsString, Problem> {
        let bundled = launcher.parent().map(|folder| folder.join("lib")).filter(|lib| lib.is_dir());
        let inherited = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let inherited = env::split_paths(&inherited).filter(|folder| !folder.as_os_str().is_empty());
        env::join_paths(self.lib_folders.iter().cloned().chain(bundled).chain(inherited)).map_err(|_| {
            Problem::new(
                format!("the path {} contains a colon, which the loader cannot use", self.root.display()),
                "move libtorch, or the checkout, to a path without a colon",
            )
        })
    }
}

/// Version of the libtorch in `root`: `build-version` of the official archives, `version.py` of the python
/// package, `version` of `make setup`.
fn version_in(root: &Path) -> Option<String> {
    let plain = |name: &str| fs::read_to_string(root.join(name)).ok().map(|text| text.trim().to_owned());
    let python = || {
        let text = fs::read_to_string(root.join("version.py")).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix("__version__"))?;
        Some(value.trim_matches(|c: char| c.is_whitespace() || "='\"".contains(c)).to_owned())
    };
    plain("build-version").or_else(python).or_else(|| plain("version")).filter(|version| !version.is_empty())
}

/// Folder of `python3`'s torch package. It is located, not imported: an import takes seconds and can fail for
/// other reasons.
fn python_torch() -> Option<PathBuf> {
    const LOCATE: &str = "import importlib.util, sys\n\
        sys.path[:] = [entry for entry in sys.path if entry]\n\
        spec = importlib.util.find_spec('torch')\n\
        print(spec.submodule_search_locations[0] if spec and spec.origin else '')";
    let output = helper::output(Command::new("python3").args(["-c", LOCATE])).ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(path.trim())).filter(|path| output.status.success() && !path.as_os_str().is_empty())
}
