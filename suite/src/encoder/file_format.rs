//! Detects the format of an encoder from its content.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use eqr_datasets::FileKind;

use crate::run_folder::checkpoints::Checkpoints;
use crate::run_folder::{checkpoint, layout};

/// The kinds of encoder files.
#[derive(Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A checkpoint of this program, in this folder.
    Checkpoint(PathBuf),
    /// A file of weights: safetensors, an index of shards, or what torch.save writes.
    Weights(PathBuf),
    /// A TorchScript module.
    TorchScript,
    /// An ONNX model.
    Onnx,
}

impl FileFormat {
    /// Detects the format from the content, and of a file of an unknown kind from the name.
    ///
    /// # Errors
    /// A file that cannot be read or has another format; a folder without a checkpoint.
    pub fn detect(path: &Path) -> Result<FileFormat> {
        if path.is_dir() {
            return match weights_in(path) {
                Some(weights) => FileFormat::detect(&weights).with_context(|| weights.display().to_string()),
                None => Ok(FileFormat::Checkpoint(checkpoint_in(path)?)),
            };
        }
        let weights = || Ok(FileFormat::Weights(path.to_owned()));
        match FileKind::of_file(path)? {
            FileKind::Zip | FileKind::TorchZip => in_zip(path),
            FileKind::Safetensors | FileKind::Pickle => weights(),
            FileKind::Json if is_index(path) => weights(),
            FileKind::Unknown if is_onnx(path)? => Ok(FileFormat::Onnx),
            kind => {
                let hint = "hint: `--help` lists what is accepted";
                let hint = kind.hint().unwrap_or(hint);
                bail!("neither a file of weights nor TorchScript or ONNX, but {kind}\n{hint}")
            }
        }
    }
}

/// The format of a zip archive: TorchScript holds code, what torch.save writes holds a pickle. An archive
/// that cannot be read is left to libtorch, which says what is wrong with it.
fn in_zip(path: &Path) -> Result<FileFormat> {
    let Ok(archive) = zip::ZipArchive::new(File::open(path)?) else { return Ok(FileFormat::TorchScript) };
    let names: Vec<String> = archive.file_names().flatten().map(Cow::into_owned).collect();
    // the files of both lie in one folder
    let inside = |name: &String| name.split_once('/').map_or("", |(_, inside)| inside).to_owned();
    let inside: Vec<String> = names.iter().map(inside).collect();
    if inside.iter().any(|name| name.starts_with("code/") || name == "constants.pkl") {
        return Ok(FileFormat::TorchScript);
    }
    if inside.iter().any(|name| name == "data.pkl") {
        return Ok(FileFormat::Weights(path.to_owned()));
    }
    let first: Vec<String> = names.into_iter().take(3).collect();
    bail!(
        "neither a file of weights nor TorchScript or ONNX, but a zip archive of {} ..\nhint: `--help` lists what is accepted",
        first.join(", ")
    )
}

/// The files that decide an encoder: a file with its external weights and, for a module, its random weights;
/// the manifest of a checkpoint; or the weights of a folder with their shards.
///
/// # Errors
/// A folder without an encoder; an index that cannot be read.
pub fn encoder_files(path: &Path) -> Result<Vec<PathBuf>> {
    match path.is_dir().then(|| FileFormat::detect(path)).transpose()? {
        Some(FileFormat::Checkpoint(folder)) => Ok(vec![folder.join(checkpoint::MANIFEST)]),
        Some(FileFormat::Weights(weights)) => encoder_files(&weights),
        _ if is_index(path) => Ok([path.to_owned()].into_iter().chain(eqr_weights::shards(path)?).collect()),
        _ => {
            let modules = [path.to_owned()].into_iter().chain(untrained_module(path));
            Ok(modules
                .flat_map(|module| [Some(module.clone()), external_weights(&module)])
                .flatten()
                .collect())
        }
    }
}

/// Names of the weights in the folder of a model, the one that is read first.
const WEIGHTS: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
];

/// The weights in a folder of a model, as Hugging Face has them.
fn weights_in(folder: &Path) -> Option<PathBuf> {
    WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Whether a JSON file is the index of shards.
fn is_index(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".index.json")
}

/// Whether a file of an unknown kind is an ONNX model: it is called so, or begins like what PyTorch and most
/// converters write, with the version of the format and the name of its writer. ONNX has no mark of its own.
fn is_onnx(path: &Path) -> Result<bool> {
    let mut head = [0; 3];
    let read = File::open(path)?.read(&mut head)?;
    let begins = read == 3 && head[0] == 0x08 && (3..32).contains(&head[1]) && head[2] == 0x12;
    Ok(begins || path.extension().is_some_and(|extension| extension == "onnx"))
}

