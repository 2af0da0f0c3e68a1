//! Detects the format of an encoder from its content.

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
            // TorchScript archives are zip files
            [b'P', b'K', 3, 4, ..] => Ok(FileFormat::TorchScript),
            // safetensors: the header's length in 8 bytes, then the header, which is JSON
            [_, _, _, _, _, _, _, _, b'{'] => Ok(FileFormat::Safetensors),
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
        [] => bail!("the folder holds no checkpoint"),
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
