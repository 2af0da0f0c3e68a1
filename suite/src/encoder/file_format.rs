//! Detects the format of an encoder from its content.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use eqr_datasets::FileKind;

use crate::run_folder::checkpoints::Checkpoints;
use crate::run_folder::{checkpoint, layout};

/// The kinds of encoder files.
#[derive(Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A checkpoint of this program, in this folder.
    Checkpoint(PathBuf),
    /// Parameters under timm's names.
    Safetensors,
    /// A TorchScript module.
    TorchScript,
}

impl FileFormat {
    /// Detects the format from the content, not from the name.
    ///
    /// # Errors
    /// A file that cannot be read or has another format; a folder without a checkpoint.
    pub fn detect(path: &Path) -> Result<FileFormat> {
        if path.is_dir() {
            return Ok(FileFormat::Checkpoint(checkpoint_in(path)?));
        }
        let mut start = Vec::new();
        File::open(path)?.take(9).read_to_end(&mut start)?;
        match start[..] {
            [b'P', b'K', 3, 4, ..] => in_zip(path),
            // safetensors: the header's length in 8 bytes, then the header, which is JSON
            [_, _, _, _, _, _, _, _, b'{'] => Ok(FileFormat::Safetensors),
            [0x80, 2..=5, ..] => bail!(
                "neither a safetensors file nor TorchScript, but a pickle, as torch.save wrote before PyTorch \
                 1.6\n{SAVE_AGAIN}"
            ),
            _ => {
                let hint = "hint: write one with safetensors.torch.save_file or torch.jit.trace(..).save; `--help` \
                            lists what is accepted";
                let kind = FileKind::of_file(path)?;
                let hint = kind.hint().unwrap_or(hint);
                bail!("neither a safetensors file nor TorchScript, but {kind}\n{hint}")
            }
        }
    }
}

/// What to do with a pickle: this program does not run one.
const SAVE_AGAIN: &str = "hint: a ViT with timm's names: safetensors.torch.save_file(model.state_dict(), \
                          \"encoder.safetensors\"); any other model: torch.jit.trace(model.eval(), \
                          images).save(\"encoder.pt\")";

/// The format of a zip archive: TorchScript holds code, what torch.save writes holds a pickle. An archive that
/// cannot be read is left to libtorch, which says what is wrong with it.
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
        bail!(
            "neither a safetensors file nor TorchScript, but what torch.save writes (.pth): a pickled state dict or \
             model, which needs Python to be read\n{SAVE_AGAIN}"
        );
    }
    let first: Vec<String> = names.into_iter().take(3).collect();
    bail!(
        "neither a safetensors file nor TorchScript, but a zip archive of {} ..\nhint: `--help` lists what is accepted",
        first.join(", ")
    )
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
        [] => bail!("the folder holds no checkpoint{}", instead(folder)),
        _ => bail!("the folder is a run with several trainings\nhint: name one of {}", names.join(", ")),
    }
}

/// What a folder without a checkpoint holds instead: the weights of a model hub, which are named as a file.
fn instead(folder: &Path) -> String {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut weights: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(is_of_weights)).collect();
    weights.sort_by_key(|file| (file.extension().is_none_or(|ending| ending != "safetensors"), file.clone()));
    match weights.first() {
        Some(first) => format!(
            " of eqr-bench, but the files of a model (Hugging Face)\nhint: name its weights: --encoder {}; the \
             configuration files beside them are read",
            first.display()
        ),
        None => String::new(),
    }
}

fn is_of_weights(ending: &OsStr) -> bool {
    ["safetensors", "bin", "pt", "pth"].iter().any(|known| ending == *known)
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
        let saved = detect(&archive(&["net/data.pkl", "net/version"])).unwrap_err().to_string();
        assert!(saved.contains("torch.save") && saved.contains("save_file"), "{saved}");
        let other = detect(&archive(&["train/a.jpg"])).unwrap_err().to_string();
        assert!(other.contains("a zip archive of train/a.jpg"), "{other}");
        assert_eq!(detect(b"\x02\0\0\0\0\0\0\0{}").unwrap(), FileFormat::Safetensors);
        for other in [&b"\x80\x02pickle of old torch"[..], b"PK", b""] {
            assert!(
                detect(other).unwrap_err().to_string().contains("neither a safetensors file nor TorchScript")
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
            fs::write(hub.path().join(file), "{}").unwrap();
        }
        let named = format!("name its weights: --encoder {}", hub.path().join("model.safetensors").display());
        assert!(refusal(hub.path()).contains(&named), "{}", refusal(hub.path()));
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
