//! The outcome of a run: diverged trainings and failed measurements as one message and an exit code.

use anyhow::anyhow;

use crate::console::say;
use crate::failure::{BAD_INPUT, Failure, Outcome, RUN_FAILED};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::suite_file::plan::EncoderRun;

/// A failed measurement. Its message is in `failed/`.
pub(super) struct FailedMeasurement {
    pub(super) cell: String,
    pub(super) exit_code: i32,
}

/// The failure of a run with diverged trainings or failed measurements. If it has both, the failed
/// measurements are printed and the divergence determines the exit code.
pub(super) fn outcome(
    folder: &RunFolder,
    diverged: &[EncoderRun],
    failed: &[FailedMeasurement],
) -> Outcome<()> {
    let measured = measurement_outcome(folder, failed);
    if diverged.is_empty() {
        return measured;
    }
    if let Err(failure) = measured {
        say(&failure.message());
    }
    let cells: Vec<String> = diverged.iter().map(EncoderRun::pretrain_id).collect();
    let hint = "hint: failed/ has the details; the same command retries from the last good checkpoint; a \
                lower train.lr needs a new --out";
    Err(Failure { agreed: true, ..Failure::run(anyhow!("diverged: {}\n{hint}", cells.join(", "))) })
}

/// The failure for failed measurements: bad input if all of them are bad input, else a failed run.
fn measurement_outcome(folder: &RunFolder, failed: &[FailedMeasurement]) -> Outcome<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let message = |cell: &str| {
        let text = std::fs::read_to_string(folder.path(layout::failed_cell(cell))).unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        report["error"].as_str().unwrap_or("see failed/").to_owned()
    };
    let lines: Vec<String> =
        failed.iter().map(|failed| format!("{}: {}", failed.cell, message(&failed.cell))).collect();
    let bad_input = failed.iter().all(|failed| failed.exit_code == BAD_INPUT);
    let error = anyhow!(
        "{} of the measurements failed, the others are done:\n{}\nhint: the same command runs what is missing",
        failed.len(),
        lines.join("\n")
    );
    Err(Failure { error, code: if bad_input { BAD_INPUT } else { RUN_FAILED }, agreed: true })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_failure_that_is_not_bad_input_makes_a_failed_run() {
        let directory = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(directory.path());
        folder.write_failed("probe-a", &json!({"error": "no such file"})).unwrap();
        let failed = |cell: &str, exit_code| FailedMeasurement { cell: cell.to_owned(), exit_code };
        assert!(outcome(&folder, &[], &[]).is_ok());
        let failure = outcome(&folder, &[], &[failed("probe-a", BAD_INPUT)]).unwrap_err();
        assert_eq!(failure.code, BAD_INPUT);
        assert!(failure.message().contains("probe-a: no such file"), "{}", failure.message());
        let both = [failed("probe-a", BAD_INPUT), failed("probe-b", RUN_FAILED)];
        let failure = outcome(&folder, &[], &both).unwrap_err();
        assert_eq!((failure.code, failure.agreed), (RUN_FAILED, true));
        assert!(failure.message().contains("probe-b: see failed/"), "{}", failure.message());
    }
}
