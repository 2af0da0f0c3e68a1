//! Rows of a table that this program did not pretrain: an encoder, a file of its features, or results that somebody measured.
//!
//! ```toml
//! [[rows]]
//! method = "external"
//! name = "DINO, ViT-S/16"
//! encoder = "dino.safetensors"     # or features = "dino.h5", or metrics = "metrics.csv"
//! options = { size = 32 }          # of an encoder, as `probe --encoder` takes them
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::frozen::EncoderOptions;
use crate::parts::file_name;
use crate::store::{Better, CellKind, Metric, Store, write_atomic};
use crate::value;

/// A row that is not pretrained here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// Says that it is one.
    pub method: ExternalMethod,
    /// Name in the tables.
    pub name: String,
    /// An encoder, as `probe --encoder` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<PathBuf>,
    /// How the encoder takes images.
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: EncoderOptions,
    /// A feature file, as `probe --features` takes it; for the probes alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
    /// Of a row of features: labelled features (`train`, `val`, `test`), as `transfer --features` takes them, of sets of the suite's
    /// `transfer`, by the sets' file names without `.h5`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transfer: BTreeMap<String, PathBuf>,
    /// A file with the columns of `metrics.csv`: its rows of this data set and this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<PathBuf>,
}

/// The one kind of row under `rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExternalMethod {
    /// Not pretrained here.
    External,
}

fn is_default(options: &EncoderOptions) -> bool {
    *options == EncoderOptions::default()
}

impl External {
    /// A row of the file at `path`, by its ending: `.csv` results, `.h5` features, anything else an encoder.
    pub fn of_file(name: &str, path: PathBuf) -> External {
        let empty = External {
            method: ExternalMethod::External,
            name: name.to_owned(),
            encoder: None,
            options: EncoderOptions::default(),
            features: None,
            transfer: BTreeMap::new(),
            metrics: None,
        };
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => External { metrics: Some(path), ..empty },
            Some("h5" | "hdf5") => External { features: Some(path), ..empty },
            _ => External { encoder: Some(path), ..empty },
        }
    }

    /// What its values depend on: what its files hold, by `hash`, and how they are read.
    ///
    /// # Errors
    /// Those of `hash`.
    pub fn identity(&self, hash: impl Fn(&Path) -> Result<String>) -> Result<String> {
        let sources = [("encoder", &self.encoder), ("features", &self.features), ("metrics", &self.metrics)];
        let named = sources.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
        let transfer = self.transfer.iter().map(|(set, path)| (set.as_str(), path));
        let files = named.chain(transfer).map(|(key, path)| Ok(format!("{key} {}", hash(path)?)));
        let files = files.collect::<Result<Vec<_>>>()?.join(", ");
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

/// Checks what can be checked without the files.
///
/// # Errors
/// A row with none or several of its three sources, a name that stands twice, also among the `methods`.
pub fn validate(rows: &[External], methods: &[String]) -> Result<()> {
    for (i, row) in rows.iter().enumerate() {
        let place = || format!("rows: `{}`", row.name);
        let sources = [&row.encoder, &row.features, &row.metrics].into_iter().flatten().count();
        ensure!(sources == 1, "{}: give one of encoder, features and metrics, not {sources}", place());
        ensure!(row.encoder.is_some() || is_default(&row.options), "{}: options are an encoder's", place());
        ensure!(row.features.is_some() || row.transfer.is_empty(), "{}: transfer is a row of features'", place());
        ensure!(!file_name(&row.name).is_empty(), "{}: its name has neither letters nor digits", place());
        let other = rows[..i].iter().any(|other| other.slug() == row.slug());
        if other || methods.contains(&row.name) {
            bail!("{} stands twice", place());
        }
    }
    Ok(())
}

/// Name of the file in a run that says what the rows' files held.
const RECORD: &str = "rows.json";

/// Writes down what the files of the rows hold, `hashes` by their slugs. A run may be given further rows at any time, and other files for
/// rows that came to nothing.
///
/// # Errors
/// A row with finished cells whose file is another one now; the file system's.
pub fn record(store: &Store, hashes: &BTreeMap<String, String>) -> Result<()> {
    let path = store.path(RECORD);
    let mut known: BTreeMap<String, String> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?,
        Err(_) => BTreeMap::new(),
    };
    let cells = std::fs::read_dir(store.path("cells")).with_context(|| store.root().display().to_string())?;
    let cells: Vec<String> = cells.flatten().map(|cell| cell.file_name().to_string_lossy().into_owned()).collect();
    for (slug, hash) in hashes {
        let of_row = |cell: &&String| {
            let rest = cell.split_once(slug.as_str()).map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest == ".json" || rest.starts_with("-head"))
        };
        if let (Some(before), Some(cell)) = (known.get(slug), cells.iter().find(of_row)) {
            let hint = "hint: give the row another name, or the run another --out";
            ensure!(
                before == hash,
                "row {slug}: cells/{cell} was made of another file, or with other options, than are named now\n{hint}"
            );
        }
    }
    known.extend(hashes.clone());
    write_atomic(&path, serde_json::to_string_pretty(&known)?.as_bytes())
}

