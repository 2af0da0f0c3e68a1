//! `--force`, which all commands that write a file have.

/// Help for the option.
pub const FORCE_HELP: &str =
    "Replace an existing file that is not of the kind that is written, or that is write-protected";
