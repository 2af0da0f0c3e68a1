//! The JSON schema of suites, from the structs that read them: their documentation gives the descriptions,
//! their defaults the defaults. Suites are checked against it, editors and the reference of keys read it.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::suite_file::counts;
use crate::suite_file::suite::Suite;

/// The schema of a suite with one data set.
pub static SUITE: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Suite>().to_value();
    simplify(&mut schema);
    for (key, range) in counts::RANGES {
        let of_key = property(&mut schema, key.split('.')).expect("a key with a range is a key of a suite");
        of_key.insert("minimum".into(), json!(range.start()));
        of_key.insert("maximum".into(), json!(range.end()));
    }
    schema
});

/// The schema of a suite file, which may have several data sets.
pub fn of_file() -> Value {
    let mut schema = SUITE.clone();
    let data = schema["properties"]["data"].clone();
    let mut of_several = data.clone();
    for source in of_several["oneOf"].as_array_mut().expect("data has several sources") {
        source["properties"]["key"] = json!({
            "type": "string",
            "description": "Name of the data set in cell ids and tables. Default: that of the pack or of `spec`.",
        });
        source["properties"]["set"] = json!({"$ref": "#/definitions/set"});
    }
    schema["properties"]["data"] = json!({
        "description": data["description"],
        "anyOf": [data, {"type": "array", "minItems": 1, "items": of_several}],
    });
    schema["definitions"] = json!({"set": keys_of_one_set()});
    schema["title"] = json!("Suite of eqr-bench");
    schema
}

/// The schema of `set`: the keys that are other for one of several data sets.
fn keys_of_one_set() -> Value {
    let mut set = SUITE.clone();
    let keys = set["properties"].as_object_mut().expect("a suite has keys");
    keys.retain(|key, _| !["name", "data"].contains(&key.as_str()));
    let mut set = json!({
        "type": "object",
        "description": "Keys of the suite that are other for this data set.",
        "properties": set["properties"],
        "additionalProperties": false,
    });
    allow_parts(&mut set);
    set
}

/// The schema as text, as it stands in `suite/presets/suite.schema.json`.
pub fn text() -> String {
    format!("{:#}\n", of_file())
}

/// The schema of a key. Steps into the items of lists and the forms of a section.
fn property<'a>(
    schema: &'a mut Value,
    mut key: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a mut Map<String, Value>> {
    if schema.get("items").is_some() {
        return property(&mut schema["items"], key);
    }
    if schema.get("oneOf").is_some() && key.clone().next().is_some() {
        return schema["oneOf"].as_array_mut()?.iter_mut().find_map(|form| property(form, key.clone()));
    }
    match key.next() {
        Some(name) => property(schema.get_mut("properties")?.get_mut(name)?, key),
        None => schema.as_object_mut(),
    }
}

/// Leaves out what says nothing about a TOML file: the null of optional keys, number formats, defaults that
/// stand for another value. Descriptions become one line without links to code.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::Object(keys) => {
            unwrap_option(keys);
            keys.remove("format");
            if keys.get("default").is_some_and(|default| default.is_null() || default == "") {
                keys.remove("default");
            }
            if let Some(Value::String(text)) = keys.get_mut("description") {
                *text = plain(text);
            }
            for (word, value) in keys.iter_mut().filter(|(word, _)| *word != "default") {
                match value {
                    // its keys are names of the suite's
                    Value::Object(named) if word == "properties" => named.values_mut().for_each(simplify),
                    other => simplify(other),
                }
            }
        }
        _ => {}
    }
}

/// The schema of T in place of that of `Option<T>`.
fn unwrap_option(keys: &mut Map<String, Value>) {
    for list in ["type", "enum"] {
        if let Some(Value::Array(values)) = keys.get_mut(list) {
            values.retain(|value| !value.is_null() && value != "null");
            if let (1, "type") = (values.len(), list) {
                keys[list] = values[0].clone();
            }
        }
    }
    let is_null = |form: &Value| form["type"] == "null";
    if let Some(Value::Array(mut forms)) = keys.remove("anyOf") {
        forms.retain(|form| !is_null(form));
        match (forms.len(), forms.pop()) {
            (1, Some(Value::Object(only))) => {
                for (key, value) in only {
                    keys.entry(key).or_insert(value);
                }
                unwrap_option(keys);
            }
            (_, last) => {
                forms.extend(last);
                keys.insert("anyOf".into(), forms.into());
            }
        }
    }
}

