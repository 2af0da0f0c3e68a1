//! The suites that ship with the program.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::suite_file::suggestions::nearest;

/// Name and text of every preset.
pub const PRESETS: [(&str, &str); 16] = [
    ("quickstart", include_str!("../../presets/quickstart.toml")),
    ("weekly", include_str!("../../presets/weekly.toml")),
    ("3diebench", include_str!("../../presets/3diebench.toml")),
    ("3diebench-reduced", include_str!("../../presets/3diebench-reduced.toml")),
    ("imagenet", include_str!("../../presets/imagenet.toml")),
    ("imagenet-reduced", include_str!("../../presets/imagenet-reduced.toml")),
    ("cifar10", include_str!("../../presets/cifar10.toml")),
    ("cifar10-reduced", include_str!("../../presets/cifar10-reduced.toml")),
    ("cifar10-unknown", include_str!("../../presets/cifar10-unknown.toml")),
    ("cifar10-unknown-reduced", include_str!("../../presets/cifar10-unknown-reduced.toml")),
    ("transfer", include_str!("../../presets/transfer.toml")),
    ("transfer-reduced", include_str!("../../presets/transfer-reduced.toml")),
    ("ade20k", include_str!("../../presets/ade20k.toml")),
    ("ade20k-reduced", include_str!("../../presets/ade20k-reduced.toml")),
    ("paper", include_str!("../../presets/paper.toml")),
    ("paper-reduced", include_str!("../../presets/paper-reduced.toml")),
];

/// Text of a preset or file, and what to call it.
///
/// # Errors
/// No such preset or file.
pub fn read(name: &str) -> Result<(String, String)> {
    if let Some((_, text)) = PRESETS.iter().find(|(preset, _)| *preset == name) {
        return Ok(((*text).to_owned(), format!("preset {name}")));
    }
    let path = Path::new(name);
    if path.extension().is_none() && !path.exists() {
        let names = PRESETS.map(|(preset, _)| preset);
        let hint = nearest(name, names).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        bail!(
            "no suite `{name}`\nhint: {hint}presets are {}; anything else is the path of a TOML file",
            names.join(", ")
        );
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read suite file {name}"))?;
    Ok((text, name.to_owned()))
}
