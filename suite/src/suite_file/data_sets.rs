//! A suite file as sub-suites, one per data set.
//!
//! `[data]` is one data set. Several `[[data]]` sections are several data sets. Each is trained on and
//! measured separately, with the keys of the whole file, except for those that its own `set` overrides.
//!
//! ```toml
//! [[data]]
//! source = "pack"
//! file = "cifar10.h5"
//! made_by = "eqr-bench data pack cifar10 INPUT --out cifar10.h5"
//!
//! [[data]]
//! source = "solids"
//! spec = { name = "solids", side = 32, objects_per_class = 100, views = 12, seed = 0 }
//! set = { table = 1, model = { patch = 8 }, train = { epochs = 45 } }
//! ```

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use toml::{Table, Value};

use crate::suite_file::data_source::Data;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::names::file_name;
use crate::suite_file::overrides::Override;
use crate::suite_file::plain_text::check_file;
use crate::suite_file::presets::read;
use crate::suite_file::problem::Problem;
use crate::suite_file::schema;
use crate::suite_file::shape::Shape;
use crate::suite_file::sources::Sources;
use crate::suite_file::suite::Suite;

/// One data set of a suite, with the trainings and measurements on it.
#[derive(Clone, Debug, PartialEq)]
pub struct SubSuite {
    /// Name in cell ids, files and the `dataset` column: `data.key`, by default the name of the pack or of
    /// the generated set. `None` if the file has a single data set.
    pub key: Option<String>,
    /// The suite with only this data set.
    pub suite: Suite,
}

/// Reads a preset by its name or a TOML file, applies the `overrides` to every sub-suite, and adds `rows` to
/// each.
///
/// # Errors
/// No such preset or file, text that is not TOML. Unknown and missing keys, unknown methods and values out of
/// range, all of them in one message, each with its line or option and the nearest valid name. Two data sets
/// with the same name.
pub fn load(name: &str, overrides: &[Override], rows: &[ExternalRow]) -> Result<Vec<SubSuite>> {
    let (text, origin) = read(name)?;
    check_file(&text, &origin)?;
    let table: Table = text.parse().with_context(|| format!("{origin} is not TOML"))?;
    let parts = parts(table, overrides, &origin)?;
    let mut sub_suites: Vec<SubSuite> = Vec::new();
    let mut problems = Vec::new();
    for mut part in parts {
        part.name_suite(name);
        let index = part.index;
        let read = part.read(rows);
        match read {
            Ok(sub_suite) => sub_suites.push(sub_suite),
            Err(found) => problems.extend(found.into_iter().map(|problem| (index, problem))),
        }
    }
    if !problems.is_empty() {
        let sources = Sources { origin: &origin, text: &text, overrides };
        bail!("{}", sources.message(&problems));
    }
    for (i, sub_suite) in sub_suites.iter().enumerate() {
        ensure!(
            sub_suites[..i].iter().all(|other| other.key != sub_suite.key),
            "{origin}, data set {}: another data set is called `{}` too\nhint: rename one of them with `key = \"...\"`",
            i + 1,
            sub_suite.key.as_deref().unwrap_or_default()
        );
    }
    Ok(sub_suites)
}

impl Suite {
    /// The suite of a preset or TOML file with one data set and the keys of `--set` ([`load`] reads every
    /// file).
    ///
    /// # Errors
    /// Same as [`load`], and several data sets.
    pub fn load(name: &str, overrides: &[String]) -> Result<Self> {
        let overrides: Vec<Override> =
            overrides.iter().map(|assignment| Override::parse(assignment)).collect::<Result<_>>()?;
        let mut sub_suites = load(name, &overrides, &[])?;
        match (sub_suites.pop(), sub_suites.is_empty()) {
            (Some(only), true) => Ok(only.suite),
            _ => bail!("{name} has several data sets, and one is needed here"),
        }
    }
}

/// The keys of one sub-suite.
struct Part {
    /// Position of its data set in a list `[[data]]`.
    index: Option<usize>,
    /// `key` of the data set.
    key: Option<String>,
    /// Whether the title is that of the data set and not of the file.
    has_own_title: bool,
    table: Table,
}

