//! Exit codes of failed measurements: bad input (2) or a failure during the run (3).

use std::fmt;

use crate::failure::{BAD_INPUT, Failure, RUN_FAILED};

/// Error context: a file that the run itself writes, so that it is not input.
#[derive(Debug)]
pub struct RunFile(pub &'static str);

impl fmt::Display for RunFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The exit code of a measurement that failed with `error`.
pub fn exit_code(error: &anyhow::Error) -> i32 {
    use eqr_probes::Error::{Diverged, Lapack};
    let on_the_way = matches!(error.downcast_ref(), Some(Diverged { .. } | Lapack { .. }));
    if on_the_way || error.is::<RunFile>() { RUN_FAILED } else { BAD_INPUT }
}

/// The failure of a command's measurement. Bad input is the same on every rank.
pub fn failure(error: impl Into<anyhow::Error>) -> Failure {
    let error = error.into();
    match exit_code(&error) {
        BAD_INPUT => Failure::bad_input(error),
        _ => Failure::run(error),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_divergence_or_an_own_file_is_a_failed_run() {
        let diverged = || eqr_probes::Error::Diverged { name: "rotation".into(), seed: 0 };
        assert_eq!(exit_code(&anyhow!(diverged())), RUN_FAILED);
        assert_eq!(exit_code(&Err::<(), _>(diverged()).context("color").unwrap_err()), RUN_FAILED);
        assert_eq!(exit_code(&anyhow!("damaged").context(RunFile("its checkpoint"))), RUN_FAILED);
        assert_eq!(exit_code(&anyhow!("no such file")), BAD_INPUT);
        assert_eq!(exit_code(&anyhow!(eqr_probes::Error::Empty { what: "problem" })), BAD_INPUT);
        assert_eq!(failure(diverged()).code, RUN_FAILED);
    }
}
