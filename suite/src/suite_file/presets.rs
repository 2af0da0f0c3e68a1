//! The suites that ship with the program.

use std::path::Path;

use anyhow::{Context, Result, bail};
use eqr_datasets::FileKind;

use crate::suite_file::suggestions::nearest;

/// Name and text of every preset.
pub const PRESETS: [(&str, &str); 19] = [
    ("quickstart", include_str!("../../presets/quickstart.toml")),
    ("solids-reduced", include_str!("../../presets/solids-reduced.toml")),
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
    ("paper-readings", include_str!("../../presets/paper-readings.toml")),
    ("paper-readings-reduced", include_str!("../../presets/paper-readings-reduced.toml")),
];

/// Text of a preset or file, and its name for messages.
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
    let bytes = std::fs::read(path).with_context(|| format!("cannot read suite file {name}"))?;
    let kind = FileKind::of(&bytes);
    // an empty file is an empty suite, whose missing keys are named
    let is_other = kind.is_stand_in() && kind != FileKind::Empty;
    match String::from_utf8(bytes) {
        Ok(text) if !is_other => Ok((text, name.to_owned())),
        _ => bail!("{name}: {}", kind.instead_of("a suite as TOML", "hint: save it as UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::PRESETS;
    use crate::suite_file::data_sets;
    use crate::suite_file::scale::Scale;
    use crate::suite_file::suite::Suite;

    /// The sub-suites of a preset.
    fn preset(name: &str) -> Vec<Suite> {
        data_sets::load(name, &[], &[]).unwrap().into_iter().map(|sub_suite| sub_suite.suite).collect()
    }

    /// (table, method) of every row of the paper's tables.
    fn paper() -> BTreeSet<(u8, String)> {
        let mut lines =
            csv::Reader::from_reader(include_str!("../../../results/paper/tables.csv").as_bytes());
        lines
            .records()
            .map(Result::unwrap)
            .map(|line| (line[0].parse().unwrap(), line[3].to_owned()))
            .collect()
    }

    #[test]
    fn presets_load_and_are_of_the_scale_that_their_names_say() {
        for (name, _) in PRESETS {
            for suite in preset(name) {
                assert_eq!(suite.name, name);
                let small = name.ends_with("-reduced") || ["quickstart", "weekly"].contains(&name);
                assert_eq!(suite.scale == Scale::Reduced, small, "{name}");
            }
        }
    }

    #[test]
    fn suites_of_experiments_load() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/experiments");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let suites: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "toml")).collect();
        assert!(!suites.is_empty());
        for file in suites {
            assert!(!preset(file.to_str().unwrap()).is_empty(), "{}", file.display());
        }
    }

    #[test]
    fn presets_have_every_row_of_the_papers_tables() {
        let tables = [
            ("3diebench", 1),
            ("imagenet", 2),
            ("cifar10-unknown", 3),
            ("cifar10", 4),
            ("transfer", 5),
            ("ade20k", 6),
        ];
        for (name, table) in tables {
            let suite = &preset(name)[0];
            assert_eq!(suite.table, Some(table));
            for (_, method) in paper().iter().filter(|(number, _)| *number == table) {
                assert!(suite.methods.contains(method), "{name}: {method}");
            }
        }
        let all = preset("paper");
        assert_eq!(all.iter().map(|suite| suite.table.unwrap()).collect::<Vec<_>>(), [1, 2, 4, 3]);
        for (table, method) in paper() {
            // Tables 5 and 6 use the encoders of Table 2
            let table = if table > 4 { 2 } else { table };
            let suite = all.iter().find(|suite| suite.table == Some(table)).unwrap();
            assert!(suite.methods.contains(&method), "paper, table {table}: {method}");
        }
    }

    /// `--pretrained` can then reuse the trainings of one preset in another.
    #[test]
    fn presets_of_one_pretraining_share_it() {
        let training = |suite: &Suite| {
            (suite.data.clone(), suite.transforms.clone(), suite.model.clone(), suite.train.clone())
        };
        let one = |name: &str| training(&preset(name)[0]);
        for (name, other) in [("transfer", "imagenet"), ("ade20k", "imagenet")] {
            assert_eq!(one(name), one(other), "{name}");
            assert_eq!(one(&format!("{name}-reduced")), one(&format!("{other}-reduced")), "{name}-reduced");
        }
        let all = preset("paper");
        for (suite, name) in all.iter().zip(["3diebench", "imagenet", "cifar10", "cifar10-unknown"]) {
            assert_eq!(training(suite), one(name), "{name}");
            let own = &preset(name)[0];
            let measured = |suite: &Suite| {
                (suite.seeds, suite.methods.clone(), suite.probe.clone(), suite.transfer.clone())
            };
            assert_eq!((measured(suite), &suite.segmentation), (measured(own), &own.segmentation), "{name}");
        }
    }
}