/// A line of `metrics.csv`, what nobody but this program needs left out.
#[derive(Deserialize)]
struct Line {
    dataset: String,
    task: String,
    #[serde(default)]
    method: String,
    metric: String,
    #[serde(default)]
    pretrain_seed: u64,
    eval_seed: Option<u64>,
    value: f64,
    unit: Option<String>,
    better: Option<Better>,
}

/// The values of a method on a data set, those of `origin` that belong into a cell of this kind, out of a CSV file with the columns of `metrics.csv`: `dataset`, `task`,
/// `metric` and `value`, and where there are such `method` (rows of other names are passed over), `pretrain_seed`, `eval_seed`, `unit`
/// and `better`.
///
/// # Errors
/// A file that cannot be read, a line that is not such, a value that is not finite, no row at all of this method and this set.
pub fn metrics(path: &Path, origin: &value::Origin, kind: CellKind) -> Result<Vec<Metric>> {
    let lines = lines(path, &origin.method)?;
    let of_method = |line: &&Line| line.method == origin.method;
    let others =
        lines.iter().map(|line| format!("{}, {} on {}", line.method, line.task, line.dataset)).collect::<BTreeSet<_>>();
    let wanted = |line: &&Line| line.dataset == origin.dataset && line.kind() == kind;
    let own = lines.iter().filter(of_method).filter(wanted);
    let found: Vec<Metric> = own.map(|line| line.metric(origin)).collect();
    ensure!(
        !found.is_empty(),
        "{}: no row of `{}` on {}\nhint: the file has {}",
        path.display(),
        origin.method,
        origin.dataset,
        if others.is_empty() { "no row at all".to_owned() } else { Vec::from_iter(others).join(", ") }
    );
    Ok(found)
}

/// The data sets that a method has rows of this kind on.
///
/// # Errors
/// As [`metrics`], but for the last.
pub fn datasets(path: &Path, method: &str, kind: CellKind) -> Result<BTreeSet<String>> {
    let own = lines(path, method)?.into_iter().filter(|line| line.method == method && line.kind() == kind);
    Ok(own.map(|line| line.dataset).collect())
}

