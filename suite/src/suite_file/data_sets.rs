//! A suite file as its parts, one a data set.
//!
//! `[data]` is one data set. `[[data]]`, given several times, is several: each is trained on and measured by itself, by the keys that
//! the file has for all, save those that its own `set` says otherwise.
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

use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::names::file_name;
use crate::suite_file::presets::read;
use crate::suite_file::suggestions::explain;
use crate::suite_file::suite::{Data, Suite};

/// A data set with what is trained and measured on it.
#[derive(Clone, Debug, PartialEq)]
pub struct SubSuite {
    /// Name in cell ids, files and the `dataset` column: `data.key`, or else the pack's or the generated set's own name. `None` where the
    /// file has one data set alone, which needs no telling apart.
    pub key: Option<String>,
    /// The keys that hold for it.
    pub suite: Suite,
}

/// Reads a preset by its name or a TOML file, applies `key=value` overrides to every part, and adds `rows` to each.
///
/// # Errors
/// No such preset or file, unknown keys and methods (nearest valid name offered), values out of range, two data sets of one name.
pub fn load(name: &str, overrides: &[String], rows: &[ExternalRow]) -> Result<Vec<SubSuite>> {
    let mut parts = read_parts(name, overrides)?;
    for part in &mut parts {
        part.suite.rows.extend_from_slice(rows);
        part.suite.validate()?;
        let count = part.suite.methods.len() + part.suite.rows.len();
        ensure!(count > 0, "number of methods = 0, and there are no other rows: must be at least 1");
    }
    Ok(parts)
}

fn read_parts(name: &str, overrides: &[String]) -> Result<Vec<SubSuite>> {
    let (text, origin) = read(name)?;
    let mut table: Table = text.parse().with_context(|| format!("{origin} is not TOML"))?;
    let sets = match table.remove("data") {
        Some(Value::Array(sets)) => sets,
        single => {
            table.extend(single.map(|data| ("data".to_owned(), data)));
            for entry in overrides {
                set(&mut table, entry)?;
            }
            // through the file's own text where it can be: serde's messages then name its lines
            let text = if overrides.is_empty() { text } else { toml::to_string(&table)? };
            return Ok(vec![SubSuite { key: None, suite: parse(&text, &origin)? }]);
        }
    };
    ensure!(!sets.is_empty(), "{origin}: `data` is an empty list\nhint: name a data set, see suite/presets");
    let mut parts: Vec<SubSuite> = Vec::new();
    for (i, data) in sets.into_iter().enumerate() {
        let origin = format!("{origin}, data set {}", i + 1);
        let Value::Table(data) = data else { bail!("{origin}: expected a section [[data]]") };
        let part = part(&table, data, overrides, &origin)?;
        if parts.iter().any(|other| other.key == part.key) {
            let key = part.key.unwrap_or_default();
            bail!("{origin}: another data set is called `{key}` too\nhint: tell them apart by `key = \"...\"`");
        }
        parts.push(part);
    }
    Ok(parts)
}

/// The part of one of several data sets.
fn part(common: &Table, mut data: Table, overrides: &[String], origin: &str) -> Result<SubSuite> {
    let text = |value: Value| value.as_str().map(str::to_owned).ok_or_else(|| anyhow!("{origin}: `key` is not a text"));
    let key = data.remove("key").map(text).transpose()?;
    let own = match data.remove("set") {
        None => Table::new(),
        Some(Value::Table(own)) => own,
        Some(_) => bail!("{origin}: `set` is not a section"),
    };
    if let Some(fixed) = ["name", "data"].into_iter().find(|fixed| own.contains_key(*fixed)) {
        bail!("{origin}: `set.{fixed}`: this key is the whole file's");
    }
    let named = own.contains_key("title");
    let mut table = common.clone();
    merge(&mut table, own);
    table.insert("data".to_owned(), Value::Table(data));
    for entry in overrides {
        let key = entry.split(['.', '=']).next().unwrap_or_default();
        if key == "data" {
            bail!(
                "--set {entry}: the suite has several data sets\nhint: set it in the file, at the data set that is meant"
            );
        }
        set(&mut table, entry)?;
    }
    let mut suite = parse(&toml::to_string(&table)?, origin)?;
    let key = file_name(&key.unwrap_or_else(|| match &suite.data {
        Data::Solids { spec } => spec.name.clone(),
        Data::Pack { file, .. } => file.strip_suffix(".h5").unwrap_or(file).to_owned(),
    }));
    ensure!(!key.is_empty(), "{origin}: its name has neither letters nor digits\nhint: give it one by `key = \"...\"`");
    if !named {
        suite.title = format!("{}: {key}", suite.title);
    }
    Ok(SubSuite { key: Some(key), suite })
}