/// The sub-suites of a file with the keys of the command line.
fn parts(mut table: Table, overrides: &[Override], origin: &str) -> Result<Vec<Part>> {
    match table.remove("data") {
        Some(Value::Array(sets)) => {
            ensure!(
                !sets.is_empty(),
                "{origin}: `data` is an empty list\nhint: name a data set, see suite/presets"
            );
            let part = |(index, data)| {
                part_of_set(&table, index, data, overrides)
                    .with_context(|| format!("{origin}, data set {}", index + 1))
            };
            sets.into_iter().enumerate().map(part).collect()
        }
        single => {
            table.extend(single.map(|data| ("data".to_owned(), data)));
            overrides.iter().try_for_each(|set| set.apply(&mut table))?;
            Ok(vec![Part { index: None, key: None, has_own_title: true, table }])
        }
    }
}

/// The keys for one of several data sets.
fn part_of_set(common: &Table, index: usize, data: Value, overrides: &[Override]) -> Result<Part> {
    let Value::Table(mut data) = data else { bail!("expected a section [[data]]") };
    let text =
        |value: Value| value.as_str().map(str::to_owned).ok_or_else(|| anyhow!("`key` is not a string"));
    let key = data.remove("key").map(text).transpose()?;
    let own = match data.remove("set") {
        None => Table::new(),
        Some(Value::Table(own)) => own,
        Some(_) => bail!("`set` is not a section"),
    };
    if let Some(fixed) = ["name", "data"].into_iter().find(|fixed| own.contains_key(*fixed)) {
        bail!("`set.{fixed}`: this key belongs to the whole file");
    }
    let has_own_title = own.contains_key("title");
    let mut table = common.clone();
    merge(&mut table, own);
    table.insert("data".to_owned(), Value::Table(data));
    for set in overrides {
        if set.key.segments()[0] == "data" {
            let hint = "hint: set it in the file, in one of the [[data]] sections";
            bail!("{} {}: the suite has several data sets\n{hint}", set.option, set.key);
        }
        set.apply(&mut table)?;
    }
    Ok(Part { index: Some(index), key, has_own_title, table })
}

impl Part {
    /// Names a suite without a name after its file, and gives it a title.
    fn name_suite(&mut self, file: &str) {
        let stem = file_name(&Path::new(file).file_stem().unwrap_or_default().to_string_lossy());
        let stem = if stem.is_empty() { "suite".to_owned() } else { stem };
        let name = self.table.entry("name").or_insert(stem.into()).clone();
        self.table.entry("title").or_insert(name);
    }

    /// The sub-suite with further rows.
    fn read(self, rows: &[ExternalRow]) -> Result<SubSuite, Vec<Problem>> {
        let mut suite = suite(&self.table, rows)?;
        let Some(_) = self.index else { return Ok(SubSuite { key: None, suite }) };
        let key = file_name(&self.key.unwrap_or_else(|| match &suite.data {
            Data::Solids { spec } => spec.name.clone(),
            Data::Pack { file, .. } => file.strip_suffix(".h5").unwrap_or(file).to_owned(),
        }));
        if key.is_empty() {
            let hint = "hint: give it a name with `key = \"...\"`";
            let message = format!("the data set's name has neither letters nor digits\n{hint}");
            return Err(vec![Problem::new("data", message)]);
        }
        if !self.has_own_title {
            suite.title = format!("{}: {key}", suite.title);
        }
        Ok(SubSuite { key: Some(key), suite })
    }
}

/// The suite in `table` with further rows, or everything that is wrong with it.
fn suite(table: &Table, rows: &[ExternalRow]) -> Result<Suite, Vec<Problem>> {
    let mut shape = Shape::default();
    let allowed = shape.check(table, &schema::SUITE);
    let mut problems = shape.problems.0;
    let mut suite = match Suite::deserialize(allowed) {
        Ok(suite) => suite,
        Err(error) if problems.is_empty() => return Err(vec![Problem::new(vec![], error.message())]),
        Err(_) => return Err(problems),
    };
    suite.rows.extend_from_slice(rows);
    let of_shape = problems.clone();
    // what is wrong with a section because one of its keys was wrong is no further problem
    let is_new = |problem: &Problem| {
        !of_shape.iter().any(|other| problem.key.is_within(&other.key) || other.key.is_within(&problem.key))
    };
    problems.extend(suite.complete().into_iter().filter(is_new));
    if of_shape.is_empty() {
        problems.extend(if problems.is_empty() { suite.contradictions() } else { Vec::new() });
    }
    if problems.is_empty() { Ok(suite) } else { Err(problems) }
}

