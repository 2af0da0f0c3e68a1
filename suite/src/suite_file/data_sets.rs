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

use anyhow::{Context, Result, anyhow, bail, ensure};
use toml::{Table, Value};

use crate::suite_file::data_source::Data;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::names::file_name;
use crate::suite_file::plain_text::{check_file, check_value};
use crate::suite_file::presets::read;
use crate::suite_file::suggestions::explain;
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

/// Reads a preset by its name or a TOML file, applies the `key=value` overrides to every sub-suite, and adds
/// `rows` to each.
///
/// # Errors
/// No such preset or file, unknown keys and methods (with the nearest valid name), values out of range, two
/// data sets with the same name.
pub fn load(name: &str, overrides: &[String], rows: &[ExternalRow]) -> Result<Vec<SubSuite>> {
    let mut sub_suites = read_sub_suites(name, overrides)?;
    for SubSuite { suite, .. } in &mut sub_suites {
        suite.rows.extend_from_slice(rows);
        suite.validate()?;
        let count = suite.methods.len() + suite.rows.len();
        ensure!(count > 0, "number of methods = 0, and there are no other rows: must be at least 1");
    }
    Ok(sub_suites)
}

impl Suite {
    /// The suite of a preset or TOML file with one data set ([`load`] reads every file).
    ///
    /// # Errors
    /// Same as [`load`], and several data sets.
    pub fn load(name: &str, overrides: &[String]) -> Result<Self> {
        let mut sub_suites = load(name, overrides, &[])?;
        match (sub_suites.pop(), sub_suites.is_empty()) {
            (Some(only), true) => Ok(only.suite),
            _ => bail!("{name} has several data sets, and one is needed here"),
        }
    }
}

fn read_sub_suites(name: &str, overrides: &[String]) -> Result<Vec<SubSuite>> {
    let (text, origin) = read(name)?;
    check_file(&text, &origin)?;
    let mut table: Table = text.parse().with_context(|| format!("{origin} is not TOML"))?;
    let sets = match table.remove("data") {
        Some(Value::Array(sets)) => sets,
        single => {
            table.extend(single.map(|data| ("data".to_owned(), data)));
            for assignment in overrides {
                set(&mut table, assignment)?;
            }
            let suite = parse(table, overrides, Some(&text), &origin)?;
            return Ok(vec![SubSuite { key: None, suite }]);
        }
    };
    ensure!(!sets.is_empty(), "{origin}: `data` is an empty list\nhint: name a data set, see suite/presets");
    let mut sub_suites: Vec<SubSuite> = Vec::new();
    for (i, data) in sets.into_iter().enumerate() {
        let origin = format!("{origin}, data set {}", i + 1);
        let Value::Table(data) = data else { bail!("{origin}: expected a section [[data]]") };
        let sub_suite = read_sub_suite(&table, data, overrides, &origin)?;
        if sub_suites.iter().any(|other| other.key == sub_suite.key) {
            let key = sub_suite.key.unwrap_or_default();
            bail!(
                "{origin}: another data set is called `{key}` too\nhint: rename one of them with \
                 `key = \"...\"`"
            );
        }
        sub_suites.push(sub_suite);
    }
    Ok(sub_suites)
}

/// The sub-suite of one of several data sets.
fn read_sub_suite(common: &Table, mut data: Table, overrides: &[String], origin: &str) -> Result<SubSuite> {
    let text = |value: Value| {
        value.as_str().map(str::to_owned).ok_or_else(|| anyhow!("{origin}: `key` is not a string"))
    };
    let key = data.remove("key").map(text).transpose()?;
    let own = match data.remove("set") {
        None => Table::new(),
        Some(Value::Table(own)) => own,
        Some(_) => bail!("{origin}: `set` is not a section"),
    };
    if let Some(fixed) = ["name", "data"].into_iter().find(|fixed| own.contains_key(*fixed)) {
        bail!("{origin}: `set.{fixed}`: this key belongs to the whole file");
    }
    let named = own.contains_key("title");
    let mut table = common.clone();
    merge(&mut table, own);
    table.insert("data".to_owned(), Value::Table(data));
    for assignment in overrides {
        let key = assignment.split(['.', '=']).next().unwrap_or_default();
        if key == "data" {
            let hint = "hint: set it in the file, in one of the [[data]] sections";
            bail!("--set {assignment}: the suite has several data sets\n{hint}");
        }
        set(&mut table, assignment)?;
    }
    let mut suite = parse(table, overrides, None, origin)?;
    let key = file_name(&key.unwrap_or_else(|| match &suite.data {
        Data::Solids { spec } => spec.name.clone(),
        Data::Pack { file, .. } => file.strip_suffix(".h5").unwrap_or(file).to_owned(),
    }));
    ensure!(
        !key.is_empty(),
        "{origin}: its name has neither letters nor digits\nhint: give it a name with `key = \"...\"`"
    );
    if !named {
        suite.title = format!("{}: {key}", suite.title);
    }
    Ok(SubSuite { key: Some(key), suite })
}

/// The suite in `table`, which was made of the file with the text `text` (of a part of a file if there is
/// none) and of `overrides`. An error of the file itself names its line, any other one its key.
fn parse(table: Table, overrides: &[String], text: Option<&str>, origin: &str) -> Result<Suite> {
    let suite: Suite = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
        let of_file = text.and_then(|text| toml::from_str::<Suite>(text).err());
        match of_file.filter(|own| own.message() == error.message()) {
            Some(own) => explain(&own, origin),
            None if overrides.is_empty() => explain(&error, origin),
            None => explain(&error, &format!("{origin}, with the keys of the command line")),
        }
    })?;
    suite.completed().with_context(|| origin.to_owned())
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

/// Sets `a.b.c=value` in a table; the value is read as TOML, or else as a string.
fn set(table: &mut Table, assignment: &str) -> Result<()> {
    let (key, value) =
        assignment.split_once('=').ok_or_else(|| anyhow!("--set {assignment}: expected key=value"))?;
    let value = format!("x = {value}")
        .parse::<Table>()
        .map_or(Value::String(value.to_owned()), |mut t| t.remove("x").expect("just parsed"));
    check_value(&value, &format!("--set {key}"))?;
    let mut sections: Vec<&str> = key.split('.').collect();
    let last = sections.pop().expect("split yields at least one item");
    let mut here = table;
    for section in sections {
        here = here
            .entry(section)
            .or_insert_with(|| Table::new().into())
            .as_table_mut()
            .ok_or_else(|| anyhow!("--set {assignment}: `{section}` is a value, not a section"))?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
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
            &overrides.iter().map(|&assignment| assignment.to_owned()).collect::<Vec<_>>(),
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