fn parse(text: &str, origin: &str) -> Result<Suite> {
    let suite: Suite = toml::from_str(text).map_err(|error| explain(&error, origin))?;
    suite.completed().with_context(|| origin.to_owned())
}

/// Lays `own` over `base`: sections key by key, anything else as a whole.
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

/// Sets `a.b.c=value` in a table; the value is read as TOML, else as a string.
fn set(table: &mut Table, entry: &str) -> Result<()> {
    let (key, value) = entry.split_once('=').ok_or_else(|| anyhow!("--set {entry}: expected key=value"))?;
    let value = format!("x = {value}")
        .parse::<Table>()
        .map_or(Value::String(value.to_owned()), |mut t| t.remove("x").expect("just parsed"));
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().expect("split yields at least one part");
    let mut here = table;
    for part in parts {
        here = here
            .entry(part)
            .or_insert_with(|| Table::new().into())
            .as_table_mut()
            .ok_or_else(|| anyhow!("--set {entry}: `{part}` is a value, not a section"))?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quickstart with these data sets in place of its own.
    fn parts(data: &str, overrides: &[&str]) -> Result<Vec<SubSuite>> {
        let quickstart = include_str!("../../presets/quickstart.toml");
        let (before, rest) = quickstart.split_once("[data]\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.toml");
        std::fs::write(&path, format!("{before}{data}\n{}", &rest[rest.find("[model]").unwrap()..])).unwrap();
        load(path.to_str().unwrap(), &overrides.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>(), &[])
    }

    const PACK: &str = "[[data]]\nsource = \"pack\"\nfile = \"Some photos.h5\"\nmade_by = \"x\"\n";
    const SOLIDS: &str = "[[data]]\nsource = \"solids\"\nspec = { name = \"solids\", side = 32, objects_per_class = 4, views = 2, seed = 0 }\n";

    #[test]
    fn several_data_sets_differ_by_what_each_sets() {
        let set = "set = { table = 4, methods = [\"VICReg\"], train = { epochs = 3 }, transforms = { active = [\"flip\"] } }\n";
        let parts = parts(&format!("{SOLIDS}{PACK}{set}"), &["train.lr=0.5"]).unwrap();
        let keys: Vec<_> = parts.iter().map(|part| part.key.as_deref().unwrap()).collect();
        assert_eq!(keys, ["solids", "some-photos"]);
        let [solids, photos] = [&parts[0].suite, &parts[1].suite];
        let one = Suite::load("quickstart", &[]).unwrap();
        assert_eq!((solids.train.epochs, solids.table, &solids.methods), (one.train.epochs, one.table, &one.methods));
        assert_eq!((photos.train.epochs, photos.table, photos.train.batch), (3, Some(4), one.train.batch));
        assert_eq!(photos.methods, ["VICReg"]);
        assert_eq!((solids.train.lr, photos.train.lr), (0.5, 0.5));
        assert!(photos.title.ends_with(": some-photos"), "{}", photos.title);
    }

    #[test]
    fn data_sets_of_one_name_are_told_apart_by_their_keys() {
        let message = format!("{:#}", parts(&format!("{PACK}{PACK}"), &[]).unwrap_err());
        assert!(message.contains("another data set is called `some-photos`") && message.contains("key ="), "{message}");
        let parts = parts(&format!("{PACK}{PACK}key = \"again\"\n"), &[]).unwrap();
        assert_eq!(parts[1].key.as_deref(), Some("again"));
    }

    #[test]
    fn mistakes_name_the_data_set() {
        for (data, overrides, part) in [
            (format!("{SOLIDS}{PACK}set = {{ name = \"other\" }}\n"), vec![], "data set 2: `set.name`"),
            (format!("{SOLIDS}{PACK}set = 3\n"), vec![], "data set 2: `set` is not a section"),
            (format!("{SOLIDS}set = {{ train = {{ epoch = 3 }} }}\n{PACK}"), vec![], "did you mean `epochs`"),
            (format!("{SOLIDS}{PACK}"), vec!["data.side=32"], "several data sets"),
            ("data = []\n".to_owned(), vec![], "empty list"),
        ] {
            let message = format!("{:#}", parts(&data, &overrides).unwrap_err());
            assert!(message.contains(part), "{message}");
        }
    }
}