/// Overwrites keys of `base` with those of `own`. Sections are merged.
fn merge(base: &mut Table, own: Table) {
    for (key, value) in own {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quickstart with these data sets in place of its own.
    fn sub_suites(data: &str, overrides: &[&str]) -> Result<Vec<SubSuite>> {
        let quickstart = include_str!("../../presets/quickstart.toml");
        let (before, rest) = quickstart.split_once("[data]\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.toml");
        std::fs::write(&path, format!("{before}{data}\n{}", &rest[rest.find("[model]").unwrap()..])).unwrap();
        load(
            path.to_str().unwrap(),
            &overrides.iter().map(|assignment| Override::parse(assignment).unwrap()).collect::<Vec<_>>(),
            &[],
        )
    }

    const PACK: &str = "[[data]]\nsource = \"pack\"\nfile = \"Some photos.h5\"\nmade_by = \"x\"\n";
    const SOLIDS: &str = r#"[[data]]
source = "solids"
spec = { name = "solids", side = 32, objects_per_class = 4, views = 2, seed = 0 }
"#;

    #[test]
    fn several_data_sets_differ_by_what_each_sets() {
        let set = "set = { table = 4, methods = [\"VICReg\"], train = { epochs = 3 }, \
                   transforms = { active = [\"flip\"] } }\n";
        let found = sub_suites(&format!("{SOLIDS}{PACK}{set}"), &["train.lr=0.5"]).unwrap();
        let keys: Vec<_> = found.iter().map(|sub_suite| sub_suite.key.as_deref().unwrap()).collect();
        assert_eq!(keys, ["solids", "some-photos"]);
        let [solids, photos] = [&found[0].suite, &found[1].suite];
        let one = Suite::load("quickstart", &[]).unwrap();
        assert_eq!(
            (solids.train.epochs, solids.table, &solids.methods),
            (one.train.epochs, one.table, &one.methods)
        );
        assert_eq!((photos.train.epochs, photos.table, photos.train.batch), (3, Some(4), one.train.batch));
        assert_eq!(photos.methods, ["VICReg"]);
        assert_eq!((solids.train.lr, photos.train.lr), (0.5, 0.5));
        assert!(photos.title.ends_with(": some-photos"), "{}", photos.title);
    }

    #[test]
    fn data_sets_of_one_name_are_told_apart_by_their_keys() {
        let message = format!("{:#}", sub_suites(&format!("{PACK}{PACK}"), &[]).unwrap_err());
        assert!(
            message.contains("another data set is called `some-photos`") && message.contains("key ="),
            "{message}"
        );
        let found = sub_suites(&format!("{PACK}{PACK}key = \"again\"\n"), &[]).unwrap();
        assert_eq!(found[1].key.as_deref(), Some("again"));
    }

    #[test]
    fn mistakes_name_the_data_set() {
        for (data, overrides, expected) in [
            (format!("{SOLIDS}{PACK}set = {{ name = \"other\" }}\n"), vec![], "data set 2: `set.name`"),
            (format!("{SOLIDS}{PACK}set = 3\n"), vec![], "data set 2: `set` is not a section"),
            (format!("{SOLIDS}set = {{ train = {{ epoch = 3 }} }}\n{PACK}"), vec![], "did you mean `epochs`"),
            (format!("{SOLIDS}{PACK}"), vec!["data.side=32"], "several data sets"),
            ("data = []\n".to_owned(), vec![], "empty list"),
        ] {
            let message = format!("{:#}", sub_suites(&data, &overrides).unwrap_err());
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn overrides_reach_nested_keys_and_unknown_keys_are_refused_with_the_nearest() {
        let suite =
            Suite::load("quickstart", &["train.epochs=7".into(), "methods=[\"VICReg\"]".into()]).unwrap();
        assert_eq!((suite.train.epochs, suite.methods.len()), (7, 1));
        let message = format!("{:#}", Suite::load("quickstart", &["train.epoch=7".into()]).unwrap_err());
        assert!(message.contains("did you mean `epochs`"), "{message}");
        let message =
            format!("{:#}", Suite::load("quickstart", &["methods=[\"VICRge\"]".into()]).unwrap_err());
        assert!(message.contains("did you mean `VICReg`"), "{message}");
        let message = format!("{:#}", Suite::load("quickstrat", &[]).unwrap_err());
        assert!(message.contains("did you mean `quickstart`"), "{message}");
    }
}