/// All lines; those without a method are of `method`.
fn lines(path: &Path, method: &str) -> Result<Vec<Line>> {
    let place = || path.display().to_string();
    let mut reader = csv::Reader::from_path(path).with_context(place)?;
    let mut lines = Vec::new();
    for (i, line) in reader.deserialize().enumerate() {
        let mut line: Line = line.map_err(|error| {
            let hint = "hint: the columns dataset, task, metric and value are needed, as in a run's metrics.csv";
            anyhow!("{}: {error}\n{hint}", place())
        })?;
        ensure!(line.value.is_finite(), "{}: row {}: value {} is not a finite number", place(), i + 1, line.value);
        if line.method.is_empty() {
            method.clone_into(&mut line.method);
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Which way a metric is better, by its name.
fn better(metric: &str) -> Better {
    let lower = metric.starts_with("mse") || metric == "pre" || metric.starts_with("pre_");
    if lower { Better::Lower } else { Better::Higher }
}

impl Line {
    /// The kind of cell that such a value stands in.
    fn kind(&self) -> CellKind {
        match self.task.as_str() {
            "linear transfer" => CellKind::Transfer,
            "segmentation" => CellKind::Segment,
            _ => CellKind::Probe,
        }
    }

    fn metric(&self, origin: &value::Origin) -> Metric {
        Metric {
            suite: origin.suite.to_owned(),
            table: origin.table.map_or("-".to_owned(), |table| table.to_string()),
            dataset: self.dataset.clone(),
            task: self.task.clone(),
            method: self.method.clone(),
            metric: self.metric.clone(),
            pretrain_seed: self.pretrain_seed,
            eval_seed: self.eval_seed,
            value: self.value,
            unit: self.unit.clone().unwrap_or_else(|| "-".to_owned()),
            better: self.better.unwrap_or_else(|| better(&self.metric)),
            cell: origin.cell.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, row: &str, dataset: &str) -> Result<Vec<Metric>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        let (method, cell) = (row.to_owned(), "probe-external-x");
        let origin = value::Origin { suite: "own", table: Some(4), dataset, method, pretrain_seed: 0, cell };
        metrics(&path, &origin, CellKind::Probe)
    }

    #[test]
    fn rows_of_the_method_and_the_set_are_taken() {
        let text = "dataset,task,method,metric,pretrain_seed,value\n\
                    CIFAR10,rotation,DINO,r2_per_output,0,0.5\nCIFAR10,rotation,DINO,r2_per_output,1,0.6\n\
                    CIFAR10,rotation,MAE,r2_per_output,0,0.4\nSTL,rotation,DINO,r2_per_output,0,0.9\n";
        let found = read(text, "DINO", "CIFAR10").unwrap();
        let values: Vec<(u64, f64)> = found.iter().map(|metric| (metric.pretrain_seed, metric.value)).collect();
        assert_eq!(values, [(0, 0.5), (1, 0.6)]);
        assert_eq!((found[0].suite.as_str(), found[0].table.as_str(), found[0].better), ("own", "4", Better::Higher));
        let message = format!("{:#}", read(text, "DINOv2", "CIFAR10").unwrap_err());
        assert!(
            message.contains("no row of `DINOv2` on CIFAR10") && message.contains("MAE, rotation on CIFAR10"),
            "{message}"
        );
    }

    #[test]
    fn broken_lines_are_refused() {
        for (text, says) in [
            ("dataset,task,metric\nC,rotation,r2\n", "value"),
            ("dataset,task,metric,value\nC,rotation,r2,much\n", "line: 2"),
            ("dataset,task,metric,value\nC,rotation,r2,NaN\n", "row 1: value NaN"),
            ("dataset,task,metric,value\n", "no row of `X` on C"),
        ] {
            let message = format!("{:#}", read(text, "X", "C").unwrap_err());
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn a_row_has_one_source_and_a_name_of_its_own() {
        let row = |text: &str| -> External { toml::from_str(&format!("method = \"external\"\n{text}")).unwrap() };
        let good = row("name = \"DINO\"\nencoder = \"dino.pt\"\noptions = { size = 32, pool = \"mean\" }");
        assert!(validate(std::slice::from_ref(&good), &["Ours".into()]).is_ok());
        for (rows, says) in [
            (vec![row("name = \"A\"")], "not 0"),
            (vec![row("name = \"A\"\nencoder = \"a\"\nmetrics = \"b\"")], "not 2"),
            (vec![row("name = \"-\"\nmetrics = \"b\"")], "neither letters nor digits"),
            (vec![row("name = \"A\"\nmetrics = \"b\"\noptions = { size = 3 }")], "options are an encoder's"),
            (vec![good.clone(), good.clone()], "stands twice"),
            (vec![row("name = \"Ours\"\nmetrics = \"b\"")], "stands twice"),
        ] {
            let message = format!("{:#}", validate(&rows, &["Ours".into()]).unwrap_err());
            assert!(message.contains(says), "{message}");
        }
        assert!(toml::from_str::<External>("method = \"other\"\nname = \"A\"").is_err());
    }
}
