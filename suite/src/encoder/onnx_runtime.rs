//! Finds and loads the library of ONNX Runtime: `EQR_ONNXRUNTIME`, python3's onnxruntime, or the loader's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use ort::LoadDynamicError;

/// The variable that names the library.
const VARIABLE: &str = "EQR_ONNXRUNTIME";

/// Name of the library where only the loader knows its folder.
const BY_LOADER: &str = "libonnxruntime.so";

const HINT: &str = "hint: pip install onnxruntime (for the python3 on the path), or let EQR_ONNXRUNTIME name \
                    libonnxruntime.so.<version> of that package's folder `capi` or of a release of ONNX Runtime";

/// Loads the library once a process. Returns its version.
///
/// # Errors
/// No library, one that does not load, or one that is too old.
pub fn load() -> Result<&'static str> {
    static LOADED: OnceLock<Result<String, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
        open(named, python_library).map_err(|error| error.to_string())
    });
    loaded.as_deref().map_err(|error| anyhow!("{error}\n{HINT}"))
}

/// Loads the library that is `named`, or the first one that is found.
fn open(named: Option<OsString>, of_python: impl FnOnce() -> Option<PathBuf>) -> Result<String> {
    let is_named = named.is_some();
    let path = named.map(PathBuf::from).or_else(of_python).unwrap_or_else(|| BY_LOADER.into());
    let from = if is_named { format!("{VARIABLE}={}", path.display()) } else { path.display().to_string() };
    // a relative path would be looked for beside the program
    let path = if is_named { std::path::absolute(&path)? } else { path };
    let environment = ort::init_from(&path).map_err(|error| match error {
        LoadDynamicError::Dlopen { .. } if !is_named && path == Path::new(BY_LOADER) => anyhow!(
            "ONNX models need the library of ONNX Runtime, which was not found: {VARIABLE} is not set, python3 has \
             no onnxruntime, and the loader finds no {BY_LOADER}"
        ),
        LoadDynamicError::Dlopen { error, .. } => {
            let why = anyhow::Error::new(error);
            anyhow!("{from}: the library of ONNX Runtime does not load: {why:#}")
        }
        LoadDynamicError::MissingApi { .. } => anyhow!("{from}: it is no library of ONNX Runtime"),
        LoadDynamicError::BadVersion { version_str, .. } => anyhow!(
            "{from}: ONNX Runtime {version_str} is too old, expected 1.{} or newer",
            ort::MINOR_VERSION
        ),
    })?;
    environment.with_name("eqr-bench").with_telemetry(false).commit();
    Ok(version(&path).unwrap_or_else(|| "of unknown version".to_owned()))
}

/// The version in the name of the library.
fn version(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    Some(real.file_name()?.to_str()?.strip_prefix("libonnxruntime.so.")?.to_owned())
}

/// The library in python3's package onnxruntime. The package is located, not imported.
fn python_library() -> Option<PathBuf> {
    const LOCATE: &str = "import importlib.util, sys\n\
        sys.path[:] = [entry for entry in sys.path if entry]\n\
        spec = importlib.util.find_spec('onnxruntime')\n\
        print(spec.submodule_search_locations[0] if spec and spec.origin else '')";
    let output = Command::new("python3").args(["-c", LOCATE]).stdin(Stdio::null()).output().ok()?;
    let package = String::from_utf8(output.stdout).ok()?;
    let files = std::fs::read_dir(Path::new(package.trim()).join("capi")).ok()?.flatten();
    let mut libraries = files.map(|file| file.path()).filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
    });
    libraries.next()
}
