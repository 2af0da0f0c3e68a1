//! `[[rows]]`: rows of a table that were not pretrained here: an encoder, a file of its features, or results
//! measured elsewhere.
//!
//! ```toml
//! [[rows]]
//! method = "external"
//! name = "DINO, ViT-S/16"
//! encoder = "dino.safetensors"     # or features = "dino.h5", or metrics = "metrics.csv"
//! options = { size = 32 }          # for an encoder, as `probe --encoder` takes them
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::suite_file::encoder_options::EncoderOptions;
use crate::suite_file::key_path::KeyPath;
use crate::suite_file::names::file_name;
use crate::suite_file::plain_text::check_text;
use crate::suite_file::problem::{Problem, Problems};

/// A row that was not pretrained here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalRow {
    /// Always `external`.
    #[serde(default)]
    pub method: ExternalMethod,
    /// Name in the tables.
    pub name: String,
    /// An encoder, as `probe --encoder` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<PathBuf>,
    /// How the encoder takes images.
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: EncoderOptions,
    /// Whether an encoder's architecture with random weights is a row too, where it can be built.
    #[serde(default = "yes")]
    pub floor: bool,
    /// Whether this row is that floor: its encoder's weights are replaced by random ones.
    #[serde(skip)]
    pub has_random_weights: bool,
    /// A feature file, as `probe --features` takes it, for the probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
    /// For a row of features: files of labelled features (`train`, `val`, `test`), as `transfer --features`
    /// takes them, by the names of the suite's `transfer` sets (their files without `.h5`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transfer: BTreeMap<String, PathBuf>,
    /// A file with the columns of `metrics.csv`. Only its rows for this data set and this method are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<PathBuf>,
}

/// The one kind of row under `rows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExternalMethod {
    /// Not pretrained here.
    #[default]
    External,
}

fn is_default(options: &EncoderOptions) -> bool {
    *options == EncoderOptions::default()
}

fn yes() -> bool {
    true
}

/// What follows the name of an encoder in the name of its floor.
const RANDOM_WEIGHTS: &str = ", random weights";

/// The name of the floor of the row `name`.
pub fn floor_name(name: &str) -> String {
    format!("{name}{RANDOM_WEIGHTS}")
}

/// Whether a row of this name is the floor of another row.
pub fn is_floor_name(name: &str) -> bool {
    name.ends_with(RANDOM_WEIGHTS)
}

impl ExternalRow {
    /// The floor of this row: its encoder's architecture with random weights.
    pub fn with_random_weights(&self) -> ExternalRow {
        ExternalRow { name: floor_name(&self.name), has_random_weights: true, ..self.clone() }
    }

    /// A row from the file at `path`. The extension decides: `.csv` is results, `.h5` is features, anything
    /// else is an encoder.
    pub fn from_file(name: &str, path: PathBuf) -> ExternalRow {
        let empty = ExternalRow {
            method: ExternalMethod::External,
            name: name.to_owned(),
            encoder: None,
            options: EncoderOptions::default(),
            floor: true,
            has_random_weights: false,
            features: None,
            transfer: BTreeMap::new(),
            metrics: None,
        };
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => ExternalRow { metrics: Some(path), ..empty },
            Some("h5" | "hdf5") => ExternalRow { features: Some(path), ..empty },
            _ => ExternalRow { encoder: Some(path), ..empty },
        }
    }

    /// The files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let single = [&self.encoder, &self.features, &self.metrics].into_iter().flatten();
        single.chain(self.transfer.values()).map(PathBuf::as_path)
    }

    /// What the row's values depend on: the `hash` of each file, and the options.
    ///
    /// # Errors
    /// Errors of `hash`.
    pub fn identity(&self, hash: impl Fn(&Path) -> Result<String>) -> Result<String> {
        let sources = [("encoder", &self.encoder), ("features", &self.features), ("metrics", &self.metrics)];
        let named = sources.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
        let transfer = self.transfer.iter().map(|(set, path)| (set.as_str(), path));
        let files = named.chain(transfer).map(|(key, path)| Ok(format!("{key} {}", hash(path)?)));
        let floor = self.has_random_weights.then(|| Ok("random weights".to_owned()));
        let files = files.chain(floor).collect::<Result<Vec<_>>>()?.join(", ");
        Ok(if is_default(&self.options) {
            files
        } else {
            format!("{files}, {}", serde_json::to_string(&self.options)?)
        })
    }

    /// Name for files.
    pub fn slug(&self) -> String {
        format!("external-{}", file_name(&self.name))
    }
}

/// What can be checked without the files: each row has one of the three sources, and a name that neither
/// another row nor one of the `methods` has.
pub(super) fn problems(rows: &[ExternalRow], methods: &[String]) -> Vec<Problem> {
    let mut problems = Problems::default();
    for (index, row) in rows.iter().enumerate() {
        let key = KeyPath::from("rows").join(index);
        if let Err(error) = check_text(&row.name, "the name of a row") {
            // it cannot stand in another message
            problems.0.push(Problem::new(key, error.to_string()));
            continue;
        }
        let mut ensure = |valid: bool, message: &str| {
            problems.ensure(valid, key.clone(), || format!("rows: `{}`{message}", row.name));
        };
        let sources = [&row.encoder, &row.features, &row.metrics].into_iter().flatten().count();
        ensure(sources == 1, &format!(": give one of encoder, features and metrics, not {sources}"));
        ensure(row.encoder.is_some() || is_default(&row.options), ": options are for encoders");
        let whole = row.options.mean.is_some() == row.options.std.is_some();
        ensure(whole, ": options: mean and std belong together: give both or neither");
        ensure(row.features.is_some() || row.transfer.is_empty(), ": transfer is for rows of features");
        ensure(!file_name(&row.name).is_empty(), ": its name has neither letters nor digits");
        let again = rows[..index].iter().any(|other| other.slug() == row.slug());
        ensure(!again && !methods.contains(&row.name), " is listed twice");
    }
    problems.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_one_source_and_a_name_of_its_own() {
        let row = |text: &str| -> ExternalRow {
            toml::from_str(&format!("method = \"external\"\n{text}")).unwrap()
        };
        let good = row("name = \"DINO\"\nencoder = \"dino.pt\"\noptions = { size = 32, readout = \"mean\" }");
        assert_eq!(problems(std::slice::from_ref(&good), &["Ours".into()]), []);
        for (rows, says) in [
            (vec![row("name = \"A\"")], "not 0"),
            (vec![row("name = \"A\"\nencoder = \"a\"\nmetrics = \"b\"")], "not 2"),
            (vec![row("name = \"-\"\nmetrics = \"b\"")], "neither letters nor digits"),
            (vec![row("name = \"A\"\nmetrics = \"b\"\noptions = { size = 3 }")], "options are for encoders"),
            (
                vec![row("name = \"A\"\nencoder = \"b\"\noptions = { std = [1, 1, 1] }")],
                "give both or neither",
            ),
            (vec![good.clone(), good.clone()], "is listed twice"),
            (vec![row("name = \"Ours\"\nmetrics = \"b\"")], "is listed twice"),
        ] {
            let found = problems(&rows, &["Ours".into()]);
            assert!(found[0].message.contains(says), "{found:?}");
        }
        assert!(toml::from_str::<ExternalRow>("method = \"other\"\nname = \"A\"").is_err());
    }
}