/// A documentation comment as one line; [`Name`] becomes `Name`.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`")
}

/// Lets a section leave out keys that the whole suite must have, because it is laid over it.
fn allow_parts(schema: &mut Value) {
    let Value::Object(keys) = schema else { return };
    keys.remove("required");
    if let Some(Value::Object(properties)) = keys.get_mut("properties") {
        properties.values_mut().for_each(allow_parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded_text::held_against;
    use crate::suite_file::presets::PRESETS;

    /// Whether the schema allows the value, by the rules of JSON Schema for the words that occur here.
    fn allows(schema: &Value, value: &Value) -> bool {
        if schema["$ref"] == "#/definitions/set" {
            return allows(&keys_of_one_set(), value);
        }
        let forms =
            |word: &str| schema[word].as_array().map(|forms| forms.iter().filter(|form| allows(form, value)));
        let is_type = match schema["type"].as_str() {
            None => true,
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some(other) => panic!("the schema has a type {other}"),
        };
        let beyond = |word: &str, found: Option<f64>, wrong: fn(f64, f64) -> bool| {
            schema[word].as_f64().zip(found).is_some_and(|(limit, found)| wrong(found, limit))
        };
        let count = value.as_array().map(|items| items.len() as f64);
        let too_small = beyond("minimum", value.as_f64(), |found, limit| found < limit)
            || beyond("minItems", count, |found, limit| found < limit);
        let too_large = beyond("maximum", value.as_f64(), |found, limit| found > limit)
            || beyond("maxItems", count, |found, limit| found > limit);
        let of_key = |key: &str| schema["properties"].get(key).or(schema.get("additionalProperties"));
        let has_keys = value.as_object().is_none_or(|keys| {
            let required = schema["required"].as_array().into_iter().flatten();
            required.filter_map(Value::as_str).all(|key| keys.contains_key(key))
                && keys.iter().all(|(key, value)| match of_key(key) {
                    Some(Value::Bool(allowed)) => *allowed,
                    below => below.is_none_or(|below| allows(below, value)),
                })
        });
        let has_items = value.as_array().is_none_or(|items| match &schema["items"] {
            Value::Array(each) => items.iter().zip(each).all(|(item, each)| allows(each, item)),
            Value::Null => true,
            every => items.iter().all(|item| allows(every, item)),
        });
        is_type
            && !too_small
            && !too_large
            && has_keys
            && has_items
            && schema.get("const").is_none_or(|constant| constant == value)
            && schema["enum"].as_array().is_none_or(|names| names.contains(value))
            && forms("anyOf").is_none_or(|mut allowed| allowed.next().is_some())
            && forms("oneOf").is_none_or(|allowed| allowed.count() == 1)
    }

    fn allows_file(text: &str) -> bool {
        allows(&of_file(), &serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap())
    }

    #[test]
    fn the_schema_allows_every_preset_and_no_slips_of_the_pen() {
        for (name, text) in PRESETS {
            assert!(allows_file(text), "{name}");
        }
        let data =
            "[[data]]\nsource = \"pack\"\nfile = \"a.h5\"\nset = { table = 1, train = { epochs = 2 } }\n";
        let several = format!("{data}[model]\npatch = 4\n");
        assert!(allows_file(&several));
        for (right, wrong) in [
            ("patch = 4", "pacth = 4"),
            ("patch = 4", "patch = 4.5"),
            ("patch = 4", "patch = 4\npool = \"clss\""),
            ("\"pack\"", "\"packs\""),
            ("epochs = 2", "epochs = 0"),
            ("epochs", "epoch"),
            ("table = 1", "name = \"b\""),
            ("file = \"a.h5\"\n", ""),
        ] {
            assert!(!allows_file(&several.replace(right, wrong)), "{wrong}");
        }
    }

    #[test]
    fn the_schema_beside_the_presets_is_that_of_the_program() {
        held_against("suite/presets/suite.schema.json", &text());
    }
}