/// The file beside an ONNX model in which PyTorch puts large weights.
fn external_weights(model: &Path) -> Option<PathBuf> {
    let mut name = model.as_os_str().to_owned();
    name.push(".data");
    Some(PathBuf::from(name)).filter(|path| path.is_file())
}

/// The random weights that the author of the module at `path` wrote beside it: `encoder.random.pt` beside
/// `encoder.pt`.
pub fn untrained_module(path: &Path) -> Option<PathBuf> {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let beside = path.with_extension(format!("random.{extension}"));
    (beside.is_file() && is_module(path)).then_some(beside)
}

/// Whether the encoder at `path` is a module of another library, which cannot be built anew.
pub fn is_module(path: &Path) -> bool {
    matches!(FileFormat::detect(path), Ok(FileFormat::TorchScript | FileFormat::Onnx))
}

/// Whether the file at `path` is TorchScript.
pub fn is_torchscript(path: &Path) -> bool {
    matches!(FileFormat::detect(path), Ok(FileFormat::TorchScript))
}

/// The folder itself if it is a checkpoint, otherwise the newest checkpoint in it.
///
/// # Errors
/// A folder without a checkpoint, or with several trainings.
pub fn checkpoint_in(folder: &Path) -> Result<PathBuf> {
    if folder.join(checkpoint::MANIFEST).is_file() && !folder.join(layout::CELLS).is_dir() {
        return Ok(folder.to_owned());
    }
    let checkpoints = Checkpoints { folder: folder.to_owned() };
    if let Some(&newest) = checkpoints.steps()?.first() {
        return Ok(checkpoints.at_step(newest));
    }
    let trainings = fs::read_dir(folder.join(layout::CHECKPOINTS)).into_iter().flatten().flatten();
    let names: Vec<String> = trainings.map(|training| training.path().display().to_string()).collect();
    match names[..] {
        [] => bail!(
            "the folder holds no checkpoint of eqr-bench and no weights of a model ({})\nhint: name the file \
             of the weights",
            WEIGHTS.join(", ")
        ),
        _ => bail!("the folder is a run with several trainings\nhint: name one of {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::FileFormat;

    #[test]
    fn the_format_follows_from_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let detect = |content: &[u8]| {
            let path = folder.path().join("encoder.bin");
            fs::write(&path, content).unwrap();
            FileFormat::detect(&path)
        };
        assert_eq!(detect(b"PK\x03\x04rest").unwrap(), FileFormat::TorchScript);
        let archive = |names: &[&str]| {
            let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            for name in names {
                zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            }
            zip.finish().unwrap().into_inner()
        };
        let script = archive(&["net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"]);
        assert_eq!(detect(&script).unwrap(), FileFormat::TorchScript);
        let weights = |detected| matches!(detected, Ok(FileFormat::Weights(_)));
        assert!(weights(detect(&archive(&["net/data.pkl", "net/version"]))));
        assert!(weights(detect(b"\x12\0\0\0\0\0\0\0{\"a\":{}}")) && weights(detect(b"\x80\x02}q\0")));
        let other = detect(&archive(&["train/a.jpg"])).unwrap_err().to_string();
        assert!(other.contains("a zip archive of train/a.jpg"), "{other}");
        for other in [&b"PK"[..], b"", b"{}"] {
            assert!(
                detect(other)
                    .unwrap_err()
                    .to_string()
                    .contains("neither a file of weights nor TorchScript or ONNX")
            );
        }
    }

    #[test]
    fn of_a_folder_the_newest_checkpoint_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let refusal = |path| FileFormat::detect(path).unwrap_err().to_string();
        assert!(refusal(here).contains("holds no checkpoint"));
        let hub = tempfile::tempdir().unwrap();
        for file in ["config.json", "pytorch_model.bin", "model.safetensors"] {
            fs::write(hub.path().join(file), b"\x12\0\0\0\0\0\0\0{\"a\":{}}").unwrap();
        }
        let weights = FileFormat::Weights(hub.path().join("model.safetensors"));
        assert_eq!(FileFormat::detect(hub.path()).unwrap(), weights);
        let training = here.join("checkpoints/Ours-seed0");
        fs::create_dir_all(training.join("step-5")).unwrap();
        fs::create_dir_all(training.join("step-40")).unwrap();
        assert!(refusal(here).contains(&format!("name one of {}", training.display())));
        let newest = training.join("step-40");
        assert_eq!(FileFormat::detect(&training).unwrap(), FileFormat::Checkpoint(newest.clone()));
        fs::write(newest.join("manifest.json"), "{}").unwrap();
        assert_eq!(FileFormat::detect(&newest).unwrap(), FileFormat::Checkpoint(newest));
    }
}
